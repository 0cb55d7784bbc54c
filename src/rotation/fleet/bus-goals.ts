/** Under which keys of the bus a rotation is spoken of, and what is wanted under each. */
import { busKey } from "../../control/bus/names.ts";
import { jointFingerprint } from "../../control/fingerprint.ts";
import { holdersOf, type SecretName } from "../../secrets/identity.ts";
import type { Wanted } from "../contract.ts";

export interface BusGoal {
  readonly key: string;
  /** For people. */
  readonly ref: string;
  /** Undefined: another lease, which nobody can be told of over the bus. */
  readonly fingerprint: string | undefined;
  /** Only these fields of what has that key are wanted. */
  readonly ways?: string[][];
}

/** Whose reports count. */
export interface Sought {
  readonly keys: ReadonlySet<string>;
  /** Refs less the word before the colon: one with another key may have it by another address of its backend. */
  readonly paths: ReadonlySet<string>;
}

/** Also who has the whole document of a field, or a field around it. */
export function soughtFor(secrets: readonly SecretName[]): Sought {
  const names = secrets.flatMap((one) => [one, ...holdersOf(one).map(({ name }) => name)]);
  return { keys: new Set(names.map(busKey)), paths: new Set(names.map(({ from }) => pathOf(from))) };
}

export function pathOf(ref: string): string {
  return ref.slice(ref.indexOf(":") + 1);
}

/** @param under key of the fingerprints */
export function goalsOf(wanted: readonly Wanted[], under: Buffer): readonly BusGoal[] {
  const goals = wanted.map(
    (one): BusGoal => ({ key: busKey(one), ref: one.from, fingerprint: one.fingerprint }),
  );
  const around = new Map<string, { readonly ref: string; readonly parts: [string[], string][] }>();
  for (const one of wanted) {
    if (one.fingerprint === undefined) continue;
    for (const { name, way } of holdersOf(one)) {
      const key = busKey(name);
      const known = around.get(key) ?? { ref: name.from, parts: [] };
      known.parts.push([[...way], one.fingerprint]);
      around.set(key, known);
    }
  }
  const own = new Set(goals.map(({ key }) => key));
  const holders = [...around].filter(([key]) => !own.has(key));
  return [
    ...goals,
    ...holders.map(
      ([key, { ref, parts }]): BusGoal => ({
        key,
        ref,
        fingerprint: jointFingerprint(
          parts.map(([, fingerprint]) => fingerprint),
          under,
        ),
        ways: parts.map(([way]) => way),
      }),
    ),
  ];
}
