/**
 * A supervisor's seat on the bus of its fleet. The server runs already, and goes on whatever happens here: the
 * credentials may be out of reach, the bus may be down, or refuse us. Credentials that are refused are fetched again,
 * since somebody may have replaced them.
 */
import { settledWithin, type Timer } from "../../clock.ts";
import type { IsOld } from "../../control/bus/entry-watch.ts";
import type { HoldingForBus } from "../../control/bus/hold-calls.ts";
import { BusMember, type BusState } from "../../control/bus/member.ts";
import { busKey } from "../../control/bus/names.ts";
import { realmOf } from "../../control/bus/realm.ts";
import type { FleetStatus } from "../../control/protocol.ts";
import { McpRunError, systemErrorCode } from "../../errors.ts";
import type { FleetSettings } from "../../profile/profile.ts";
import { questionOf } from "../../rotation/fleet/follower.ts";
import { scrubText } from "../../scrub/scrub-stream.ts";
import type { Secret } from "../../secrets/secret.ts";
import { certificates, fetchFleetCredentials, hideFleetCredentials, hostOf } from "../fleet/credentials.ts";
import { pidSpace } from "../fleet/pid-space.ts";
import { type SharedSecrets, sharedSecrets } from "../fleet/shared-secrets.ts";
import type { AskedLooks } from "./asked-looks.ts";
import { leasesOf, proofOf } from "./bus-proof.ts";
import type { Holding } from "./holding.ts";
import type { Supervised } from "./supervisor-status.ts";

/** Ms before credentials that were refused, or could not be had, are fetched again: at first, and at most. */
const FIRST_RETRY_MS = 5_000;
const LONGEST_RETRY_MS = 10 * 60_000;
/** Ms for taking leave. */
const CLOSE_MS = 1_000;

type State = Exclude<BusState, { id: "closed" }>;

export class FleetSeat {
  readonly #supervised: Supervised;
  readonly #fleet: FleetSettings;
  readonly #looks: AskedLooks;
  readonly #holding: Holding | undefined;
  readonly #stop = new AbortController();
  #state: State;
  #member: BusMember | undefined;
  #credentials: Secret | undefined;
  #retry: Timer | undefined;
  #retries = 0;
  /** What was said last and still holds. */
  #told: string | undefined;
  /** What the server had when it was reported last. */
  #reported = "";
  #work: Promise<void>;

