/**
 * After a server has ended by itself: starts another in its place, later each time, until one has taken over, the
 * policy gives up or the session ends. Whatever keeps a server from coming up counts as a failed start, secrets
 * that can't be fetched included.
 */
import { type Clock, pause } from "../clock.ts";
import { McpRunError } from "../errors.ts";
import { type ExitStatus, wordsFor } from "./exit-status.ts";
import type { Helm } from "./helm.ts";
import { RestartPolicy } from "./restart-policy.ts";
import type { Running } from "./running.ts";
import { ReplaceError, type ServeOptions, type StartReason } from "./serving.ts";

/** So many starts in a row may fail before it is asked whether there are other secrets by now. */
const FAILED_WITH_THE_SAME = 2;

export interface ComebackOptions {
  readonly helm: Helm;
  readonly prepare: ServeOptions["prepare"];
  readonly clock: Clock;
  readonly warn: (message: string) => void;
}

export class Comeback {
  readonly #options: ComebackOptions;
  readonly #policy = new RestartPolicy();

  constructor(options: ComebackOptions) {
    this.#options = options;
  }

  /**
   * Resolves with undefined once another server has taken over, else with how the last one ended that did so by
   * itself.
   *
   * @param status of the server that has ended
   * @param livedMs undefined if the policy has no say in when the first one starts: it does so at once
   */
  async after(status: ExitStatus, livedMs: number | undefined): Promise<ExitStatus | undefined> {
    const { helm, clock, warn } = this.#options;
    let ending = status;
    let failed = 0;
    let delayMs = livedMs === undefined ? 0 : this.#policy.died(livedMs, true);
    while (delayMs !== undefined) {
      const number = helm.nextNumber;
      if (delayMs > 0)
        warn(`the server ended (${wordsFor(ending)}); generation ${number} starts in ${delayMs} ms`);
      try {
        await pause(clock, delayMs, helm.stopped);
        const ended = await this.#tryOne(number, failed < FAILED_WITH_THE_SAME ? "restart" : "retry");
        if (!ended) return undefined;
        failed++;
        ending = ended.status ?? ending;
      } catch (error) {
        if (helm.stopped.aborted) return ending;
        throw error;
      }
      delayMs = this.#policy.died(0, false);
    }
    warn("no server came up five times in a row: given up");
    return ending;
  }

  /** Undefined once it has taken over; else how it ended, if it did so by itself. */
  async #tryOne(
    number: number,
    reason: StartReason,
  ): Promise<{ readonly status: ExitStatus | undefined } | undefined> {
    const { helm, prepare, warn } = this.#options;
    let next: Running | undefined;
    try {
      next = await helm.start(await prepare(helm.stopped, reason));
      await helm.install(next, "restarted");
      this.#policy.cameUp();
      return undefined;
    } catch (error) {
      if (helm.stopped.aborted) throw error;
      if (error instanceof McpRunError) {
        warn(`generation ${number} could not be started: ${error.message}`);
        return { status: undefined };
      }
      if (!(error instanceof ReplaceError)) throw error;
      warn(`generation ${number} could not take over: ${error.message}`);
    }
    const endedByItself = next?.line.gone.aborted ?? false;
    const status = await next?.ended;
    return { status: endedByItself ? status : undefined };
  }
}
