/**
 * One secret of one supervisor, from an entry on the bus until its server has what is wanted. An entry is only a hint:
 * all that it can cause is a look, which the owner limits.
 *
 *   any state -> has ............ the server's value is what is wanted; no backend is asked
 *             -> cannot-swap .... the profile has `restart: never`
 *             -> waiting ........ its turn comes with a later wave, or within `overMs`
 *   waiting   -> looking -> has | failed | other; what is `other` looks again twice, since a store may lag; what could
 *             not look for a reason that may pass is `waiting` again, and looks some times more
 */
import { createHash } from "node:crypto";
import type { Clock, Timer } from "../../clock.ts";
import { type Entry, LONGEST_REASON, type ReportedSecret } from "./messages.ts";

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
  readonly standing: () => Standing;
  readonly look: () => Promise<void>;
  /** @param isSettled nothing more is about to happen */
  readonly onChange: (isSettled: boolean) => void;
}

export type Said = Pick<ReportedSecret, "rotation" | "fingerprint" | "state" | "reason">;

/** Ms after which one that has found another value looks again. */
const LOOKS_AGAIN_MS: readonly number[] = [2_000, 10_000];
/** Likewise, where the backend gave no answer: about as long as an operator waits. Its owner tries again for ever. */
const TRIES_AGAIN_MS: readonly number[] = [2_000, 5_000, 10_000, 20_000, 30_000];

export class EntryWatch {
  readonly #options: EntryWatchOptions;
  #heard:
    | { readonly entry: Entry; readonly sequence: number; readonly before: string | undefined }
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
    const fingerprint = this.#options.standing().isDraining ? undefined : this.#fingerprint;
    return {
      ...(this.#heard && { rotation: this.#heard.entry.rotation }),
      ...(fingerprint !== undefined && { fingerprint }),
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
    this.#heard = { entry, sequence, before };
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
    const entry = this.#heard?.entry;
    const begun = clock.now();
    this.#looks += 1;
    this.#become("looking", this.#looks > 1 ? this.#reason : undefined);
    // How it went is told by the standing.
    await look().catch(() => undefined);
    if (entry !== undefined && this.#heard?.entry === entry) this.#judge(begun);
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
      else this.#become("other", "it has looked, and found another value");
      if (again !== undefined) this.#lookIn(again * (0.5 + Math.random()));
    }
  }

  get #hasIt(): boolean {
    if (!this.#heard || this.#options.standing().isDraining) return false;
    const { entry, before } = this.#heard;
    const now = this.#fingerprint;
    return entry.fingerprint === undefined ? now !== before : now === entry.fingerprint;
  }

  get #fingerprint(): string | undefined {
    return this.#heard && this.#fingerprintUnder(this.#heard.entry);
  }

  #fingerprintUnder(entry: Entry): string | undefined {
    return this.#options.fingerprint(Buffer.from(entry.key, "base64url"), entry.ways);
  }

  #become(state: ReportedSecret["state"], reason?: string): void {
    this.#state = state;
    this.#reason = reason?.slice(0, LONGEST_REASON);
    this.#options.onChange(state !== "looking" && state !== "waiting");
  }
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
