/**
 * A candidate lies in a secret of its own, `NAME-mcp-run-pending`, as an enabled version whose tags say whose it is.
 * That secret is never deleted: soft delete would block its name for days, and with it the next rotation. A candidate
 * is taken away by disabling its version, after which nobody gets its value; who may write secrets could enable it
 * again. (So what a rotation leaves here is a value that it has made current, or that its issuer has revoked.)
 */
import type { Clock } from "../../src/clock.ts";
import type { Candidate, CandidateMark } from "../../src/secrets/provider.ts";
import type { Secret } from "../../src/secrets/secret.ts";
import { AzureError } from "./azure-error.ts";
import { currentOf } from "./current-version.ts";
import { candidateIn, candidateTags } from "./marks.ts";
import { CANDIDATE_SUFFIX } from "./settings.ts";
import { winnerBefore } from "./settle.ts";
import type { StoredVersion, ValuedVersion } from "./stored-version.ts";
import type { VaultClient } from "./vault-client.ts";

const MOST_NAME_LENGTH = 127;

interface Held {
  readonly stored: StoredVersion;
  readonly candidate: Candidate & { readonly version: string };
}

export class Candidates {
  readonly #client: VaultClient;
  readonly #clock: Clock;

  constructor(client: VaultClient, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
  }

  /** The candidate beside that secret, whoever put it. */
  async find(name: string, signal: AbortSignal): Promise<Candidate | undefined> {
    return (await this.#held(name, signal))[0]?.candidate;
  }

  /** Throws `conflict` if there is one of another rotation, or of this one with another value. */
  async put(name: string, value: Secret, mark: CandidateMark, signal: AbortSignal): Promise<Candidate> {
    const side = sideOf(name);
    const held = await this.#held(name, signal);
    const other = held.find(({ candidate }) => candidate.rotationId !== mark.rotationId);
    if (other) throw taken(name, other.candidate);
    const [own] = held;
    if (own && !(await this.#client.get(side, own.stored.version, signal)).value.equals(value)) {
      throw new AzureError("conflict", `this rotation has another candidate for ${name} already`, {
        hint: `discarding the rotation ${mark.rotationId} first`,
      });
    }
    const stored =
      own?.stored ?? (await this.#client.set(side, value, { tags: { ...candidateTags(mark) } }, signal));
    const winner = await winnerBefore(
      {
        others: async () =>
          (await this.#held(name, signal))
            .filter(({ candidate }) => candidate.version !== stored.version)
            .map((found) => found.stored),
        isLatest: async () => (await currentOf(this.#client, side, signal))?.version === stored.version,
      },
      this.#clock,
      signal,
    );
    if (!winner) return { ...mark, version: stored.version };
    await this.#client.disable(stored, signal);
    throw taken(name, candidateIn(winner));
  }

  /** This rotation's candidate with its value; undefined if there is none at all, `conflict` if it is another's. */
  async own(name: string, rotationId: string, signal: AbortSignal): Promise<ValuedVersion | undefined> {
    const stored = await this.#own(name, rotationId, signal);
    return stored && (await this.#client.get(stored.name, stored.version, signal));
  }

  /** False if there is none; throws `conflict` if it is another's. */
  async discard(name: string, rotationId: string, signal: AbortSignal): Promise<boolean> {
    const stored = await this.#own(name, rotationId, signal);
    if (!stored) return false;
    await this.#client.disable(stored, signal);
    return true;
  }

  async #own(name: string, rotationId: string, signal: AbortSignal): Promise<StoredVersion | undefined> {
    const held = await this.#held(name, signal);
    const own = held.find(({ candidate }) => candidate.rotationId === rotationId);
    if (!own && held[0]) throw taken(name, held[0].candidate);
    return own?.stored;
  }

  async #held(name: string, signal: AbortSignal): Promise<readonly Held[]> {
    const versions = await this.#client.versions(sideOf(name), signal);
    return versions.flatMap((stored) => {
      const candidate = stored.isEnabled ? candidateIn(stored) : undefined;
      return candidate ? [{ stored, candidate }] : [];
    });
  }
}

function sideOf(name: string): string {
  const side = `${name}${CANDIDATE_SUFFIX}`;
  if (side.length <= MOST_NAME_LENGTH) return side;
  throw new AzureError(
    "invalid",
    `the name is too long for a rotation, whose candidate needs ${CANDIDATE_SUFFIX.length} characters more`,
    { hint: `a name of at most ${MOST_NAME_LENGTH - CANDIDATE_SUFFIX.length} characters` },
  );
}

function taken(name: string, candidate: Candidate | undefined): AzureError {
  const { rotationId = "another one", operator = "somebody", createdAt } = candidate ?? {};
  const since = createdAt && !Number.isNaN(createdAt.getTime()) ? ` since ${createdAt.toISOString()}` : "";
  return new AzureError("conflict", `the rotation ${rotationId} of ${operator} holds ${name}${since}`, {
    hint: "waiting for it, or --take-over if it was abandoned",
  });
}
