/**
 * One look at the secrets of a server that runs: what has changed is fetched, compared, and taken into use in one
 * step, however many have changed together.
 *
 *   nothing new ........................... nothing happens
 *   new versions, the same values ......... taken note of
 *   only delivered files, and `signal` .... the files are replaced, and the server is told; if that was not enough,
 *                                           as below, and if that fails too, the old ones are put back
 *   anything else ......................... another server takes over; under `never` it is only said
 */
import { untilAborted } from "../../clock.ts";
import { McpRunError } from "../../errors.ts";
import type { McpRunEvent } from "../../events.ts";
import { ReplaceError, type ServerControl } from "../../launch/serving.ts";
import type { Profile, RefreshSignal } from "../../profile/profile.ts";
import type { Resolution } from "../../secrets/resolution.ts";
import { changedSecrets, resolveAgain, VersionChecks } from "../../secrets/resolve-again.ts";
import type { Delivery } from "../../secrets/spec.ts";
import type { CommandContext } from "../context.ts";
import { named } from "../start/announce.ts";
import type { SecretsInUse } from "../start/secrets-in-use.ts";
import type { EndTimes } from "./end-times.ts";

export interface RenewalOptions {
  readonly context: CommandContext;
  readonly profile: Profile;
  readonly inUse: SecretsInUse;
  readonly control: ServerControl;
  readonly ends: EndTimes;
  /** The server that runs now. */
  readonly server: () => { readonly pid: number; readonly generation: number };
}

export class Renewal {
  readonly #options: RenewalOptions;
  readonly #checks = new VersionChecks();

  constructor(options: RenewalOptions) {
    this.#options = options;
  }

  /**
   * Rejects with McpRunError or ReplaceError, or with the signal's reason; then the server has what it had before.
   *
   * @param isAsked somebody wants to know now: a backend that is left alone is asked as well
   */
  async look(signal: AbortSignal, isAsked: boolean): Promise<void> {
    const { context, control, inUse, ends } = this.#options;
    await untilAborted(signal, control.ready());
    const since = context.clock.monotonic();
    // Nobody would get what a new lease lends.
    const ended = this.#onlyReports ? new Set<never>() : ends.endedLeases(context.clock.now());
    const found = await resolveAgain(inUse.request(signal, isAsked), inUse.resolution, ended, this.#checks);
    if (!found) return;
    inUse.hide(found);
    try {
      // The server may have ended meanwhile.
      await untilAborted(signal, control.ready());
      await this.#take(found, since);
    } catch (error) {
      await found.held.release();
      throw error;
    }
    inUse.adopt(found);
  }

  /**
   * For a server that does not come up with what is in use: maybe there are other secrets by now. Rejects only when
   * aborted.
   */
  async catchUp(signal: AbortSignal): Promise<void> {
    const { inUse, ends, context } = this.#options;
    const ended = ends.endedLeases(context.clock.now());
    try {
      const found = await resolveAgain(inUse.request(signal, true), inUse.resolution, ended, this.#checks);
      if (!found) return;
      inUse.hide(found);
      inUse.adopt(found);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof McpRunError)) throw error;
      context.printer.emit({
        type: "warning",
        message: error.message,
        ...(error.hint && { hint: error.hint }),
      });
    }
  }

  get #onlyReports(): boolean {
    return this.#options.profile.refresh.restart === "never";
  }

  async #take(found: Resolution, since: number): Promise<void> {
    const { inUse, profile } = this.#options;
    const changed = changedSecrets(inUse.resolution, found).filter((name) =>
      this.#reachesServer(name, found),
    );
    if (changed.length === 0) return;
    const change = { profile: profile.name, changed: named(changed, found.secrets) };
    if (profile.refresh.signal && changed.every((name) => this.#isByFile(name, found)))
      await this.#tell(profile.refresh.signal, found, change, since);
    else await this.#swap(found, change, since);
  }

  async #swap(found: Resolution, change: Change, since: number): Promise<void> {
    const { context, inUse, control, server } = this.#options;
    const { printer, clock } = context;
    if (this.#onlyReports) return printer.emit({ type: "not-swapped", ...change, ...server() });
    const start = inUse.start(found);
    await control.replace(start.plan).catch((error: unknown) => {
      throw worded("no other server could take over", error);
    });
    inUse.runs(start);
    printer.emit({ type: "swapped", ...change, ...server(), ms: clock.monotonic() - since });
  }

  /** The files are replaced first: a server that reads them at any time has whole new ones. */
  async #tell(signal: RefreshSignal, found: Resolution, change: Change, since: number): Promise<void> {
    const { context, inUse, control, server } = this.#options;
    const { printer } = context;
    inUse.current?.possession.rewriteFiles(found);
    try {
      await control.signal(signal);
    } catch (error) {
      const failure = worded(`${signal} was not enough`, error);
      await this.#swapInstead(failure, found, change, since).catch(async (final: unknown) => {
        await this.#takeBack(signal);
        throw final;
      });
      return printer.emit({ type: "warning", message: failure.message });
    }
    printer.emit({ type: "signalled", ...change, ...server(), signal });
  }

  async #swapInstead(failure: Error, found: Resolution, change: Change, since: number): Promise<void> {
    if (!(failure instanceof ReplaceError) || this.#onlyReports) throw failure;
    await this.#swap(found, change, since);
  }

  /** The server goes on, but has been told of values that do not work. */
  async #takeBack(signal: RefreshSignal): Promise<void> {
    const { inUse, control } = this.#options;
    try {
      inUse.current?.possession.rewriteFiles(inUse.resolution);
      await control.signal(signal);
    } catch (error) {
      // It has ended: the next one gets the old values anyway.
      if (!(error instanceof ReplaceError) && !(error instanceof McpRunError)) throw error;
    }
  }

  #reachesServer(name: string, found: Resolution): boolean {
    const { inUse, profile } = this.#options;
    if (profile.secretsInArgs.includes(name)) return true;
    return deliveries(name, inUse.resolution, found).some((delivery) => delivery !== "none");
  }

  #isByFile(name: string, found: Resolution): boolean {
    const both = deliveries(name, this.#options.inUse.resolution, found);
    return both.length === 2 && both.every((delivery) => delivery === "file");
  }
}

/** What went wrong, in its place; a bug stays what it is. */
function worded(what: string, error: unknown): Error {
  return error instanceof ReplaceError ? new ReplaceError(`${what}: ${error.message}`) : (error as Error);
}

type Change = Pick<Extract<McpRunEvent, { type: "swapped" }>, "profile" | "changed">;

function deliveries(name: string, ...resolutions: readonly Resolution[]): readonly Delivery[] {
  return resolutions.flatMap(({ secrets }) =>
    secrets.filter((secret) => secret.name === name).map(({ deliver }) => deliver),
  );
}
