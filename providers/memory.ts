/**
 * A complete store that lives as long as its kind: what tests use that are not about a backend, and the
 * shortest example of one. A test can make it slow or let it fail.
 */
import * as z from "zod/mini";
import { untilAborted } from "../src/clock.ts";
import { ProviderError } from "../src/errors.ts";
import type { ProviderContext, ProviderKind, SecretStore } from "../src/secrets/provider.ts";
import { Secret } from "../src/secrets/secret.ts";

const refSchema = z.strictObject({
  path: z.string().check(z.minLength(1)),
  version: z.optional(z.string()),
});

type MemoryRef = z.infer<typeof refSchema>;

/** May be changed at any time; the next operation follows it. */
export interface MemoryBehaviour {
  /** Ms by the context's clock before each operation. */
  delayMs?: number;
  /** What each operation fails with; undefined lets it through. */
  failure?: (operation: "fetch" | "put" | "remove" | "list", path: string) => ProviderError | undefined;
}

export interface MemoryKind extends ProviderKind<object, MemoryRef> {
  open(config: object, context: ProviderContext): Promise<SecretStore<MemoryRef>>;
}

interface Version {
  readonly name: string;
  readonly value: Secret;
  readonly createdAt: Date;
}

/** A kind of its own contents: every provider that it opens sees the same entries. */
export function createMemoryKind(
  entries: Readonly<Record<string, string>> = {},
  behaviour: MemoryBehaviour = {},
): MemoryKind {
  const versions = new Map<string, Version[]>();
  for (const [path, value] of Object.entries(entries)) add(path, new Secret(value), 0);

  function add(path: string, value: Secret, now: number): Version {
    const known = versions.get(path) ?? [];
    const version = { name: `v${known.length + 1}`, value, createdAt: new Date(now) };
    versions.set(path, [...known, version]);
    return version;
  }

  return {
    name: "memory",
    worksWithoutSettings: true,
    configSchema: z.strictObject({}),
    refSchema,
    async open(_config, { clock }) {
      /** Waits as it was told; rejects at once when aborted. */
      async function pause(signal: AbortSignal): Promise<void> {
        const { delayMs } = behaviour;
        signal.throwIfAborted();
        if (delayMs === undefined) return;
        await untilAborted(signal, new Promise<void>((resolve) => clock.after(delayMs, resolve)));
      }

      return {
        async fetch(refs, signal) {
          await pause(signal);
          return new Map(refs.map((ref) => [ref, behaviour.failure?.("fetch", ref.path) ?? find(ref)]));
        },
        async put({ path }, value, signal) {
          await pause(signal);
          throwFailure("put", path);
          return { version: add(path, value, clock.now()).name };
        },
        async remove({ path }, signal) {
          await pause(signal);
          throwFailure("remove", path);
          return versions.delete(path);
        },
        async list(signal) {
          await pause(signal);
          throwFailure("list", "");
          return [...versions].flatMap(([path, known]) => {
            const last = known.at(-1);
            return last ? [{ path, version: last.name, updatedAt: last.createdAt }] : [];
          });
        },
        async close() {
          // Nothing is held open.
        },
      };
    },
  };

  function find({ path, version }: MemoryRef) {
    const known = versions.get(path);
    if (!known) return new ProviderError("missing", `there is no entry ${path}`);
    const found = version === undefined ? known.at(-1) : known.find(({ name }) => name === version);
    if (!found) return new ProviderError("missing", `${path} has no version ${version}`);
    return { value: found.value, version: found.name, createdAt: found.createdAt };
  }

  function throwFailure(operation: "put" | "remove" | "list", path: string): void {
    const failure = behaviour.failure?.(operation, path);
    if (failure) throw failure;
  }
}
