/**
 * A complete store that lives as long as its kind: what tests use that are not about a backend, and the
 * shortest example of one. A test can make it slow or let it fail.
 */
import * as z from "zod/mini";
import { pause } from "../src/clock.ts";
import { ProviderError } from "../src/errors.ts";
import {
  type CandidateMark,
  changedMeanwhile,
  heldByAnother,
  type ProviderContext,
  type ProviderKind,
  type RotatableStore,
} from "../src/secrets/provider.ts";
import { Secret } from "../src/secrets/secret.ts";

const refSchema = z.strictObject({
  path: z.string().check(z.minLength(1)),
  version: z.optional(z.string()),
});

type MemoryRef = z.infer<typeof refSchema>;

type Operation = "fetch" | "currentVersion" | "peekVersion" | "put" | "remove" | "list" | RotationStep;
type RotationStep =
  | "findCandidate"
  | "putCandidate"
  | "fetchCandidate"
  | "promote"
  | "discard"
  | "restore"
  | "retire";

/** May be changed at any time; the next operation follows it. */
export interface MemoryBehaviour {
  /** Ms by the context's clock before each operation. */
  delayMs?: number;
  /** What each operation fails with; undefined lets it through. */
  failure?: (operation: Operation, path: string) => ProviderError | undefined;
}

export interface MemoryKind extends ProviderKind<object, MemoryRef> {
  open(config: object, context: ProviderContext): Promise<RotatableStore<MemoryRef>>;
}

interface Version {
  readonly name: string;
  readonly value: Secret;
  readonly createdAt: Date;
  /** The rotation that has promoted it, which may ask again. */
  readonly promotedBy?: string;
}

interface Entry {
  /** Oldest first; the last is the current one. */
  versions: readonly Version[];
  candidate?: (CandidateMark & { readonly value: Secret }) | undefined;
  /** How many versions it has ever had, so that no name is given twice. */
  made: number;
}

