/** A backend that does what the test says: values, failures, delays on the test's clock, and a log of its calls. */
import * as z from "zod/mini";
import type { Clock } from "../../src/clock.ts";
import { ProviderError, type ProviderFailure } from "../../src/errors.ts";
import type {
  FetchedSecret,
  ProviderContext,
  ProviderKind,
  ProviderKinds,
} from "../../src/secrets/provider.ts";
import { Secret } from "../../src/secrets/secret.ts";

export interface Script {
  readonly name: string;
  readonly values?: Readonly<Record<string, string>>;
  /** Every ref fails this way. */
  readonly failure?: ProviderFailure;
  /** Ms on `clock` before the answer; Infinity never answers. */
  readonly delayMs?: number;
  readonly clock?: Clock;
  /** Refs that opening it needs (secret zero). */
  readonly needs?: readonly string[];
  readonly opensWith?: (secrets: readonly Secret[]) => void;
  readonly hangsOnClose?: boolean;
  readonly isRemote?: boolean;
  /** Stands for `values` and `failure`: the answer to one path, or a throw for all of them. */
  readonly respond?: (path: string) => FetchedSecret | ProviderError;
  /** Runs in `open`. */
  readonly opens?: (context: ProviderContext) => void;
}

export interface ScriptedBackend extends ProviderKind<object, { path: string }> {
  /** The paths of each fetch, in order. */
  readonly calls: string[][];
  closed: number;
}

export function scriptedBackend(script: Script): ScriptedBackend {
  const calls: string[][] = [];
  const backend: ScriptedBackend = {
    name: script.name,
    worksWithoutSettings: true,
    isRemote: script.isRemote ?? false,
    configSchema: z.object({}),
    refSchema: z.strictObject({ path: z.string(), version: z.optional(z.string()) }) as never,
    calls,
    closed: 0,
    async open(_config, context) {
      const signal = new AbortController().signal;
      const needed = await Promise.all((script.needs ?? []).map((ref) => context.resolveRef(ref, signal)));
      script.opensWith?.(needed);
      script.opens?.(context);
      return {
        async fetch(refs) {
          calls.push(refs.map(({ path }) => path));
          if (script.delayMs !== undefined) {
            await new Promise<void>((resolve) => void script.clock?.after(script.delayMs as number, resolve));
          }
          return new Map(refs.map((ref) => [ref, answer(script, ref.path)]));
        },
        async close() {
          backend.closed++;
          if (script.hangsOnClose) await new Promise(() => undefined);
        },
      };
    },
  };
  return backend;
}

function answer({ values, failure, respond }: Script, path: string): FetchedSecret | ProviderError {
  if (respond) return respond(path);
  if (failure) return new ProviderError(failure, `scripted ${failure}`);
  const value = values?.[path];
  return value === undefined
    ? new ProviderError("missing", `there is no ${path}`)
    : { value: new Secret(value), version: "1" };
}

export function kindsOf(...kinds: readonly { readonly name: string }[]): ProviderKinds {
  return {
    names: kinds.map(({ name }) => name),
    load: async (type) => kinds.find(({ name }) => name === type) as unknown as ProviderKind | undefined,
  };
}
