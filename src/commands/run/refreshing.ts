/**
 * Keeps the secrets of a server that runs fresh: on its schedule, before a lease or a value ends, and at SIGUSR2.
 * What fails leaves everything as it was, is told once, and is tried again.
 */
import { McpRunError, systemErrorCode } from "../../errors.ts";
import { Refresher } from "../../launch/refresher.ts";
import { ReplaceError, type ServerControl } from "../../launch/serving.ts";
import { cronTimes } from "../../profile/cron.ts";
import type { Profile } from "../../profile/profile.ts";
import type { SecretName } from "../../secrets/identity.ts";
import type { ResolvedSecret } from "../../secrets/resolution.ts";
import type { CommandContext } from "../context.ts";
import type { SecretsInUse } from "../start/secrets-in-use.ts";
import { EndTimes } from "./end-times.ts";
import type { Renewal } from "./renewal.ts";

/** What has come of the looks, and when the next one is; wall-clock ms. */
export interface Outlook {
  readonly isLooking: boolean;
  readonly nextAt?: number;
  /** When a look last went well. */
  readonly lastLookAt?: number;
  /** `mayPass`: without anybody's doing. */
  readonly lastFailure?: { readonly at: number; readonly reason: string; readonly mayPass: boolean };
}

export class Refreshing {
  readonly #context: CommandContext;
  readonly #profile: Profile;
  readonly #inUse: SecretsInUse;
  readonly #ends = new EndTimes();
  readonly #stopListening: () => void;
  #refresher: Refresher | undefined;
  #renewal: Renewal | undefined;
  /** Somebody has asked for a look before one was possible. */
  #isWanted = false;
  #server = { pid: 0, generation: 0 };
  /** What was told last and still holds. */
  #failure: string | undefined;
  #outlook: Omit<Outlook, "nextAt"> = { isLooking: false };
  #isStopped = false;
  /** Looks that have begun, and who waits for the end of which. */
  #begun = 0;
  #waiting: { readonly look: number; readonly ended: () => void }[] = [];
  readonly #listeners: (() => void)[] = [];

  /** Listens from now on: what changed while the first server was being started may have been fetched before. */
  constructor(context: CommandContext, profile: Profile, inUse: SecretsInUse) {
    this.#context = context;
    this.#profile = profile;
    this.#inUse = inUse;
    this.#stopListening = context.onRefreshSignal(() => void this.now());
    if (profile.refresh.restart === "never") return;
    inUse.onLeaseEnding = (ending) => {
      this.#ends.leaseEnds(ending);
      this.#refresher?.by(ending.refetchAt.getTime());
    };
  }

