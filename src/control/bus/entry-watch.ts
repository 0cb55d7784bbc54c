/**
 * One secret of one supervisor, from an entry on the bus until its server has what is wanted. An entry is only a hint:
 * all that it can cause is a look, which the owner limits.
 *
 *   any state -> has ............ the server's value is what is wanted; no backend is asked
 *             -> cannot-swap .... the profile has `restart: never`
 *             -> failed ......... it is to take another lease, and has it by none that it knows
 *             -> waiting ........ its turn comes with a later wave, or within `overMs`
 *   waiting   -> looking -> has | failed | other; what is `other` looks again twice, since a store may lag; what could
 *             not look for a reason that may pass is `waiting` again, and looks some times more
 */
import { createHash } from "node:crypto";
import type { Clock, Timer } from "../../clock.ts";
import { fingerprintOf } from "../fingerprint.ts";
import { type Entry, LONGEST_REASON, MOST_LEASES_OF_ONE, type ReportedSecret } from "./messages.ts";
import { fingerprintOfKey, oldLeasesIn } from "./old-leases.ts";

export interface Standing {
  readonly generation: number;
  readonly era: string;
  /** `never` and `exec` for one that can't change its server. */
  readonly mode: string;
  readonly isLooking: boolean;
  /** A server before still works with what it has. */
  readonly isDraining?: boolean;
  /** `at`: wall-clock ms. `reason`: a state in which nothing secret is. `mayPass`: without anybody's doing. */
  readonly lastFailure?:
    | { readonly at: number; readonly reason: string; readonly mayPass?: boolean }
    | undefined;
  /** When a look last went well; wall-clock ms. */
  readonly lastLookAt?: number | undefined;
}

export interface EntryWatchOptions {
  readonly instance: string;
  readonly clock: Clock;
  /** Of the value that the serving server has, or of what lies at these ways within it. */
  readonly fingerprint: (key: Buffer, ways: Entry["ways"]) => string | undefined;
  /** Ids of all leases by which the serving server has it; undefined where it has some of it by none that is known. */
  readonly leases?: (() => readonly string[] | undefined) | undefined;
  readonly standing: () => Standing;
  /** @param isOld of leases: another one is to be taken for each of those */
  readonly look: (isOld?: IsOld) => Promise<void>;
  /** @param isSettled nothing more is about to happen */
  readonly onChange: (isSettled: boolean) => void;
}

/** Whether a lease with this id is about to be revoked. */
export type IsOld = (lease: string) => boolean;

export type Said = Pick<ReportedSecret, "rotation" | "fingerprint" | "leases" | "under" | "state" | "reason">;

/** Ms after which one that has found another value looks again. */
const LOOKS_AGAIN_MS: readonly number[] = [2_000, 10_000];
/** Likewise, where the backend gave no answer: about as long as an operator waits. Its owner tries again for ever. */
const TRIES_AGAIN_MS: readonly number[] = [2_000, 5_000, 10_000, 20_000, 30_000];

export class EntryWatch {
  readonly #options: EntryWatchOptions;
  #heard:
    | {
        readonly entry: Entry;
        readonly sequence: number;
        readonly before: string | undefined;
        /** Only where it is about leases. */
        readonly isOld: IsOld | undefined;
      }
    | undefined;
  #state: ReportedSecret["state"] = "idle";
  #reason: string | undefined;
  #timer: Timer | undefined;
  #looks = 0;

  constructor(options: EntryWatchOptions) {
    this.#options = options;
  }

