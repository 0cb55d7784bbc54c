/**
 * `keychain:SERVICE[/ACCOUNT]`: the OS keychain (Secret Service, macOS Keychain, Windows Credential Manager).
 * The native library runs in a helper process, so that an unlock dialog nobody answers can be given up. Items
 * are the same that the platform's own tools write and read.
 */
import * as z from "zod/mini";
import type { ProviderContext, ProviderKind } from "../src/secrets/provider.ts";
import { UNLOCK_MS } from "./keychain/ask-helper.ts";
import { parseItemPath } from "./keychain/item-path.ts";
import { type KeychainRef, OsKeychain } from "./keychain/os-keychain.ts";
import { isReserved } from "./keychain/side-items.ts";

const OUR_OWN = "names that begin with «mcp-run » are those of mcp-run's own items";

const name = z.string().check(z.minLength(1), z.regex(/^[^\0]*$/));

const refSchema: ProviderKind<object, KeychainRef>["refSchema"] = z
  .strictObject({
    path: z.string().check(
      z.refine(
        (path) => parseItemPath(path) !== undefined,
        "write keychain:SERVICE or keychain:SERVICE/ACCOUNT",
      ),
      z.refine((path) => !isReserved(parseItemPath(path)?.service ?? ""), OUR_OWN),
    ),
    version: z.optional(z.string()),
    attributes: z.optional(
      z.record(name, name).check(
        z.refine((attributes) => Object.keys(attributes).length > 0, "attributes: names at least one"),
        z.refine((attributes) => !Object.values(attributes).some(isReserved), OUR_OWN),
      ),
    ),
    target: z.optional(name.check(z.refine((target) => !isReserved(target), OUR_OWN))),
  })
  .check(
    z.refine(
      ({ version, attributes, target }) => version === undefined || (!attributes && target === undefined),
      "version: can't stand beside attributes: or target:, since an item of another program has only one",
    ),
  );

export interface KeychainKind extends ProviderKind<object, KeychainRef> {
  open(config: object, context: ProviderContext): Promise<OsKeychain>;
}

export const keychainKind: KeychainKind = {
  name: "keychain",
  worksWithoutSettings: true,
  // Longer than the wait for an unlock, whose own words say more.
  patienceMs: UNLOCK_MS + 5_000,
  configSchema: z.strictObject({}),
  refSchema,
  open: async (_config, context) => new OsKeychain(context),
};
