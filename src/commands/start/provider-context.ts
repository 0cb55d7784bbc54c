/** What the backends get of this process. */

import { dirname, join } from "node:path";
import {
  type EnvironmentReader,
  isKeychain,
  type KeychainItem,
  type SecretStore,
} from "../../secrets/provider.ts";
import type { SharedContext } from "../../secrets/provider-pool.ts";
import type { CommandContext } from "../context.ts";
import { quotable } from "../quotable.ts";

/** How long a machine may take to say whether it has a keychain at all. */
const USABLE_MS = 5_000;

export function providerContext(context: CommandContext, env: EnvironmentReader): SharedContext {
  const { paths, platform, uid, clock } = context;
  let keychain: Promise<SecretStore<KeychainItem> | undefined> | undefined;
  const shared: SharedContext = {
    env,
    paths,
    platform,
    uid,
    clock,
    keychainHelper: [context.nodePath, join(dirname(context.scriptPath), "keychain-helper.cjs")],
    loginName: context.loginName,
    emit: context.printer.emit,
    quotable,
    runProgram: async (request) => (await import("../../secrets/run-program.ts")).runProgram(request),
    keychain() {
      keychain ??= openKeychain(context, shared);
      return keychain;
    },
  };
  return shared;
}

async function openKeychain(
  context: CommandContext,
  shared: SharedContext,
): Promise<SecretStore<KeychainItem> | undefined> {
  const kind = await context.kinds.load("keychain");
  if (!kind) return undefined;
  const provider = await kind.open(kind.configSchema.parse({}), {
    ...shared,
    name: "keychain",
    credentialIs: () => undefined,
    resolveRef: () => Promise.reject(new Error("the keychain needs no other secret")),
  });
  if (!isKeychain(provider)) throw new Error("the keychain provider is no keychain");
  return (await provider.isUsable(AbortSignal.timeout(USABLE_MS))) ? provider : undefined;
}
