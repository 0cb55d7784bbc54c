import { describe, expect, it } from "vitest";
import { STOP_TIMES, type StopEvent, Stopping, type StopState, stopStep } from "../../src/launch/stopping.ts";
import { VirtualClock } from "../helpers/virtual-clock.ts";

const serving: StopState = { id: "serving" };
const terminating = (...signals: NodeJS.Signals[]): StopState => ({ id: "terminating", signals });
const signal = (name: NodeJS.Signals): StopEvent => ({ type: "signal", signal: name });

describe("the stop policy, state by state", () => {
  const rows: [StopState, StopEvent, StopState["id"], string[]][] = [
    [serving, signal("SIGINT"), "terminating", ["cancel-timers", "grace 1500", "terminate"]],
    [serving, signal("SIGHUP"), "terminating", ["cancel-timers", "grace 1500", "terminate"]],
    [
      serving,
      { type: "stdin-ended", unanswered: 0 },
      "lingering",
      ["end-stdin", "latest 10000", "linger 1500"],
    ],
    [serving, { type: "stdin-ended", unanswered: 2 }, "draining", ["end-stdin", "latest 10000"]],
    [serving, { type: "idle" }, "serving", []],
    [serving, { type: "reader-gone" }, "terminating", ["cancel-timers", "grace 1500", "terminate"]],
    [serving, { type: "program-ended", someLeft: false }, "gone", ["cancel-timers", "gone"]],
    [
      serving,
      { type: "program-ended", someLeft: true },
      "terminating",
      ["cancel-timers", "grace 1500", "terminate"],
    ],
    [{ id: "draining" }, { type: "idle" }, "lingering", ["linger 1500"]],
    [{ id: "draining" }, { type: "stdin-ended", unanswered: 0 }, "draining", []],
    [{ id: "draining" }, signal("SIGTERM"), "terminating", ["cancel-timers", "grace 1500", "terminate"]],
    [
      { id: "draining" },
      { type: "reader-gone" },
      "terminating",
      ["cancel-timers", "grace 1500", "terminate"],
    ],
    [
      { id: "draining" },
      { type: "time-is-up", timer: "latest" },
      "terminating",
      ["cancel-timers", "grace 1500", "terminate"],
    ],
    [{ id: "lingering" }, { type: "idle" }, "lingering", []],
    [{ id: "lingering" }, { type: "stdin-ended", unanswered: 0 }, "lingering", []],
    [
      { id: "lingering" },
      { type: "time-is-up", timer: "linger" },
      "terminating",
      ["cancel-timers", "grace 1500", "terminate"],
    ],
    [{ id: "lingering" }, { type: "program-ended", someLeft: false }, "gone", ["cancel-timers", "gone"]],
    [terminating("SIGINT"), signal("SIGINT"), "killing", ["cancel-timers", "give-up 2000", "kill"]],
    [terminating("SIGINT"), signal("SIGTERM"), "terminating", []],
    [
      terminating("SIGINT", "SIGTERM"),
      signal("SIGTERM"),
      "killing",
      ["cancel-timers", "give-up 2000", "kill"],
    ],
    [terminating(), signal("SIGTERM"), "terminating", []],
    [terminating(), { type: "reader-gone" }, "terminating", []],
    [
      terminating(),
      { type: "time-is-up", timer: "grace" },
      "killing",
      ["cancel-timers", "give-up 2000", "kill"],
    ],
    [terminating(), { type: "time-is-up", timer: "linger" }, "terminating", []],
    [terminating(), { type: "program-ended", someLeft: true }, "terminating", ["terminate"]],
    [terminating(), { type: "program-ended", someLeft: false }, "gone", ["cancel-timers", "gone"]],
    [{ id: "killing" }, signal("SIGTERM"), "killing", []],
    [{ id: "killing" }, { type: "program-ended", someLeft: true }, "killing", ["kill"]],
    [{ id: "killing" }, { type: "program-ended", someLeft: false }, "gone", ["cancel-timers", "gone"]],
    [{ id: "killing" }, { type: "time-is-up", timer: "grace" }, "killing", []],
    [{ id: "killing" }, { type: "time-is-up", timer: "give-up" }, "gone", ["cancel-timers", "gone"]],
    [{ id: "gone" }, signal("SIGTERM"), "gone", []],
    [{ id: "gone" }, { type: "program-ended", someLeft: false }, "gone", []],
    [{ id: "gone" }, { type: "stdin-ended", unanswered: 0 }, "gone", []],
  ];
  it.each(rows)("%j, then %j: %s", (before, event, after, effects) => {
    const step = stopStep(before, event, STOP_TIMES);

    expect(step.state.id).toBe(after);
    expect(
      step.effects.map((effect) =>
        effect.type === "start-timer" ? `${effect.timer} ${effect.ms}` : effect.type,
      ),
    ).toEqual(effects);
  });
});