/** A kind of its own contents: every provider that it opens sees the same entries. */
export function createMemoryKind(
  entries: Readonly<Record<string, string>> = {},
  behaviour: MemoryBehaviour = {},
): MemoryKind {
  const all = new Map<string, Entry>();
  for (const [path, value] of Object.entries(entries)) add(path, new Secret(value), 0);

  return {
    name: "memory",
    worksWithoutSettings: true,
    configSchema: z.strictObject({}),
    refSchema,
    async open(_config, { clock }) {
      /** Waits and fails as it was told; rejects at once when aborted. */
      async function begin(operation: Operation, path: string, signal: AbortSignal): Promise<void> {
        const { delayMs } = behaviour;
        signal.throwIfAborted();
        if (delayMs !== undefined) {
          await pause(clock, delayMs, signal);
        }
        const failure = operation === "fetch" ? undefined : behaviour.failure?.(operation, path);
        if (failure) throw failure;
      }

      return {
        async fetch(refs, signal) {
          await begin("fetch", "", signal);
          return new Map(refs.map((ref) => [ref, behaviour.failure?.("fetch", ref.path) ?? find(ref)]));
        },
        async currentVersion({ path }, signal) {
          await begin("currentVersion", path, signal);
          return current(path)?.name;
        },
        async peekVersion({ path, version }, signal) {
          await begin("peekVersion", path, signal);
          const found = find({ path, version });
          return found instanceof ProviderError ? undefined : found.version;
        },
        async put({ path }, value, signal, onlyIf) {
          await begin("put", path, signal);
          if (onlyIf) expectCurrent(path, onlyIf.version);
          return { version: add(path, value, clock.now()).name };
        },
        async remove({ path }, signal) {
          await begin("remove", path, signal);
          const isThere = current(path) !== undefined;
          if (isThere) entryAt(path).versions = [];
          return isThere;
        },
        async list(signal) {
          await begin("list", "", signal);
          return [...all].flatMap(([path, { versions }]) => {
            const last = versions.at(-1);
            return last ? [{ path, version: last.name, updatedAt: last.createdAt }] : [];
          });
        },
        async findCandidate({ path }, signal) {
          await begin("findCandidate", path, signal);
          const candidate = all.get(path)?.candidate;
          return candidate && markOf(candidate);
        },
        async putCandidate({ path }, value, mark, signal) {
          await begin("putCandidate", path, signal);
          const entry = entryAt(path);
          const present = entry.candidate;
          if (present && present.rotationId !== mark.rotationId) throw heldByAnother(present);
          if (present && !present.value.equals(value)) throw otherValue();
          entry.candidate = present ?? { ...mark, value };
          return markOf(entry.candidate);
        },
        async fetchCandidate({ path }, rotationId, signal) {
          await begin("fetchCandidate", path, signal);
          const candidate = candidateOf(path, rotationId);
          if (!candidate) throw noCandidate(path);
          return { value: candidate.value, createdAt: candidate.createdAt };
        },
        async promote({ path }, rotationId, planned, signal) {
          await begin("promote", path, signal);
          const candidate = candidateOf(path, rotationId);
          const live = current(path);
          if (!candidate && live?.promotedBy === rotationId) return { version: live.name };
          if (!candidate) throw noCandidate(path);
          expectCurrent(path, planned);
          entryAt(path).candidate = undefined;
          return { version: add(path, candidate.value, clock.now(), rotationId).name };
        },
        async discard({ path }, rotationId, signal) {
          await begin("discard", path, signal);
          const isThere = candidateOf(path, rotationId) !== undefined;
          if (isThere) entryAt(path).candidate = undefined;
          return isThere;
        },
        async restore({ path }, version, planned, signal) {
          await begin("restore", path, signal);
          expectCurrent(path, planned);
          const earlier = find({ path, version });
          if (earlier instanceof ProviderError) throw earlier;
          return { version: add(path, earlier.value, clock.now()).name };
        },
        async retire({ path }, version, signal) {
          await begin("retire", path, signal);
          if (current(path)?.name === version) {
            throw new ProviderError("invalid", `${version} is the current version of ${path}`);
          }
          const { versions } = entryAt(path);
          const others = versions.filter(({ name }) => name !== version);
          entryAt(path).versions = others;
          return others.length < versions.length;
        },
        async close() {
          // Nothing is held open.
        },
      };
    },
  };

  function entryAt(path: string): Entry {
    const entry = all.get(path) ?? { versions: [], made: 0 };
    all.set(path, entry);
    return entry;
  }

  function add(path: string, value: Secret, now: number, promotedBy?: string): Version {
    const entry = entryAt(path);
    entry.made++;
    const version = {
      name: `v${entry.made}`,
      value,
      createdAt: new Date(now),
      ...(promotedBy !== undefined && { promotedBy }),
    };
    entry.versions = [...entry.versions, version];
    return version;
  }

  function current(path: string): Version | undefined {
    return all.get(path)?.versions.at(-1);
  }

  function expectCurrent(path: string, planned: string | undefined): void {
    const live = current(path)?.name;
    if (live !== planned) throw changedMeanwhile(live, planned);
  }

  function candidateOf(path: string, rotationId: string) {
    const candidate = all.get(path)?.candidate;
    if (candidate && candidate.rotationId !== rotationId) throw heldByAnother(candidate);
    return candidate;
  }

  function find({ path, version }: MemoryRef) {
    const versions = all.get(path)?.versions ?? [];
    if (versions.length === 0) return new ProviderError("missing", `there is no entry ${path}`);
    const found = version === undefined ? versions.at(-1) : versions.find(({ name }) => name === version);
    if (!found) return new ProviderError("missing", `${path} has no version ${version}`);
    return { value: found.value, version: found.name, createdAt: found.createdAt };
  }
}

function markOf({ rotationId, operator, createdAt }: CandidateMark): CandidateMark {
  return { rotationId, operator, createdAt };
}

function otherValue(): ProviderError {
  return new ProviderError("conflict", "this rotation has put a candidate with another value already");
}

function noCandidate(path: string): ProviderError {
  return new ProviderError("missing", `${path} has no candidate`);
}
