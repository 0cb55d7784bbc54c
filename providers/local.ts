/**
 * `local`: the embedded store, one file encrypted in the age format. Works without settings; the parts are in
 * local/, the guide is docs/providers/local.md.
 */
import * as z from "zod/mini";
import type { ProviderKind } from "../src/secrets/provider.ts";
import type { LocalSettings } from "./local/places.ts";
import { type LocalRef, LocalStore } from "./local/store.ts";

const MAX_NAME_LENGTH = 256;
const NAME = /^[\w.@:+=,~-]+(\/[\w.@:+=,~-]+)*$/;
const ABSOLUTE_PATH = /^(~\/|\/|[A-Za-z]:[\\/])/;

const pathSetting = z
  .string()
  .check(z.regex(ABSOLUTE_PATH, "write an absolute path, or one that begins with ~/"));

const configSchema: ProviderKind<LocalSettings>["configSchema"] = z
  .strictObject({
    file: z.optional(pathSetting),
    identity: z.optional(
      z
        .string()
        .check(
          z.regex(
            /^(auto|file|keychain|[A-Za-z][\w-]*:.+)$/,
            "write auto, file, keychain, or a ref such as env:NAME",
          ),
        ),
    ),
    recipients: z.optional(pathSetting),
    passphrase: z.optional(z.string().check(z.regex(/^[A-Za-z][\w-]*:.+$/, "write a ref, such as env:NAME"))),
  })
  .check(
    z.refine(
      ({ passphrase, identity, recipients }) =>
        passphrase === undefined || (identity === undefined && recipients === undefined),
      "passphrase: can't stand beside identity: or recipients:, since such a store has no keys",
    ),
  );

const refSchema: ProviderKind<LocalSettings, LocalRef>["refSchema"] = z.strictObject({
  path: z
    .string()
    .check(
      z.maxLength(MAX_NAME_LENGTH, `a name in the store has at most ${MAX_NAME_LENGTH} characters`),
      z.regex(
        NAME,
        "a name in the store is made of letters, digits and . _ - @ : + = , ~ with single / between",
      ),
    ),
  version: z.optional(z.string()),
});

export const localKind: ProviderKind<LocalSettings, LocalRef> = {
  name: "local",
  worksWithoutSettings: true,
  // Its identity may be in a keychain that somebody has to unlock.
  patienceMs: 55_000,
  configSchema,
  refSchema,
  open: async (settings, context) => new LocalStore(settings, context),
};
