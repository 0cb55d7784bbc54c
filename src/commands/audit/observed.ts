/** What is looked at in a program's secrets whenever figures are collected, and the values that its headers need. */
import type { Observed } from "../../audit/export/figures.ts";
import type { Profile } from "../../profile/profile.ts";
import type { NeedleSet } from "../../scrub/needle-set.ts";
import type { Secret } from "../../secrets/secret.ts";
import type { SecretsInUse } from "../start/secrets-in-use.ts";

/** @param now ms since the epoch */
export function observed(profile: Profile, inUse: SecretsInUse, needles: NeedleSet, now: number): Observed {
  const maxAges = new Map(profile.secrets.map(({ name, maxAgeMs }) => [name, maxAgeMs]));
  const secrets = inUse.hasFetched ? inUse.served : [];
  return {
    scrubbed: needles.masks,
    secrets: secrets.map(({ name, createdAt }) => ({
      name,
      ageMs: createdAt && Math.max(0, now - createdAt.getTime()),
      maxAgeMs: maxAges.get(name),
    })),
  };
}

/** The newest of each; none before they have been fetched. */
export function valuesIn(inUse: SecretsInUse): ReadonlyMap<string, Secret> {
  if (!inUse.hasFetched) return new Map();
  return new Map(inUse.resolution.secrets.map(({ name, value }) => [name, value]));
}
