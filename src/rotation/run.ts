/** One rotation while this process works on it: its journal, how far it is, and what it holds in memory. */
import { type Clock, type Timer, untilAborted } from "../clock.ts";
import { McpRunError, ProviderError } from "../errors.ts";
import { inTime } from "../secrets/in-time.ts";
import type { Secret } from "../secrets/secret.ts";
import type { Canary, Fleet, Holder, IssuerRequest, SecretInUse, Target, TargetPart } from "./contract.ts";
import { fingerprintUnder, type Prints, printsOf, spellingsOf } from "./fingerprints.ts";
import type { Answer, Question, RotationEvent } from "./happening.ts";
import type { Journal, NewLine } from "./journal/journal.ts";
import type { Facts, PlanLine, PlannedPart } from "./journal/journal-line.ts";
import { Progress } from "./journal/progress.ts";
import type { StepName } from "./steps/step-names.ts";

/** For whatever asks nobody but a store; a keychain may wait for its user. */
export const STORE_LIMIT = { limitMs: 60_000, hint: "again when it answers" } as const;
/** Ms that anything else has to end once it is told to. */
const GRACE_MS = 10_000;

export interface RotationDeps {
  readonly canary: Canary;
  readonly fleet: Fleet;
  readonly clock: Clock;
  /** Ms that supervisors have to take the new value. */
  readonly ackTimeoutMs: number;
  /** Hosts that are not waited for. */
  readonly missingOk: readonly string[];
  decide(question: Question, signal: AbortSignal): Promise<Answer>;
  emit(event: RotationEvent): void;
  /** Whether a server with the old value of this secret has to fail the probe, once it is revoked. */
  triesOld?(secret: string): boolean;
  /**
   * Has the servers that use these hold their clients' new requests until they have the new values; only those that can
   * be told so. Rejects with McpRunError.
   *
   * @param key that of the fingerprints
   */
  holdRequests?(
    secrets: readonly SecretInUse[],
    key: Buffer,
    signal: AbortSignal,
  ): Promise<readonly Holder[]>;
  /** Deletes copies of old values in caches of this machine. */
  forgetCopies?(refs: readonly string[]): Promise<void>;
}

/** One that is taken for each target by itself. */
export interface TargetStep {
  readonly name: StepName;
  /** It talks to a store only, which has to answer in time. */
  readonly isBounded?: true;
  /** False where there is nothing to do, whatever the journal says. */
  isNeeded?(run: Run, target: Target): boolean;
  forTarget(run: Run, target: Target, signal: AbortSignal): Promise<Facts>;
}

/** One that is taken once for all targets. */
export interface OverallStep {
  readonly name: StepName;
  /** What an earlier process has come to with it says nothing now. */
  readonly isRepeated?: true;
  /** False where there is nothing to do, whatever the journal says. */
  isNeeded?(run: Run): boolean;
  forAll(run: Run, signal: AbortSignal): Promise<Facts>;
}

export type Step = TargetStep | OverallStep;

export class Run {
  readonly plan: PlanLine;
  readonly targets: readonly Target[];
  readonly deps: RotationDeps;
  readonly journal: Journal;
  readonly progress: Progress;
  /** New values by the secret's name. */
  readonly values = new Map<string, Secret>();
  /** What they replace, for as long as this process lives: a store may forget a version that is not the last but one. */
  readonly oldValues = new Map<string, Secret>();
  /** Their issuers' names for them. */
  readonly keyIds = new Map<string, string>();
  readonly notes: string[] = [];
  /** What to try against the first failure that was let pass; reads well after «Try ». */
  hint: string | undefined;
  /** Names of those whose issuers may have made a key for this rotation, here or in an earlier process. */
  readonly mayBeMinted: Set<string>;
  /** Servers have been asked to hold requests. */
  hasAskedToHold = false;
  #failedAt: string | undefined;

  /** Throws McpRunError if these are not the targets of the journal. */
  constructor(journal: Journal, targets: readonly Target[], deps: RotationDeps) {
    this.journal = journal;
    this.plan = journal.plan;
    this.targets = this.plan.targets.map((planned) => {
      const target = targets.find(({ ref }) => ref === planned.ref);
      const isIt = target && isSame(target.parts, planned.parts) && target.own?.mode === planned.mode;
      if (!isIt) throw this.#noLonger(`${planned.ref} as it was planned`);
      const unencrypted = planned.parts.find(
        ({ reencrypts }, index) => reencrypts && !target.parts[index]?.issuer.reencrypt,
      );
      if (unencrypted) throw this.#noLonger(`${unencrypted.name} as a key that data is encrypted with`);
      return target;
    });
    this.deps = deps;
    this.progress = new Progress(this.plan, journal.lines);
    const wasMinting = journal.lines.some((line) => line.kind === "intent" && line.step === "mint");
    const names = this.targets.flatMap(({ parts }) => parts.map(({ name }) => name));
    this.mayBeMinted = new Set(wasMinting ? names : []);
  }

