/**
 * A ProviderContext for tests: nothing of the process gets in, what a provider says is kept in `events`,
 * there is no keychain unless one is handed in, and programs can't be run unless a runner is handed in.
 */
import { systemClock } from "../../src/clock.ts";
import { quotable } from "../../src/commands/quotable.ts";
import { ProviderError } from "../../src/errors.ts";
import type { McpRunEvent } from "../../src/events.ts";
import { mcpRunPaths } from "../../src/paths.ts";
import { RecordingEnvironment } from "../../src/secrets/environment-reader.ts";
import type {
  EnvironmentReader,
  FetchedSecret,
  KeychainItem,
  ProviderContext,
  SecretStore,
} from "../../src/secrets/provider.ts";
import { Secret } from "../../src/secrets/secret.ts";

export interface TestContextOverrides extends Partial<Omit<ProviderContext, "env" | "keychain">> {
  /** The directory that `paths` derives from; a provider that touches files needs it. */
  readonly home?: string;
  /** The whole environment that the provider sees. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** What `resolveRef` knows: ref text to value. */
  readonly refs?: Readonly<Record<string, string>>;
  /** The keychain of this machine; without it the machine has none. */
  readonly keychain?: SecretStore<KeychainItem>;
}

export interface TestContext extends ProviderContext {
  /** Everything that was emitted, in order. */
  readonly events: McpRunEvent[];
  /** What the provider said of its credential, in order. */
  readonly credentials: string[];
}

export function testContext(overrides: TestContextOverrides = {}): TestContext {
  const { home = "/nonexistent/mcp-run-test", env = {}, refs = {}, keychain, ...rest } = overrides;
  const events: McpRunEvent[] = [];
  const credentials: string[] = [];
  return {
    name: "local",
    env: testEnvironment(env),
    paths: mcpRunPaths({ MCP_RUN_HOME: home }, "linux", home),
    platform: process.platform,
    uid: process.getuid?.(),
    loginName: () => "tester",
    keychainHelper: ["/nonexistent/keychain-helper"],
    clock: systemClock,
    emit: (event) => events.push(event),
    runProgram: () => Promise.reject(new Error("this test context has no program runner")),
    async resolveRef(ref) {
      const value = refs[ref];
      if (value === undefined) throw new ProviderError("missing", `no such ref in this test: ${ref}`);
      return new Secret(value);
    },
    keychain: async () => keychain,
    quotable,
    credentialIs: (text) => void credentials.push(text),
    ...rest,
    events,
    credentials,
  };
}

/** An environment of its own that remembers which names were read. */
export function testEnvironment(values: Readonly<Record<string, string | undefined>>): EnvironmentReader {
  return new RecordingEnvironment(values);
}

export interface InMemoryKeychain extends SecretStore<KeychainItem> {
  /** The stored items by path; a test may look into it and change it. */
  readonly items: Map<string, string>;
}

/** A keychain that lives as long as the test. */
export function inMemoryKeychain(initial: Readonly<Record<string, string>> = {}): InMemoryKeychain {
  const items = new Map(Object.entries(initial));
  return {
    items,
    async fetch(refs) {
      const answer = new Map<KeychainItem, FetchedSecret | ProviderError>();
      for (const ref of refs) {
        const value = items.get(ref.path);
        answer.set(
          ref,
          value === undefined
            ? new ProviderError("missing", `no keychain item ${ref.path}`)
            : { value: new Secret(value) },
        );
      }
      return answer;
    },
    async put(ref, value) {
      items.set(ref.path, value.reveal());
      return {};
    },
    async remove(ref) {
      return items.delete(ref.path);
    },
    async list() {
      return [...items.keys()].map((path) => ({ path }));
    },
    async close() {
      // Nothing is held open.
    },
  };
}