describe("the ways in which clients end a server", () => {
  const obeys = { term: true, stdin: true };
  const obeysTerm = { term: true, stdin: false };
  const stubborn = { term: false, stdin: false };
  const claudeCode: Script = [
    [0, "SIGINT"],
    [100, "SIGTERM"],
  ];
  const sdk: Script = [
    [0, "stdin"],
    [2000, "SIGTERM"],
  ];
  const vsCode: Script = [
    [0, "stdin"],
    [10_000, "SIGTERM"],
  ];
  const gemini: Script = [[0, "SIGTERM"]];

  const rows: [string, Script, Manners, number, Log][] = [
    ["Claude Code, a server that obeys", claudeCode, obeys, 0, ["0 terminate", "0 gone"]],
    ["Claude Code, a stubborn server", claudeCode, stubborn, 0, ["0 terminate", "1500 kill", "1500 gone"]],
    ["the SDK, a server that obeys", sdk, obeys, 0, ["0 end-stdin", "0 gone"]],
    [
      "the SDK, a server that ignores its stdin",
      sdk,
      obeysTerm,
      0,
      ["0 end-stdin", "1500 terminate", "1500 gone"],
    ],
    [
      "the SDK, a stubborn server",
      sdk,
      stubborn,
      0,
      ["0 end-stdin", "1500 terminate", "3000 kill", "3000 gone"],
    ],
    [
      "the SDK, amid a request",
      sdk,
      stubborn,
      1,
      ["0 end-stdin", "2000 terminate", "3500 kill", "3500 gone"],
    ],
    [
      "VS Code, a server that ignores its stdin",
      vsCode,
      obeysTerm,
      0,
      ["0 end-stdin", "1500 terminate", "1500 gone"],
    ],
    [
      "VS Code, amid a request",
      vsCode,
      stubborn,
      1,
      ["0 end-stdin", "10000 terminate", "11500 kill", "11500 gone"],
    ],
    ["Gemini CLI, a server that obeys", gemini, obeys, 0, ["0 terminate", "0 gone"]],
    ["Gemini CLI, a stubborn server", gemini, stubborn, 0, ["0 terminate", "1500 kill", "1500 gone"]],
    [
      "one that asks twice",
      [
        [0, "SIGTERM"],
        [200, "SIGTERM"],
      ],
      stubborn,
      0,
      ["0 terminate", "200 kill", "200 gone"],
    ],
    [
      "one that answers late",
      [
        [0, "stdin"],
        [4000, "idle"],
      ],
      stubborn,
      1,
      ["0 end-stdin", "5500 terminate", "7000 kill", "7000 gone"],
    ],
    [
      "one that answers too late",
      [
        [0, "stdin"],
        [9000, "idle"],
      ],
      stubborn,
      1,
      ["0 end-stdin", "10000 terminate", "11500 kill", "11500 gone"],
    ],
    ["one that stops reading", [[0, "reader-gone"]], obeys, 0, ["0 terminate", "0 gone"]],
  ];
  it.each(rows)("%s", async (_name, script, manners, unanswered, expected) => {
    expect(await play(script, manners, unanswered)).toEqual(expected);
  });

  it("a program that can't be killed is given up, 2 s after KILL", async () => {
    const clock = new VirtualClock();
    const log: string[] = [];
    const stopping = stoppingWith(clock, log);
    stopping.tell(signal("SIGTERM"));

    await clock.advance(60_000);

    expect(log).toEqual(["0 terminate", "1500 kill", "3500 gone"]);
    expect(clock.pending).toBe(0);
  });

  it("what a program leaves behind has the same grace as the program", async () => {
    const clock = new VirtualClock();
    const log: string[] = [];
    const stopping = stoppingWith(clock, log);
    stopping.tell({ type: "program-ended", someLeft: true });

    await clock.advance(2000);
    stopping.tell({ type: "program-ended", someLeft: false });

    expect(log).toEqual(["0 terminate", "1500 kill", "2000 gone"]);
  });
});

type Script = readonly (readonly [ms: number, event: NodeJS.Signals | "stdin" | "idle" | "reader-gone"])[];
type Log = readonly string[];
interface Manners {
  /** Whether the program ends on TERM, and on the end of its stdin. */
  readonly term: boolean;
  readonly stdin: boolean;
}

/** Plays what a client does against a program of these manners; gives what was done, with times in ms. */
async function play(script: Script, manners: Manners, unanswered: number): Promise<Log> {
  const clock = new VirtualClock();
  const log: string[] = [];
  const stopping = stoppingWith(clock, log, manners);
  let now = 0;
  for (const [ms, event] of script) {
    await clock.advance(ms - now);
    now = ms;
    if (event === "stdin") stopping.tell({ type: "stdin-ended", unanswered });
    else if (event === "idle" || event === "reader-gone") stopping.tell({ type: event });
    else stopping.tell(signal(event));
  }
  await clock.advance(60_000);
  expect(clock.pending).toBe(0);
  return log;
}

function stoppingWith(clock: VirtualClock, log: string[], manners?: Manners): Stopping {
  const start = clock.now();
  const note = (what: string) => log.push(`${clock.now() - start} ${what}`);
  const end = () => stopping.tell({ type: "program-ended", someLeft: false });
  const stopping = new Stopping(clock, STOP_TIMES, {
    endStdin: () => {
      note("end-stdin");
      if (manners?.stdin) end();
    },
    terminate: () => {
      note("terminate");
      if (manners?.term) end();
    },
    kill: () => {
      note("kill");
      if (manners) end();
    },
    gone: () => note("gone"),
  });
  return stopping;
}
