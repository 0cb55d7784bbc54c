/** What the keychain's helper talks to in tests that Node alone must run: the native library's shape over a Map. */
import { answer, type KeyringLibrary } from "../../providers/keychain/answer.ts";
import type { HelperRequest } from "../../providers/keychain/protocol.ts";
import type { ProgramRequest, ProgramRunner } from "../../src/secrets/program.ts";

export interface InMemoryKeyring {
  readonly library: KeyringLibrary;
  /** What lies in it: `SERVICE\nACCOUNT` to value. */
  readonly items: Map<string, string>;
  /** Plays the helper program: the real helper's work, in this process. */
  readonly runProgram: ProgramRunner;
  /** Windows: what other programs have stored, by target name. */
  readonly credentials: Map<string, { account: string; password: string }>;
  /** What the provider has started, in order. */
  readonly requests: ProgramRequest[];
  /** What every call of the library throws, by its message; undefined lets it work. */
  failure: string | undefined;
  /** How many more writes there are before the helper dies, as of a power cut; undefined for no end. */
  writesLeft: number | undefined;
  /** Entries that were made, that is questions that were put to the keychain. */
  readonly touched: string[];
}

export function inMemoryKeyring(entries: Readonly<Record<string, string>> = {}): InMemoryKeyring {
  const items = new Map(Object.entries(entries));
  const keyOf = (service: string, username: string) => `${service}\n${username}`;
  const beforeWrite = () => {
    if (keyring.writesLeft === undefined) return;
    if (keyring.writesLeft === 0) throw new Error("the power is cut");
    keyring.writesLeft--;
  };
  const keyring: InMemoryKeyring = {
    items,
    credentials: new Map(),
    requests: [],
    touched: [],
    failure: undefined,
    writesLeft: undefined,
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
          beforeWrite();
          items.set(this.#key, password);
        }

        deletePassword(): boolean {
          beforeWrite();
          return items.delete(this.#key);
        }
      },
      findCredentials(service, target) {
        if (keyring.failure) throw new Error(keyring.failure);
        const found = [...items].map(([key, password]) => {
          const [itemService, account = ""] = key.split("\n");
          return { itemService, account, password };
        });
        if (target === undefined) return found.filter(({ itemService }) => itemService === service);
        // The library then looks for the target alone, which for an entry of its own is ACCOUNT.SERVICE.
        const own = found.filter(({ itemService, account }) => `${account}.${itemService}` === target);
        const other = keyring.credentials.get(target);
        return other ? [...own, other] : own;
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