  /** The listener is told of each look that has ended, and of each server that has taken over. */
  onNews(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** This server runs now. */
  runs(pid: number, generation: number): void {
    this.#server = { pid, generation };
    this.#tellNews();
  }

  get server(): { readonly pid: number; readonly generation: number } {
    return this.#server;
  }

  get outlook(): Outlook {
    const nextAt = this.#refresher?.dueAt;
    return { ...this.#outlook, ...(nextAt !== undefined && { nextAt }) };
  }

  /**
   * Looks at once, or as soon as the first server runs, or once more after the look that is under way. Resolves when
   * that look has ended, whichever way, or none will come any more.
   */
  now(): Promise<void> {
    if (this.#isStopped) return Promise.resolve();
    this.#isWanted = true;
    const look = this.#begun + 1;
    const ended = new Promise<void>((resolve) => {
      this.#waiting.push({ look, ended: resolve });
    });
    this.#refresher?.now();
    return ended;
  }

  /** The next look fetches anew what these secrets have by a lease, however long that would last. */
  renew(isMeant: (secret: SecretName & Pick<ResolvedSecret, "lease">) => boolean): void {
    // Not now: the clock may go back until then.
    const refetchAt = new Date(0);
    for (const secret of this.#inUse.resolution.secrets) {
      if (secret.lease && isMeant(secret)) this.#ends.leaseEnds({ lease: secret.lease, refetchAt });
    }
  }

  /** The first server runs. Never rejects. */
  async begin(control: ServerControl): Promise<void> {
    try {
      await this.#begin(control);
    } catch (error) {
      const reason = systemErrorCode(error) ?? "a bug in mcp-run";
      const message = `${this.#profile.name}: its secrets will not be looked at again: ${reason}`;
      this.#context.printer.emit({ type: "warning", message });
    }
  }

  async #begin(control: ServerControl): Promise<void> {
    const { everyMs, cron } = this.#profile.refresh;
    // Not when it is needed: an upgrade may have taken the files away by then.
    const renewal = await this.#loadRenewal(control);
    const nextByCron = cron && (await cronTimes(cron));
    if (this.#isStopped) return;
    this.#renewal = renewal;
    this.#refresher = new Refresher({
      clock: this.#context.clock,
      everyMs,
      nextByCron,
      look: async (signal, isAsked) => {
        this.#begun++;
        this.#outlook = { ...this.#outlook, isLooking: true };
        try {
          await renewal.look(signal, isAsked);
        } finally {
          this.#outlook = { ...this.#outlook, isLooking: false };
        }
        this.#succeeded();
        this.#tellOfTheEnd();
        return this.#times();
      },
      onFailure: (error, retryMs) => {
        this.#failed(error, retryMs);
        this.#tellOfTheEnd();
      },
    });
    this.#refresher.start(this.#times());
    if (this.#isWanted) this.#refresher.now();
  }

  /** See Renewal. */
  async catchUp(signal: AbortSignal): Promise<void> {
    await this.#renewal?.catchUp(signal);
  }

  /** Resolves when a look that was under way has been given up. Never rejects; may be called twice. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#stopListening();
    await this.#refresher?.stop();
    this.#tellOfTheEnd();
  }

  /** Of the looks that have begun; when it is all over, of all. */
  #tellOfTheEnd(): void {
    const isOver = (look: number) => this.#isStopped || look <= this.#begun;
    for (const { ended } of this.#waiting.filter(({ look }) => isOver(look))) ended();
    this.#waiting = this.#waiting.filter(({ look }) => !isOver(look));
    this.#tellNews();
  }

  #tellNews(): void {
    for (const listener of this.#listeners) listener();
  }

  async #loadRenewal(control: ServerControl): Promise<Renewal> {
    const { Renewal } = await import("./renewal.ts");
    return new Renewal({
      context: this.#context,
      profile: this.#profile,
      inUse: this.#inUse,
      control,
      ends: this.#ends,
      server: () => this.#server,
    });
  }

  #times(): readonly number[] {
    const times = this.#ends.timesOf(this.#inUse.resolution, this.#context.clock.now());
    return this.#profile.refresh.restart === "never" ? [] : times;
  }

  #succeeded(): void {
    this.#outlook = { ...this.#outlook, lastLookAt: this.#context.clock.now() };
    const { generation } = this.#server;
    this.#context.printer.emit({ type: "looked", profile: this.#profile.name, generation });
    if (this.#failure === undefined) return;
    this.#failure = undefined;
    const message = `${this.#profile.name}: the secrets could be looked at again`;
    this.#context.printer.emit({ type: "notice", message });
  }

  #failed(error: unknown, retryMs: number): void {
    const { printer } = this.#context;
    const isExpected = error instanceof McpRunError || error instanceof ReplaceError;
    const reason = isExpected ? reasonOf(error) : "a bug in mcp-run";
    // Of what is wrong with the secrets and with the servers nothing is mended by looking again.
    const mayPass = error instanceof McpRunError && error.code === "backend-unavailable";
    this.#outlook = { ...this.#outlook, lastFailure: { at: this.#context.clock.now(), reason, mayPass } };
    // Not by its words: a backend that is down has many ways not to answer.
    const failure = error instanceof McpRunError ? error.code : reason;
    if (failure === this.#failure) return;
    this.#failure = failure;
    if (!isExpected) printer.printError(error);
    const hint = error instanceof McpRunError ? error.hint : undefined;
    printer.emit({
      type: "refresh-failed",
      profile: this.#profile.name,
      ...(error instanceof McpRunError && { code: error.code }),
      reason,
      ...(hint && { hint }),
      retryMs,
    });
  }
}

function reasonOf(error: McpRunError | ReplaceError): string {
  const details = error instanceof McpRunError ? error.details : [];
  return [error.message, ...details].join("; ");
}
