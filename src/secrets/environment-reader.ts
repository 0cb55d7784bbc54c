import type { EnvironmentReader } from "./provider.ts";

/** Reads an environment and remembers which variables were looked up, so that the child does not inherit them. */
export class RecordingEnvironment implements EnvironmentReader {
  readonly #env: Readonly<Record<string, string | undefined>>;
  readonly #read = new Set<string>();

  constructor(env: Readonly<Record<string, string | undefined>>) {
    this.#env = env;
  }

  get(name: string): string | undefined {
    this.#read.add(name);
    return this.#env[name];
  }

  place(name: string): string | undefined {
    return this.#env[name];
  }

  all(): Readonly<Record<string, string>> {
    return Object.fromEntries(
      Object.entries(this.#env).filter((entry): entry is [string, string] => entry[1] !== undefined),
    );
  }

  get namesRead(): ReadonlySet<string> {
    return this.#read;
  }
}
