/**
 * Changes the server under a client that goes on: one change after the other, and none while an old server still
 * finishes its work. What a caller hands over is either used or released, and it hears once how it went.
 *
 *   overlap:     start next, let it take over -> old drains -> stop
 *   sequential:  old settles, with what is new held -> stop -> start next, let it take over with what was held
 */
import { type Clock, pause, untilAborted } from "../clock.ts";
import { McpRunError } from "../errors.ts";
import type { Recall } from "../relay/recall.ts";
import { DrainTime } from "./drain-time.ts";
import type { Helm } from "./helm.ts";
import type { Running } from "./running.ts";
import { ReplaceError, type ServeOptions, type ServerControl, type Withheld } from "./serving.ts";
import type { LaunchPlan } from "./spawn.ts";
import type { Succession } from "./succession.ts";

/** What the client is told of requests that an old server did not finish in time. */
const RESTARTED = "server restarted";
/** Ms that a server gets to read its files again after a signal: before, a probe would prove the old value. */
const REREAD_MS = 500;
const SESSION_ENDS = "the session ends";
const NOT_REPLACED = "this server is not to be replaced";
const NO_SERVER = "no server runs now";
const NOT_INTRODUCED = "the client has not introduced itself yet";

export interface ChangesOptions {
  readonly helm: Helm;
  readonly succession: Succession;
  readonly recall: Recall;
  readonly swap: ServeOptions["swap"];
  /** Whether a signal has to be proven. */
  readonly hasProbe: boolean;
  readonly platform: NodeJS.Platform;
  readonly clock: Clock;
  /** From here on the end of the current server is part of the change. */
  readonly onBegin: () => void;
  /** Nobody took over; the current server, if it is still there, goes on. */
  readonly onFailed: () => void;
}

export class Changes implements Omit<ServerControl, "state"> {
  readonly #options: ChangesOptions;
  readonly #drainTime: DrainTime;
  /** Settles when every change that was asked for is over. */
  #over: Promise<void> = Promise.resolve();
  #underWay = 0;
  readonly #waiting = new Set<() => void>();

  constructor(options: ChangesOptions) {
    this.#options = options;
    this.#drainTime = new DrainTime(options.clock, options.swap?.drainMs ?? 0);
  }

  async ready(): Promise<void> {
    const { helm } = this.#options;
    while (this.#underWay > 0 || this.#obstacle() !== undefined) {
      if (helm.stopped.aborted) throw new ReplaceError(SESSION_ENDS);
      let wake: () => void = () => undefined;
      const changed = new Promise<void>((resolve) => {
        wake = resolve;
      });
      this.#waiting.add(wake);
      await untilAborted(helm.stopped, changed).catch(() => undefined);
      this.#waiting.delete(wake);
    }
  }

  async replace(plan: LaunchPlan): Promise<void> {
    const end = await this.#turn(() => plan.release?.());
    let old: Running | undefined;
    try {
      const obstacle = this.#options.swap ? this.#obstacle() : NOT_REPLACED;
      if (obstacle !== undefined) {
        await plan.release?.();
        throw new ReplaceError(obstacle);
      }
      old = await this.#change(plan);
    } catch (error) {
      end();
      throw error;
    }
    void this.#retire(old).finally(end);
  }

  async signal(signal: NodeJS.Signals): Promise<void> {
    const { helm, succession, recall, hasProbe, platform, clock } = this.#options;
    const end = await this.#turn(() => undefined);
    try {
      const { current } = helm;
      if (!current) throw new ReplaceError(NO_SERVER);
      if (hasProbe && !recall.isIntroduced) throw new ReplaceError(NOT_INTRODUCED);
      if (platform === "win32") throw new ReplaceError("Windows has no signals");
      if (!current.generation.signalProgram(signal))
        throw new ReplaceError("the server can't be sent a signal");
      if (!hasProbe) return;
      await pause(clock, REREAD_MS, AbortSignal.any([helm.stopped, current.line.gone])).catch(
        () => undefined,
      );
      await succession.prove(current);
    } finally {
      end();
    }
  }

  client(): ReturnType<ServerControl["client"]> {
    const { client, era } = this.#options.recall;
    return { name: client, era };
  }

  hurry(): void {
    this.#drainTime.hurry();
  }

  withhold(): Withheld | string {
    const { helm, swap, succession } = this.#options;
    const obstacle = swap ? this.#obstacle() : NOT_REPLACED;
    if (obstacle !== undefined) return obstacle;
    return helm.current ? succession.withhold(helm.current) : NO_SERVER;
  }

  isDraining(): boolean {
    return this.#drainTime.isUnderWay;
  }

  drained(): Promise<void> {
    return this.#drainTime.drained;
  }

  /** Something that `ready` waits for may have come to pass. */
  look(): void {
    for (const wake of this.#waiting) wake();
  }

  /** Resolves when nothing is under way any more. */
  over(): Promise<void> {
    return this.#over;
  }

  /** Waits for the changes before; what is returned ends this one. Rejects with ReplaceError if the session ends. */
  async #turn(onRefused: () => Promise<void> | undefined): Promise<() => void> {
    const before = this.#over;
    let over: () => void = () => undefined;
    const own = new Promise<void>((resolve) => {
      over = resolve;
    });
    this.#over = Promise.all([before, own]).then(() => undefined);
    this.#underWay++;
    const end = () => {
      this.#underWay--;
      over();
      this.look();
    };
    const { stopped } = this.#options.helm;
    await untilAborted(stopped, before).catch(() => undefined);
    if (!stopped.aborted) return end;
    try {
      await onRefused();
    } finally {
      end();
    }
    throw new ReplaceError(SESSION_ENDS);
  }

  /** Why no server could take over now. */
  #obstacle(): string | undefined {
    const { helm, recall } = this.#options;
    if (helm.stopped.aborted) return SESSION_ENDS;
    if (!helm.current) return NO_SERVER;
    return recall.isIntroduced ? undefined : NOT_INTRODUCED;
  }

  /** Resolves with the server that has lost its place, if that still runs. */
  async #change(plan: LaunchPlan): Promise<Running | undefined> {
    const { helm, swap, onBegin, onFailed } = this.#options;
    const old = helm.current;
    onBegin();
    try {
      if (swap?.mode !== "sequential") {
        await this.#takeOver(plan);
        return old;
      }
      if (old) await this.#stopFirst(old);
      await this.#takeOver(plan);
      return undefined;
    } catch (error) {
      onFailed();
      throw error;
    }
  }

  async #takeOver(plan: LaunchPlan): Promise<void> {
    const { helm } = this.#options;
    try {
      await helm.install(await helm.start(plan), "replaced");
    } catch (error) {
      throw error instanceof McpRunError ? new ReplaceError(error.message) : error;
    }
  }

  /** It can't run twice: what is new waits until it has gone and the next has come. */
  async #stopFirst(old: Running): Promise<void> {
    const { succession, helm } = this.#options;
    await this.#drainTime.run((ms, cut) => succession.settle(old, { ms, cut }, RESTARTED));
    if (!helm.stopped.aborted) await this.#stop(old);
  }

  /** Lets a server that has lost its place finish its work, and stops it. */
  async #retire(old: Running | undefined): Promise<void> {
    const { succession, swap } = this.#options;
    if (!old || !swap) return;
    old.isDismissed = true;
    await this.#drainTime.run((ms, cut) => succession.drain(old, { ms, cut }, RESTARTED));
    await this.#stop(old);
  }

  async #stop(old: Running): Promise<void> {
    old.isDismissed = true;
    old.generation.tell({ type: "stdin-ended", unanswered: 0 });
    await old.ended;
  }
}
