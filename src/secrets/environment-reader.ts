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

  get namesRead(): ReadonlySet<string> {
    return this.#read;
  }
}