  #noLonger(what: string): McpRunError {
    return new McpRunError(
      "profile-invalid",
      `Cannot go on with rotation ${this.plan.rotation}: the profile no longer has ${what}`,
      { hint: "the profile as it was when the rotation began" },
    );
  }

  fingerprint(value: Secret): string {
    return fingerprintUnder(this.plan.key, value);
  }

  prints(part: TargetPart, value: Secret): Prints {
    return printsOf(part, value, this.plan.key);
  }

  /** What the journal says of a part. */
  planned(name: string): PlannedPart {
    const part = this.plan.targets.flatMap(({ parts }) => parts).find((other) => other.name === name);
    if (!part) throw new Error(`${name} is no part of this rotation`);
    return part;
  }

  /** Whether this is what was to be replaced: the old value, or none where there was none. */
  isPlanned({ name }: Pick<TargetPart, "name">, value: Secret | undefined): boolean {
    return (value && this.fingerprint(value)) === this.planned(name).fingerprint;
  }

  /** Whether it is the old key, whatever line ending it has. */
  isOldKey({ name }: Pick<TargetPart, "name">, value: Secret): boolean {
    return this.isKeyOf(this.planned(name).fingerprint, value);
  }

  /** @param print of a key: undefined for none */
  isKeyOf(print: string | undefined, value: Secret): boolean {
    return spellingsOf(value).some((spelling) => this.fingerprint(spelling) === print);
  }

  request({ name }: TargetPart): IssuerRequest {
    const { rotation, profile, reason } = this.plan;
    return { rotationId: rotation, profile, secret: name, reason };
  }

  /** What asks nobody but a store; rejects with ProviderError `unavailable` when it gives no answer in time. */
  fromStore<T>(signal: AbortSignal, work: (limited: AbortSignal) => Promise<T>): Promise<T> {
    return inTime({ clock: this.deps.clock, ...STORE_LIMIT, signal }, work);
  }

  note(message: string): void {
    if (this.notes.includes(message)) return;
    this.notes.push(message);
    this.deps.emit({ type: "note", message });
  }

  async ask(question: Question, signal: AbortSignal): Promise<Answer> {
    const answer = await this.deps.decide(question, signal);
    this.deps.emit({ type: "asked", question, answer });
    return answer;
  }

  async write(line: NewLine): Promise<void> {
    this.progress.apply(await this.journal.append(line));
  }

  /** Intent, work, fact. Rejects with what the work rejects with; then there is no fact. */
  async perform(step: TargetStep, signal: AbortSignal, target: Target): Promise<Facts>;
  async perform(step: OverallStep, signal: AbortSignal): Promise<Facts>;
  async perform(step: Step, signal: AbortSignal, target?: Target): Promise<Facts> {
    const { clock, emit } = this.deps;
    const of = { step: step.name, ...(target && { target: target.ref }) };
    const startedAt = clock.monotonic();
    const ms = () => clock.monotonic() - startedAt;
    await this.write({ kind: "intent", ...of });
    // From here on somebody may have to live with what comes of it, journal or not.
    if (this.progress.isPastReturn) this.journal.mustGoOn();
    emit({ type: "step-began", ...of });
    let facts: Facts;
    try {
      signal.throwIfAborted();
      facts = await this.#work(step, signal, target);
    } catch (error) {
      this.#failedAt = target?.ref;
      emit({ type: "step-failed", ...of, reason: reasonOf(error), ms: ms() });
      throw error;
    }
    await this.write({ kind: "fact", ...of, facts });
    if (facts.isDone === false) {
      const { reason = "it is not done", details } = facts;
      emit({ type: "step-failed", ...of, reason, ...(details && { details }), ms: ms() });
    } else emit({ type: "step-done", ...of, facts, ms: ms() });
    return facts;
  }

  /** The ref of the target whose step has failed last. */
  get failedAt(): string | undefined {
    return this.#failedAt;
  }

  /** Why a step failed, and where, if the error does not say it itself. */
  whyFailed(error: unknown): string {
    const reason = reasonOf(error);
    const isBare = error instanceof ProviderError && this.#failedAt !== undefined;
    return isBare && !reason.includes(this.#failedAt ?? "") ? `${this.#failedAt}: ${reason}` : reason;
  }

  async #work(step: Step, signal: AbortSignal, target: Target | undefined): Promise<Facts> {
    const { clock } = this.deps;
    if ("forAll" in step) return endedAfter(clock, signal, step.forAll(this, signal));
    if (!target) throw new Error(`${step.name} is taken for a target`);
    if (!step.isBounded) return endedAfter(clock, signal, step.forTarget(this, target, signal));
    return this.fromStore(signal, (either) => step.forTarget(this, target, either));
  }
}

/** A state, for the journal and for people. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof McpRunError))
    return isInterruption(error) ? "it was interrupted" : "a bug in mcp-run";
  return "reason" in error && typeof error.reason === "string" ? error.reason : error.message;
}

/** Servers and programs are waited for when the signal is aborted: they end by it, and what they did counts. */
async function endedAfter<T>(clock: Clock, signal: AbortSignal, work: Promise<T>): Promise<T> {
  let timer: Timer | undefined;
  const overdue = new AbortController();
  const stop = () => {
    timer = clock.after(GRACE_MS, () => overdue.abort(signal.reason));
  };
  signal.addEventListener("abort", stop, { once: true });
  try {
    return await untilAborted(overdue.signal, work);
  } finally {
    signal.removeEventListener("abort", stop);
    timer?.cancel();
  }
}

/** What an aborted signal is aborted with, if nobody gave a reason of the family. */
export function isInterruption(error: unknown): boolean {
  return error instanceof Error && error.name === "AbortError";
}

function isSame(parts: readonly TargetPart[], planned: readonly PlannedPart[]): boolean {
  const outline = ({ name, from, field, comesWith }: TargetPart | PlannedPart) =>
    JSON.stringify([name, from, field ?? null, comesWith ?? null]);
  return (
    parts.length === planned.length &&
    parts.every((part, index) => {
      const other = planned[index];
      return other !== undefined && outline(part) === outline(other);
    })
  );
}
