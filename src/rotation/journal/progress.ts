/** How far a rotation has come, as its journal tells it: a fold over the lines, and nothing else. */

import { MODES } from "../modes.ts";
import type { StepName } from "../steps/step-names.ts";
import type { Facts, JournalLine, PartFacts, PlanLine } from "./journal-line.ts";

/** Which way it goes: on, or back before or after the promotion. */
export type Direction = "forward" | "discard" | "rollback";

/** A key that was minted, by its issuer's name for it. */
export interface MintedKey {
  readonly keyId?: string;
  readonly fingerprint?: string;
  readonly fields?: PartFacts["fields"];
}

export class Progress {
  readonly #plan: PlanLine;
  readonly #begun = new Set<string>();
  readonly #facts = new Map<string, Facts>();
  readonly #results = new Map<string, NonNullable<PartFacts["result"]>>();
  /** Names of those whose old key somebody has once said to be revoked. */
  readonly #revoked = new Set<string>();
  /** Of each part, the latest last. */
  readonly #minted = new Map<string, MintedKey[]>();
  readonly #bases = new Map<string, Set<string>>();
  /** By ref, and why. */
  readonly #setAside = new Map<string, string>();
  #direction: Direction = "forward";

  constructor(plan: PlanLine, lines: readonly JournalLine[]) {
    this.#plan = plan;
    for (const line of lines) this.apply(line);
  }

  apply(line: JournalLine): void {
    if (line.kind === "intent") {
      this.#begun.add(keyOf(line.step, line.target));
      // What came of an earlier try says nothing of this one.
      if (line.step === "revoke") this.#facts.delete(keyOf(line.step, line.target));
    }
    if (line.kind === "fact") this.#applyFact(line.step, line.target, line.facts);
    if (line.kind !== "turn") return;
    if (line.to === "rebase") this.#forgetCandidate(line.target);
    else if (line.to !== "set-aside") this.#direction = line.to;
    else if (line.target !== undefined) this.#setAside.set(line.target, line.reason ?? "");
  }

  get direction(): Direction {
    return this.#direction;
  }

  /** Whether somebody else has replaced it, and the others go on without it. */
  isSetAside(ref: string): boolean {
    return this.#setAside.has(ref);
  }

  /** What has happened to those that are set aside: states. */
  get setAsideFor(): readonly string[] {
    return [...this.#setAside.values()];
  }

  /** Whether there is a fact, and it is no unfinished one. */
  isDone(step: StepName, target?: string): boolean {
    const facts = this.factsOf(step, target);
    return facts !== undefined && facts.isDone !== false;
  }

  /** Whether it may have happened: there is an intent. */
  isBegun(step: StepName, target?: string): boolean {
    return this.#begun.has(keyOf(step, target));
  }

  /** The latest. */
  factsOf(step: StepName, target?: string): Facts | undefined {
    return this.#facts.get(keyOf(step, target));
  }

  /** What the latest fact of the step says of a part's key. */
  resultOf(step: StepName, name: string): PartFacts["result"] {
    return this.#results.get(keyOf(step, name));
  }

  /** Every key that was minted for the part, the latest last. */
  mintedFor(name: string): readonly MintedKey[] {
    return this.#minted.get(name) ?? [];
  }

  /** The versions that hold an old value: what candidates were made from, and what was planned. */
  basesOf(ref: string): readonly string[] {
    const planned = this.#plan.targets.find((target) => target.ref === ref)?.version;
    return [...new Set([...(planned === undefined ? [] : [planned]), ...(this.#bases.get(ref) ?? [])])];
  }

  /** Somebody may have a new value, or somebody's old one may be refused: nothing is taken back by itself. */
  get isPastReturn(): boolean {
    return (
      this.mayBeRevoked() ||
      this.isReplacedByBackend ||
      this.#plan.targets.some(({ ref }) => this.mayBePromoted(ref))
    );
  }

  /** Some backend may have replaced a key by itself, or lent new ones: what was there can't be put back. */
  get isReplacedByBackend(): boolean {
    return this.#plan.targets.some(
      ({ ref, mode, leases }) =>
        mode !== undefined &&
        (this.isBegun("rotate", ref) || (leases !== undefined && this.isBegun("spread"))),
    );
  }

  /** The old key, in the moment in which the new one was made. */
  isEndedByBackend(ref: string): boolean {
    const { mode } = this.#plan.targets.find((target) => target.ref === ref) ?? {};
    return mode !== undefined && MODES[mode].revokes === "at-once" && this.isDone("rotate", ref);
  }

  mayBePromoted(ref: string): boolean {
    return this.isDone("promote", ref) || this.isBegun("promote", ref);
  }

  /**
   * Whether some old key may have been refused by its issuer.
   *
   * @param untouched the target whose revocation has begun, and has ended nothing
   */
  mayBeRevoked(untouched?: string): boolean {
    const targets = this.#plan.targets.filter(({ ref }) => this.isBegun("revoke", ref));
    return targets.some(({ ref, parts }) => {
      if (ref !== untouched && !this.#facts.has(keyOf("revoke", ref))) return true;
      return parts.some(({ name }) => {
        return this.#revoked.has(name) || this.resultOf("revoke", name) === "failed";
      });
    });
  }

  #applyFact(step: StepName, target: string | undefined, facts: Facts): void {
    const key = keyOf(step, target);
    this.#facts.set(key, facts);
    // The next try of a step that is not done begins with its own intent; a settled promotion is no longer in doubt.
    if (facts.isDone === false && (step === "promote" || step === "rotate")) this.#begun.delete(key);
    for (const part of facts.parts ?? []) {
      if (part.result) this.#results.set(keyOf(step, part.name), part.result);
      if (step === "revoke" && (part.result === "revoked" || part.result === "by-hand"))
        this.#revoked.add(part.name);
      // What was said to be revoked is not.
      if (step === "verify" && part.result === "accepted") this.#facts.delete(keyOf("revoke", target));
      if (step === "mint" || step === "rotate") this.#applyMinted(part);
    }
    if (step === "candidate" && target !== undefined && facts.base != null) {
      this.#bases.set(target, (this.#bases.get(target) ?? new Set()).add(facts.base));
    }
  }

  #applyMinted({ name, keyId, fingerprint, fields }: PartFacts): void {
    const minted = this.#minted.get(name) ?? [];
    const before = minted.at(-1);
    if (before && before.fingerprint === fingerprint && before.keyId === keyId) return;
    this.#minted.set(name, [
      ...minted,
      {
        ...(keyId !== undefined && { keyId }),
        ...(fingerprint !== undefined && { fingerprint }),
        ...(fields && { fields }),
      },
    ]);
    // A candidate with another value is none any more.
    if (before)
      this.#forgetCandidate(
        this.#plan.targets.find(({ parts }) => parts.some((part) => part.name === name))?.ref,
      );
  }

  #forgetCandidate(target: string | undefined): void {
    for (const key of [keyOf("candidate", target), keyOf("canary")]) {
      this.#facts.delete(key);
      this.#begun.delete(key);
    }
    this.#begun.delete(keyOf("promote", target));
  }
}

function keyOf(step: StepName, target = ""): string {
  return `${step} ${target}`;
}
