/** The environment of the programs that talk to the keychain: what leads to it, and no credentials. */
import { ProviderError } from "../../src/errors.ts";
import type { ProviderContext } from "../../src/secrets/provider.ts";
import { sessionBusAddress } from "./session-bus.ts";
import { troubleError } from "./trouble.ts";

const PASSED_ON = new Set([
  ..."HOME USER LOGNAME PATH LANG XDG_RUNTIME_DIR SECURITYSESSIONID __CF_USER_TEXT_ENCODING".split(" "),
  ..."SYSTEMROOT APPDATA LOCALAPPDATA USERPROFILE USERNAME USERDOMAIN TEMP".split(" "),
]);

/** True where the keychain is the Secret Service, which is reached over D-Bus. */
export function needsSessionBus(platform: NodeJS.Platform): boolean {
  return platform !== "darwin" && platform !== "win32";
}

/** Throws ProviderError where there can be no keychain. */
export async function helperEnvironment({
  env,
  uid,
  platform,
}: ProviderContext): Promise<Readonly<Record<string, string>>> {
  if (env.get("MCP_RUN_KEYCHAIN") === "off") {
    throw new ProviderError("unavailable", "the keychain is switched off by MCP_RUN_KEYCHAIN=off", {
      hint: "without that variable, or the embedded store: mcp-run secrets set local:NAME",
    });
  }
  const all = env.all();
  const passedOn = Object.fromEntries(
    Object.entries(all).filter(([name]) => PASSED_ON.has(platform === "win32" ? name.toUpperCase() : name)),
  );
  if (!needsSessionBus(platform)) return passedOn;
  const address = await sessionBusAddress(all, uid);
  if (address === undefined) {
    throw troubleError({ trouble: "absent", detail: "there is no D-Bus session bus" });
  }
  return { ...passedOn, DBUS_SESSION_BUS_ADDRESS: address };
}