  get said(): Said {
    // Whoever knows a proof takes it for done.
    const { isDraining } = this.#options.standing();
    const fingerprint = isDraining ? undefined : this.#fingerprint;
    return {
      ...(this.#heard && { rotation: this.#heard.entry.rotation }),
      ...(fingerprint !== undefined && { fingerprint }),
      ...(!isDraining && this.#leasesSaid),
      state: this.#state,
      ...(this.#reason !== undefined && { reason: this.#reason }),
    };
  }

  /** When the last entry was put, by the operator's clock: wall-clock ms, 0 for none. */
  get heardOf(): number {
    return this.#heard ? Date.parse(this.#heard.entry.at) : 0;
  }

  /** @param sequence of the entry in its stream */
  hear(entry: Entry, sequence: number): void {
    const known = this.#heard;
    if (known && !isLater({ entry, sequence }, known)) return;
    // Asked for only where every other value will do.
    const isSame = known?.entry.rotation === entry.rotation || entry.fingerprint !== undefined;
    const before = isSame ? known?.before : this.#fingerprintUnder(entry);
    const isOld = entry.oldLeases === undefined ? undefined : oldLeasesIn(entry.oldLeases, keyOf(entry));
    this.#heard = { entry, sequence, before, isOld };
    this.#begin(entry);
  }

  /** Something has changed on this machine: perhaps the server has what is wanted. */
  changed(): void {
    if (this.#heard && this.#state !== "has" && this.#hasIt) this.#become("has");
  }

  close(): void {
    this.#timer?.cancel();
    this.#heard = undefined;
  }

  #begin(entry: Entry): void {
    const { instance, standing } = this.#options;
    this.#timer?.cancel();
    this.#looks = 0;
    if (this.#hasIt) this.#become("has");
    else if (standing().mode === "never") this.#become("cannot-swap", "its profile has `restart: never`");
    else if (standing().mode === "exec") this.#become("cannot-swap", "it runs under exec");
    else if (entry.oldLeases !== undefined && !this.#leases)
      this.#become("failed", "it has it by no lease that it knows the name of");
    else if (fractionOf(entry.rotation, instance) >= entry.upTo)
      this.#become("waiting", "its turn comes with a later wave");
    else this.#lookIn(Math.random() * entry.overMs);
  }

  #lookIn(ms: number): void {
    if (this.#looks === 0 && ms >= 1) this.#become("waiting", "it waits for its turn to look");
    this.#timer = this.#options.clock.after(ms, () => void this.#look(), { background: true });
  }

  async #look(): Promise<void> {
    const { clock, look } = this.#options;
    // It has come meanwhile, with another secret of the same document.
    if (this.#hasIt) return this.#become("has");
    const heard = this.#heard;
    const begun = clock.now();
    this.#looks += 1;
    this.#become("looking", this.#looks > 1 ? this.#reason : undefined);
    // How it went is told by the standing.
    await look(heard?.isOld).catch(() => undefined);
    if (heard !== undefined && this.#heard === heard) this.#judge(begun);
  }

  #judge(begun: number): void {
    const { isLooking, isDraining, lastFailure } = this.#options.standing();
    const failure = lastFailure && lastFailure.at >= begun ? lastFailure : undefined;
    const again = (failure ? TRIES_AGAIN_MS : LOOKS_AGAIN_MS)[this.#looks - 1];
    if (this.#hasIt) this.#become("has");
    else if (failure && !failure.mayPass) this.#become("failed", failure.reason);
    else {
      if (failure) this.#become("waiting", `it could not look, and tries again: ${failure.reason}`);
      else if (isDraining) this.#become("looking", "its old server finishes its work");
      else if (isLooking) this.#become("looking", "it is still looking");
      else if (this.#heard?.isOld) this.#become("other", "it has looked, and has the old lease still");
      else this.#become("other", "it has looked, and found another value");
      if (again !== undefined) this.#lookIn(again * (0.5 + Math.random()));
    }
  }

  get #hasIt(): boolean {
    if (!this.#heard || this.#options.standing().isDraining) return false;
    const { entry, before, isOld } = this.#heard;
    if (isOld) return this.#leases?.some(isOld) === false;
    const now = this.#fingerprint;
    return entry.fingerprint === undefined ? now !== before : now === entry.fingerprint;
  }

  get #fingerprint(): string | undefined {
    return this.#heard && this.#fingerprintUnder(this.#heard.entry);
  }

  #fingerprintUnder(entry: Entry): string | undefined {
    return this.#options.fingerprint(keyOf(entry), entry.ways);
  }

  get #leases(): readonly string[] | undefined {
    const leases = this.#options.leases?.() ?? [];
    return leases.length === 0 || leases.length > MOST_LEASES_OF_ONE ? undefined : leases;
  }

  get #leasesSaid(): Pick<Said, "leases" | "under"> {
    const leases = this.#leases;
    if (!this.#heard?.isOld || !leases) return {};
    const key = keyOf(this.#heard.entry);
    return { leases: leases.map((id) => fingerprintOf(id, key)), under: fingerprintOfKey(key) };
  }

  #become(state: ReportedSecret["state"], reason?: string): void {
    this.#state = state;
    this.#reason = reason?.slice(0, LONGEST_REASON);
    this.#options.onChange(state !== "looking" && state !== "waiting");
  }
}

function keyOf({ key }: Entry): Buffer {
  return Buffer.from(key, "base64url");
}

interface Placed {
  readonly entry: Entry;
  readonly sequence: number;
}

/** By the server's clock where the bucket is another one: those of two operators may differ. */
function isLater({ entry, sequence }: Placed, known: Placed): boolean {
  const [bucket, knownBucket] = [entry.bucket, known.entry.bucket];
  if (bucket !== undefined && knownBucket !== undefined && bucket !== knownBucket)
    return Date.parse(bucket) > Date.parse(knownBucket);
  // One that was restored from a copy goes on from an earlier place.
  return sequence > known.sequence || Date.parse(entry.at) > Date.parse(known.entry.at);
}

/** Where a supervisor stands among all, for waves: from 0 up to 1, for each rotation anew. */
export function fractionOf(rotation: string, instance: string): number {
  return createHash("sha256").update(`${rotation} ${instance}`).digest().readUInt32BE() / 2 ** 32;
}
