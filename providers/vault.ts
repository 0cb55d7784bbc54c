/** `vault`: under construction. */
import * as z from "zod/mini";
import { ProviderError } from "../src/errors.ts";
import type { ProviderKind } from "../src/secrets/provider.ts";

export const vaultKind: ProviderKind<object, { path: string }> = {
  name: "vault",
  worksWithoutSettings: false,
  isRemote: true,
  configSchema: z.looseObject({}),
  refSchema: z.strictObject({ path: z.string() }),
  async open() {
    throw new ProviderError("invalid", "this backend is not built yet");
  },
};
