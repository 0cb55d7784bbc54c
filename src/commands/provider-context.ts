/** What the backends get of this process. */
import type { EnvironmentReader, KeychainItem, SecretStore } from "../secrets/provider.ts";
import { isSecretStore } from "../secrets/provider.ts";
import type { SharedContext } from "../secrets/provider-pool.ts";
import type { CommandContext } from "./context.ts";

export function providerContext(context: CommandContext, env: EnvironmentReader): SharedContext {
  const { paths, platform, uid, clock } = context;
  let keychain: Promise<SecretStore<KeychainItem> | undefined> | undefined;
  const shared: SharedContext = {
    env,
    paths,
    platform,
    uid,
    clock,
    get loginName() {
      return context.loginName();
    },
    emit: context.printer.emit,
    runProgram: async (request) => (await import("../secrets/run-program.ts")).runProgram(request),
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
    resolveRef: () => Promise.reject(new Error("the keychain needs no other secret")),
  });
  return isSecretStore<KeychainItem>(provider as never)
    ? (provider as unknown as SecretStore<KeychainItem>)
    : undefined;
}
