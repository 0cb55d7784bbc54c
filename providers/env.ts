/**
 * `env:NAME`: a secret that was in mcp-run's own environment to begin with (CI systems). The server gets it
 * under the name of the secret; NAME itself is taken out of what the server inherits.
 */
import * as z from "zod/mini";
import { ProviderError } from "../src/errors.ts";
import type { FetchedSecret, ProviderKind } from "../src/secrets/provider.ts";
import { Secret } from "../src/secrets/secret.ts";

const refSchema = z.strictObject({
  path: z.string().check(z.refine((name) => /^[^=\0]+$/.test(name), "a variable's name has no = in it")),
});

type EnvRef = z.infer<typeof refSchema>;

export const envKind: ProviderKind<object, EnvRef> = {
  name: "env",
  worksWithoutSettings: true,
  configSchema: z.strictObject({}),
  refSchema,
  async open(_config, { env }) {
    return {
      async fetch(refs, signal) {
        signal.throwIfAborted();
        return new Map(refs.map((ref) => [ref, read(ref)]));
      },
      async close() {
        // Nothing is held open.
      },
    };

    function read({ path }: EnvRef): FetchedSecret | ProviderError {
      const value = env.get(path);
      if (value) return { value: new Secret(value) };
      return new ProviderError("missing", `${path} is ${value === "" ? "empty" : "not set"} here`, {
        hint: `setting ${path} where mcp-run is started: in the CI job, or under "env" in the client's own config`,
      });
    }
  },
};
