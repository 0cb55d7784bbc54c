/** Under which keys of the bus a rotation is spoken of, and what is wanted under each. */

import { isWay, MOST_OLD_LEASES, MOST_WAYS, type ReportedSecret } from "../../control/bus/messages.ts";
import { busKey } from "../../control/bus/names.ts";
import { fingerprintOfKey } from "../../control/bus/old-leases.ts";
import { mayBeSameRealm, realmOf } from "../../control/bus/realm.ts";
import { fingerprintOf, jointFingerprint } from "../../control/fingerprint.ts";
import { holdersOf, type SecretName } from "../../secrets/identity.ts";
import type { Wanted } from "../contract.ts";

export interface BusGoal {
  readonly key: string;
  /** For people. */
  readonly ref: string;
  /** Of what is to be had there; with neither this nor leases nobody can be told over the bus what that is. */
  readonly fingerprint?: string | undefined;
  readonly oldLeases?: OldLeases | undefined;
  /** Only these fields of what has that key are wanted. */
  readonly ways?: string[][];
}

/** Whoever has one of them is to have another. */
export interface OldLeases {
  /** Of their key: see fingerprintOfKey. */
  readonly under: string;
  /** Their ids by fingerprint. */
  readonly ids: ReadonlyMap<string, string>;
}

/** Whose reports count. */
export interface Sought {
  readonly keys: ReadonlySet<string>;
  /** Refs less the word before the colon: one with another key may have it by another address of its backend. */
  readonly paths: SoughtPaths;
  /** Likewise, of whole documents that are had by a lease: whoever has any field of them has one. */
  readonly lent: ReadonlySet<string>;
}

/** The realms in which a path is sought: see realmOf. */
export type SoughtPaths = ReadonlyMap<string, readonly (string | undefined)[]>;

/** Also who has the whole document of a field, or a field around it. */
export function soughtFor(secrets: readonly (SecretName & Pick<Wanted, "oldLeases">)[]): Sought {
  const names = secrets.flatMap((one) => [one, ...holdersOf(one).map(({ name }) => name)]);
  return {
    keys: new Set(names.map(busKey)),
    paths: pathsOf(names),
    lent: new Set(secrets.filter(({ oldLeases }) => oldLeases).map(({ from }) => documentPath(from))),
  };
}

function pathsOf(names: readonly SecretName[]): SoughtPaths {
  const paths = new Map<string, (string | undefined)[]>();
  for (const { from, place } of names) {
    const realms = paths.get(pathOf(from)) ?? [];
    paths.set(pathOf(from), [...realms, realmOf(place)]);
  }
  return paths;
}

/** Whether what is reported may be one of those, whatever its key. */
export function mayBeAmong(
  paths: SoughtPaths,
  { ref, realm }: Pick<ReportedSecret, "ref" | "realm">,
): boolean {
  return paths.get(pathOf(ref))?.some((sought) => mayBeSameRealm(sought, realm)) === true;
}

export function documentPath(ref: string): string {
  return pathOf(holdersOf({ from: ref })[0]?.name.from ?? ref);
}

export function pathOf(ref: string): string {
  return ref.slice(ref.indexOf(":") + 1);
}

/** @param under key of the fingerprints */
export function goalsOf(wanted: readonly Wanted[], under: Buffer): readonly BusGoal[] {
  const leases = new Map<readonly string[], OldLeases>();
  const goals = wanted.map((one): BusGoal => {
    const goal = { key: busKey(one), ref: one.from, fingerprint: one.fingerprint };
    const { oldLeases: ids } = one;
    if (!ids || ids.length > MOST_OLD_LEASES) return goal;
    // All that lies in one document has one list.
    const oldLeases = leases.get(ids) ?? oldLeasesOf(ids, under);
    leases.set(ids, oldLeases);
    return { ...goal, oldLeases };
  });
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
  // A lease is that of a whole document.
  const lent = new Map(
    wanted.flatMap((one, index) => {
      const oldLeases = goals[index]?.oldLeases;
      const names = oldLeases
        ? holdersOf(one).map(({ name }) => ({ key: busKey(name), ref: name.from }))
        : [];
      return names.filter(({ key }) => !own.has(key)).map((name) => [name.key, { ...name, oldLeases }]);
    }),
  );
  return [
    ...goals,
    ...lent.values(),
    ...holders.map(([key, { ref, parts }]): BusGoal => {
      // They have come into the document in one step: who has some of them has all.
      const told = parts.filter(([way]) => isWay(way)).slice(0, MOST_WAYS);
      if (told.length === 0) return { key, ref };
      const fingerprints = told.map(([, fingerprint]) => fingerprint);
      return {
        key,
        ref,
        fingerprint: jointFingerprint(fingerprints, under),
        ways: told.map(([way]) => way),
      };
    }),
  ];
}

function oldLeasesOf(ids: readonly string[], key: Buffer): OldLeases {
  return { under: fingerprintOfKey(key), ids: new Map(ids.map((id) => [fingerprintOf(id, key), id])) };
}