  /** Returns at once. Never throws. */
  constructor(supervised: Supervised, fleet: FleetSettings, looks: AskedLooks, holding?: Holding) {
    this.#supervised = supervised;
    this.#fleet = fleet;
    this.#looks = looks;
    this.#holding = holding;
    this.#state = { id: "connecting", since: supervised.context.clock.now() };
    this.#work = this.#enter();
    supervised.refreshing.onNews?.(() => this.#news());
  }

  get status(): FleetStatus {
    const { id, since } = this.#state;
    const trouble = troubleOf(this.#state);
    return {
      host: this.#host,
      ...(this.#member && { instance: this.#member.instance }),
      state: id,
      since: new Date(since).toISOString(),
      ...(trouble && { reason: trouble.reason }),
    };
  }

  /** Within a second; never rejects. */
  async close(): Promise<void> {
    this.#stop.abort(new Error("the session has ended"));
    this.#retry?.cancel();
    const left = this.#work.then(() => this.#member?.close());
    // A backend that hangs over the credentials must not hold up the end.
    await settledWithin(this.#supervised.context.clock, CLOSE_MS, left);
  }

  get #host(): string {
    return hostOf(this.#fleet);
  }

  /** Fetches the credentials, and takes the seat, or another one where they have changed. Never rejects. */
  async #enter(): Promise<void> {
    const { context, profile, needles } = this.#supervised;
    const { signal } = this.#stop;
    try {
      const { credentials } = this.#fleet;
      const fetched = await fetchFleetCredentials(context, profile.providers, credentials, needles, signal);
      if (signal.aborted) return;
      if (this.#credentials && fetched.equals(this.#credentials)) {
        // Refused as before: somebody has yet to replace them.
        if (this.#state.id === "refused") this.#tryAgain();
        return;
      }
      hideFleetCredentials(fetched, needles);
      const ca = this.#fleet.ca === undefined ? undefined : await certificates(this.#fleet.ca);
      const before = this.#member;
      await before?.leave();
      if (signal.aborted) return;
      this.#credentials = fetched;
      this.#member = this.#join(fetched, ca, before?.instance);
      this.#news();
    } catch (error) {
      if (signal.aborted) return;
      this.#cannot(error);
    }
  }

  #cannot(error: unknown): void {
    const { clock } = this.#supervised.context;
    const isExpected = error instanceof McpRunError;
    const reason = isExpected ? error.message : (systemErrorCode(error) ?? "a bug in mcp-run");
    const hint = isExpected ? error.hint : undefined;
    this.#become({ id: "refused", since: clock.now(), reason, ...(hint !== undefined && { hint }) });
  }

  /** Throws McpRunError. */
  #join(credentials: Secret, ca: string | undefined, instance: string | undefined): BusMember {
    const { context, profile, refreshing, control, mode } = this.#supervised;
    const holding = this.#holding;
    const pids = pidSpace();
    const member = BusMember.join({
      servers: this.#fleet.servers,
      credentials,
      ...(ca !== undefined && { ca }),
      host: this.#host,
      clock: context.clock,
      pid: process.pid,
      ...(instance !== undefined && { instance }),
      profile: profile.name,
      ...(pids !== undefined && { pidSpace: pids }),
      secrets: () =>
        [...this.#shared].map(([key, [secret]]) => ({
          key,
          ref: secret.from,
          ...(secret.version !== undefined && { version: secret.version }),
          realm: realmOf(secret.place),
        })),
      fingerprint: (key, under, ways) => proofOf(this.#shared.get(key), under, ways),
      leases: (key) => leasesOf(this.#shared.get(key)),
      standing: () => {
        const { lastFailure, lastLookAt, isLooking } = refreshing.outlook;
        return {
          generation: refreshing.server.generation,
          era: control.client().era ?? "undecided",
          mode: mode ?? profile.refresh.restart,
          isLooking: isLooking || this.#looks.isPending,
          isDraining: control.isDraining?.() ?? false,
          ...(lastFailure && {
            lastFailure: { ...lastFailure, reason: this.#scrub(lastFailure.reason) },
          }),
          ...(lastLookAt !== undefined && { lastLookAt }),
        };
      },
      look: async (key, isOld) => {
        if (isOld) this.#renew(key, isOld);
        control.hurry?.();
        await this.#looks.ask();
        // What an old server still does with the old value is done before ours is said.
        void control.drained?.().then(() => this.#news());
      },
      ...(holding && {
        holding: {
          ask: (keys, hold) => this.#hold(holding, keys, hold),
          rotation: () => holding.status?.rotation,
        },
      }),
      onState: (state) => {
        if (state.id !== "closed" && this.#member === member) this.#become(state);
      },
    });
    this.#become(member.state as State);
    return member;
  }

  /** Only what it has by an old lease: a message that comes twice, or late, costs no other. */
  #renew(key: string, isOld: IsOld): void {
    this.#supervised.refreshing.renew?.((secret) => {
      const id = secret.lease?.id?.();
      return id !== undefined && isOld(id) && busKey(secret) === key;
    });
  }

  /** Never rejects. */
  async #hold(holding: Holding, keys: readonly string[], hold: Parameters<HoldingForBus["ask"]>[1]) {
    const secrets = keys.flatMap((key) => this.#shared.get(key) ?? []);
    const question = { v: 1, type: "hold", ...hold, ...questionOf(secrets) } as const;
    try {
      const { accepted, holds, reason } = await holding.ask(question, this.#stop.signal);
      if (!accepted) return { holds, reason: "it has none of these secrets any more" };
      return { holds, ...(reason !== undefined && { reason }) };
    } catch (error) {
      return {
        holds: false,
        reason: error instanceof McpRunError ? this.#scrub(error.message) : "a bug in mcp-run",
      };
    }
  }

  get #shared(): SharedSecrets {
    const { inUse, profile } = this.#supervised;
    return sharedSecrets(inUse.served, profile.providers);
  }

  #scrub(text: string): string {
    return scrubText(text, this.#supervised.needles);
  }

  /** Not every look is worth a message: only what others would see. */
  #news(): void {
    if (!this.#member) return;
    const { refreshing, control } = this.#supervised;
    const now = JSON.stringify([
      refreshing.server.generation,
      control.client().era,
      control.isDraining?.(),
      [...this.#shared].map(([key, [{ version }]]) => [key, version]),
    ]);
    if (now === this.#reported) return;
    this.#reported = now;
    this.#member.changed();
  }

  #become(state: State): void {
    this.#state = state;
    this.#tell();
    if (state.id === "connected") {
      this.#retries = 0;
      this.#retry?.cancel();
    } else if (state.id === "refused") this.#tryAgain();
  }

  /** Once for each trouble, and when it is over. */
  #tell(): void {
    const { context, profile } = this.#supervised;
    const trouble = troubleOf(this.#state);
    if (trouble?.reason === this.#told) return;
    const had = this.#told;
    if (trouble) {
      const message = `${profile.name} is not heard in its fleet: ${this.#scrub(trouble.reason)}`;
      const { hint } = trouble;
      // By its kind: a server that is down has many ways not to answer.
      if (had === undefined || this.#state.id === "refused" || this.#state.id === "connected")
        context.printer.emit({ type: "warning", message, ...(hint !== undefined && { hint }) });
      this.#told = trouble.reason;
    } else if (this.#state.id === "connected") {
      this.#told = undefined;
      if (had !== undefined)
        context.printer.emit({ type: "notice", message: `${profile.name} is heard in its fleet again` });
    }
  }

  #tryAgain(): void {
    this.#retry?.cancel();
    const most = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#retries++);
    const again = () => {
      this.#work = this.#enter();
    };
    this.#retry = this.#supervised.context.clock.after(most * (0.5 + Math.random() / 2), again, {
      background: true,
    });
  }
}

function troubleOf(state: State): { readonly reason: string; readonly hint?: string } | undefined {
  if (state.id === "connected") return state.lacks;
  return state.id === "connecting" ? undefined : state;
}
