/** A new version of a secret, if its current one is still the planned one: looked for before and after. */
import type { Clock } from "../../src/clock.ts";
import type { Secret } from "../../src/secrets/secret.ts";
import { AzureError } from "./azure-error.ts";
import { attributesOf, currentOf } from "./current-version.ts";
import { winnerBefore } from "./settle.ts";
import type { StoredVersion } from "./stored-version.ts";
import type { Attributes, VaultClient } from "./vault-client.ts";

export interface ConditionalWrite {
  readonly name: string;
  readonly value: Secret;
  /** Undefined: there must be no such secret. */
  readonly planned: string | undefined;
  /** Asked when the current version has turned out to be the planned one. */
  attributes(current: StoredVersion | undefined): Attributes;
}

/**
 * Throws ProviderError `conflict` when somebody else has written. Where that came out only afterwards, their value
 * is current again and ours is disabled.
 */
export async function writeIfCurrent(
  client: VaultClient,
  { name, value, planned, attributes }: ConditionalWrite,
  clock: Clock,
  signal: AbortSignal,
): Promise<StoredVersion> {
  const known = new Set((await client.versions(name, signal)).map(({ version }) => version));
  const current = await currentOf(client, name, signal);
  if (current?.version !== planned) throw notPlanned(name, current?.version);
  const ours = await client.set(name, value, attributes(current), signal);
  const isLatest = async () => (await currentOf(client, name, signal))?.version === ours.version;
  const winner = await winnerBefore(
    {
      others: async () =>
        (await client.versions(name, signal)).filter(
          ({ version, isEnabled }) => isEnabled && !known.has(version) && version !== ours.version,
        ),
      isLatest,
    },
    clock,
    signal,
  );
  if (!winner) return ours;
  if (await isLatest()) await putBack(client, winner, signal);
  await client.disable(ours, signal);
  throw notPlanned(name, winner.version);
}

/** As a version of its own: Key Vault can't make an earlier one the latest. */
async function putBack(client: VaultClient, { name, version }: StoredVersion, signal: AbortSignal) {
  const found = await client.get(name, version, signal);
  await client.set(name, found.value, attributesOf(found, {}), signal);
}

function notPlanned(name: string, version: string | undefined): AzureError {
  const state =
    version === undefined ? `${name} is no longer there` : `${name} has the version ${version} by now`;
  return new AzureError("conflict", state, { hint: "again, with that version as the one to replace" });
}
