/**
 * How a served program is stopped: the policy alone, without processes. design.md section 6.
 *
 * | state       | signal          | stdin ended         | idle      | reader gone | program ended        | time is up      |
 * | ----------- | --------------- | ------------------- | --------- | ----------- | -------------------- | --------------- |
 * | serving     | TERM            | end its stdin:      | -         | TERM        | none left: gone      | -               |
 * |             |                 | draining, lingering |           |             | some left: TERM      |                 |
 * | draining    | TERM            | -                   | lingering | TERM        | likewise             | 10 s: TERM      |
 * | lingering   | TERM            | -                   | -         | TERM        | likewise             | 1.5 s: TERM     |
 * | terminating | same again:     | -                   | -         | -           | none left: gone      | stopGrace: KILL |
 * |             | KILL; else none |                     |           |             | some left: TERM them |                 |
 * | killing     | -               | -                   | -         | -           | none left: gone      | 2 s: gone       |
 * |             |                 |                     |           |             | some left: KILL them |                 |
 *
 * «draining» waits until no request is unanswered, «lingering» gives the program time to end by itself. The
 * latest time for TERM runs through both. «gone» is the end: whoever is left then can't be killed by us.
 */
import type { Clock, Timer } from "../clock.ts";

export interface StopTimes {
  /** Ms from TERM to KILL. */
  readonly graceMs: number;
  /** Ms from «no request unanswered» to TERM, after the client has ended our stdin. */
  readonly lingerMs: number;
  /** Ms from the end of stdin to TERM, whatever is unanswered. */
  readonly latestMs: number;
  /** Ms from KILL until we stop waiting for what can't be killed. */
  readonly giveUpMs: number;
}

export const STOP_TIMES: StopTimes = { graceMs: 1500, lingerMs: 1500, latestMs: 10_000, giveUpMs: 2000 };

export type StopState =
  | { readonly id: "serving" }
  | { readonly id: "draining" }
  | { readonly id: "lingering" }
  /** `signals`: what the client has sent us so far; one of them again means that it is in earnest. */
  | { readonly id: "terminating"; readonly signals: readonly NodeJS.Signals[] }
  | { readonly id: "killing" }
  | { readonly id: "gone" };

export type StopEvent =
  | { readonly type: "signal"; readonly signal: NodeJS.Signals }
  | { readonly type: "stdin-ended"; readonly unanswered: number }
  | { readonly type: "idle" }
  | { readonly type: "reader-gone" }
  /** It has been reaped. Told again when what it left behind has gone, or turns out to be more. */
  | { readonly type: "program-ended"; readonly someLeft: boolean }
  | { readonly type: "time-is-up"; readonly timer: TimerName };

export type TimerName = "latest" | "linger" | "grace" | "give-up";

export type StopEffect =
  | { readonly type: "end-stdin" }
  | { readonly type: "terminate" }
  | { readonly type: "kill" }
  | { readonly type: "start-timer"; readonly timer: TimerName; readonly ms: number }
  | { readonly type: "cancel-timers" }
  | { readonly type: "gone" };

export interface StopStep {
  readonly state: StopState;
  readonly effects: readonly StopEffect[];
}

/** What follows from `event` in `state`; the same state and no effects where nothing does. */
export function stopStep(state: StopState, event: StopEvent, times: StopTimes): StopStep {
  const unchanged: StopStep = { state, effects: [] };
  if (state.id === "gone") return unchanged;
  if (event.type === "program-ended" && !event.someLeft) return gone();
  switch (state.id) {
    case "serving":
      if (event.type === "stdin-ended") return endStdin(event.unanswered, times);
      return event.type === "idle" ? unchanged : terminate(event, times);
    case "draining":
      if (event.type === "idle") return linger(times);
      return event.type === "stdin-ended" ? unchanged : terminate(event, times);
    case "lingering":
      if (event.type === "idle" || event.type === "stdin-ended") return unchanged;
      return terminate(event, times);
    case "terminating":
      if (event.type === "program-ended") return { state, effects: [{ type: "terminate" }] };
      if (event.type === "time-is-up") return event.timer === "grace" ? kill(times) : unchanged;
      if (event.type !== "signal") return unchanged;
      if (state.signals.includes(event.signal)) return kill(times);
      return { state: { ...state, signals: [...state.signals, event.signal] }, effects: [] };
    case "killing":
      if (event.type === "program-ended") return { state, effects: [{ type: "kill" }] };
      return event.type === "time-is-up" && event.timer === "give-up" ? gone() : unchanged;
  }
}

function endStdin(unanswered: number, times: StopTimes): StopStep {
  const next: StopStep = unanswered === 0 ? linger(times) : { state: { id: "draining" }, effects: [] };
  return {
    state: next.state,
    effects: [{ type: "end-stdin" }, startTimer("latest", times.latestMs), ...next.effects],
  };
}

function linger(times: StopTimes): StopStep {
  return { state: { id: "lingering" }, effects: [startTimer("linger", times.lingerMs)] };
}

function terminate(event: StopEvent, times: StopTimes): StopStep {
  return {
    state: { id: "terminating", signals: event.type === "signal" ? [event.signal] : [] },
    effects: [{ type: "cancel-timers" }, startTimer("grace", times.graceMs), { type: "terminate" }],
  };
}

function kill(times: StopTimes): StopStep {
  return {
    state: { id: "killing" },
    effects: [{ type: "cancel-timers" }, startTimer("give-up", times.giveUpMs), { type: "kill" }],
  };
}

function gone(): StopStep {
  return { state: { id: "gone" }, effects: [{ type: "cancel-timers" }, { type: "gone" }] };
}

function startTimer(timer: TimerName, ms: number): StopEffect {
  return { type: "start-timer", timer, ms };
}

/** What the policy can do to a program; called from within `tell` and from timers. */
export interface StopActions {
  endStdin(): void;
  terminate(): void;
  kill(): void;
  /** Nobody is left, or nobody who can be killed. Called once. */
  gone(): void;
}

/** The policy at work on one program, with real or virtual time. */
export class Stopping {
  readonly #clock: Clock;
  readonly #times: StopTimes;
  readonly #actions: StopActions;
  readonly #timers = new Set<Timer>();
  #state: StopState = { id: "serving" };

  constructor(clock: Clock, times: StopTimes, actions: StopActions) {
    this.#clock = clock;
    this.#times = times;
    this.#actions = actions;
  }

  get state(): StopState {
    return this.#state;
  }

  tell(event: StopEvent): void {
    const { state, effects } = stopStep(this.#state, event, this.#times);
    // First the state: an action may tell us something in turn.
    this.#state = state;
    for (const effect of effects) this.#perform(effect);
  }

  #perform(effect: StopEffect): void {
    if (effect.type === "end-stdin") this.#actions.endStdin();
    else if (effect.type === "terminate") this.#actions.terminate();
    else if (effect.type === "kill") this.#actions.kill();
    else if (effect.type === "start-timer") this.#start(effect.timer, effect.ms);
    else if (effect.type === "gone") this.#actions.gone();
    else {
      for (const timer of this.#timers) timer.cancel();
      this.#timers.clear();
    }
  }

  #start(name: TimerName, ms: number): void {
    this.#timers.add(this.#clock.after(ms, () => this.tell({ type: "time-is-up", timer: name })));
  }
}
