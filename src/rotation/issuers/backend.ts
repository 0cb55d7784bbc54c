/** Keys that their backend makes and replaces by itself: there is nothing to be minted here, and nobody else to ask. */
import type { Issuer } from "../contract.ts";

export const BACKEND_ISSUER: Issuer = {
  kind: "backend",
  mint: async ({ secret }) => {
    throw new Error(`the backend of ${secret} mints by itself`);
  },
  find: async () => undefined,
  revoke: async () => "unknown",
  verify: async () => "unknown",
};
