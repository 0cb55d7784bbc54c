/**
 * What a rotation writes into the tags of a version: who put a candidate, what was promoted, what was restored.
 * Tags can be read by whoever may list; they hold names only. A secret may have 15, of at most 256 characters.
 */
import type { Candidate, CandidateMark } from "../../src/secrets/provider.ts";
import { AzureError } from "./azure-error.ts";
import type { StoredVersion } from "./stored-version.ts";

const ROTATION = "mcp-run-rotation";
const OPERATOR = "mcp-run-operator";
const CREATED = "mcp-run-created";
const RESTORED = "mcp-run-restored";
const OURS: readonly string[] = [ROTATION, OPERATOR, CREATED, RESTORED];

const MOST_TAGS = 15;
const MOST_CHARACTERS = 256;

export type Tags = Readonly<Record<string, string>>;

export function candidateTags({ rotationId, operator, createdAt }: CandidateMark): Tags {
  return {
    [ROTATION]: rotationId,
    [OPERATOR]: operator.slice(0, MOST_CHARACTERS),
    [CREATED]: createdAt.toISOString(),
  };
}

/** On the version that a rotation has made current. */
export function promotedTags(rotationId: string): Tags {
  return { [ROTATION]: rotationId };
}

/** On the version that has brought an earlier one back. */
export function restoredTags(version: string, planned: string): Tags {
  return { [RESTORED]: `${version} over ${planned}` };
}

/** True if `version` has every one of these tags. */
export function bears({ tags }: StoredVersion, wanted: Tags): boolean {
  return Object.entries(wanted).every(([name, value]) => tags[name] === value);
}

/** The candidate that a version is; undefined for a version that is none. */
export function candidateIn({ tags, version }: StoredVersion): (Candidate & { version: string }) | undefined {
  const rotationId = tags[ROTATION];
  if (rotationId === undefined) return undefined;
  const createdAt = new Date(tags[CREATED] ?? Number.NaN);
  return { rotationId, operator: tags[OPERATOR] ?? "somebody", createdAt, version };
}

/** The tags that a secret's owner gave it, and these. Throws ProviderError `invalid` where there is no room. */
export function withOwners(owners: Tags, marks: Tags): Record<string, string> {
  const kept = Object.entries(owners).filter(([name]) => !OURS.includes(name));
  if (kept.length + Object.keys(marks).length > MOST_TAGS) {
    throw new AzureError(
      "invalid",
      `the secret has ${kept.length} tags already, and ${MOST_TAGS} are allowed`,
      {
        hint: "taking one of its tags away",
      },
    );
  }
  return { ...Object.fromEntries(kept), ...marks };
}
