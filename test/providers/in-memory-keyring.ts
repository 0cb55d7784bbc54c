/** What the keychain's helper talks to in tests that Node alone must run: the native library's shape over a Map. */
import { answer, type KeyringLibrary } from "../../providers/keychain/answer.ts";
import type { HelperRequest } from "../../providers/keychain/protocol.ts";
import type { ProgramRequest, ProgramRunner } from "../../src/secrets/program.ts";

export interface InMemoryKeyring {
  readonly library: KeyringLibrary;
  /** Plays the helper program: the real helper's work, in this process. */
  readonly runProgram: ProgramRunner;
  /** What the provider has started, in order. */
  readonly requests: ProgramRequest[];
  /** What every call of the library throws, by its message; undefined lets it work. */
  failure: string | undefined;
  /** Entries that were made, that is questions that were put to the keychain. */
  readonly touched: string[];
}

export function inMemoryKeyring(entries: Readonly<Record<string, string>> = {}): InMemoryKeyring {
  const items = new Map(Object.entries(entries));
  const keyOf = (service: string, username: string) => `${service}\n${username}`;
  const keyring: InMemoryKeyring = {
    requests: [],
    touched: [],
    failure: undefined,
    library: {
      Entry: class {
        readonly #key: string;

        constructor(service: string, username: string, options: unknown) {
          if (JSON.stringify(options) !== '{"linux":{"store":"secret-service"}}') {
            throw new Error("an entry that could fall back to keyutils");
          }
          this.#key = keyOf(service, username);
          keyring.touched.push(`${service}/${username}`);
          if (keyring.failure) throw new Error(keyring.failure);
        }

        getPassword(): string | null {
          return items.get(this.#key) ?? null;
        }

        setPassword(password: string): void {
          items.set(this.#key, password);
        }

        deletePassword(): boolean {
          return items.delete(this.#key);
        }
      },
      findCredentials(service) {
        if (keyring.failure) throw new Error(keyring.failure);
        return [...items]
          .filter(([key]) => key.startsWith(`${service}\n`))
          .map(([key, password]) => ({ account: key.slice(service.length + 1), password }));
      },
    },
    async runProgram(request) {
      keyring.requests.push(request);
      await Promise.resolve();
      request.signal.throwIfAborted();
      const reply = answer(keyring.library, JSON.parse(request.input ?? "") as HelperRequest);
      return { type: "exited", exitCode: 0, stdout: Buffer.from(JSON.stringify(reply)), stderr: "" };
    },
  };
  return keyring;
}
