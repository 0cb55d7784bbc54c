/** A store in a home of its own, with everything that a test may want to look at. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { placesOf } from "../../../providers/local/places.ts";
import { type LocalRef, LocalStore } from "../../../providers/local/store.ts";
import { localKind } from "../../../providers/local.ts";
import { ProviderError } from "../../../src/errors.ts";
import type { FetchedSecret } from "../../../src/secrets/provider.ts";
import { Secret } from "../../../src/secrets/secret.ts";
import { type TestContextOverrides, testContext } from "../../helpers/provider-context.ts";

export const signal = new AbortController().signal;

/** A fresh directory that goes away with the test. */
export async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "mcp-run-local-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

export interface OpenOptions extends TestContextOverrides {
  readonly settings?: unknown;
}

export async function openStore({ settings = {}, ...overrides }: OpenOptions = {}) {
  const home = overrides.home ?? (await temporaryDirectory());
  const context = testContext({ ...overrides, home });
  const config = localKind.configSchema.parse(settings);
  const store = await localKind.open(config, context);
  if (!(store instanceof LocalStore)) throw new Error("the kind opened something else");
  return { home, store, context, events: context.events, places: placesOf(config, context) };
}

/** Stores one value and returns its version. */
export async function put(store: LocalStore, path: string, value: string): Promise<string> {
  return (await store.put({ path }, new Secret(value), signal)).version;
}

/** What the store answers for one ref. */
export async function get(store: LocalStore, path: string, version?: string) {
  const ref: LocalRef = { path, ...(version !== undefined && { version }) };
  const answer = (await store.fetch([ref], signal)).get(ref);
  if (!answer) throw new Error("the store did not answer for the ref");
  return answer;
}

/** The plain value of an entry; fails the test if the store does not deliver it. */
export async function read(store: LocalStore, path: string, version?: string): Promise<string> {
  return revealed(await get(store, path, version));
}

export function revealed(answer: FetchedSecret | ProviderError): string {
  if (answer instanceof ProviderError) throw answer;
  return answer.value.reveal();
}

/** The ProviderError that `work` ends with. */
export async function refusalOf(work: Promise<unknown>): Promise<ProviderError> {
  const outcome = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (outcome instanceof ProviderError) return outcome;
  throw new Error("it was not refused with a ProviderError", { cause: outcome });
}
