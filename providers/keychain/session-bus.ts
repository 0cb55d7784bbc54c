/** Finds the D-Bus session bus although an MCP client has stripped the variables that lead to it. */
import { stat } from "node:fs/promises";
import { join } from "node:path/posix";

/**
 * The address in DBUS_SESSION_BUS_ADDRESS, else that of the socket `bus` in XDG_RUNTIME_DIR or in
 * /run/user/UID (the places of dbus-daemon's user session); undefined if there is none.
 */
export async function sessionBusAddress(
  env: Readonly<Record<string, string>>,
  uid: number | undefined,
): Promise<string | undefined> {
  if (env.DBUS_SESSION_BUS_ADDRESS) return env.DBUS_SESSION_BUS_ADDRESS;
  const folders = [env.XDG_RUNTIME_DIR, uid === undefined ? undefined : `/run/user/${uid}`];
  for (const folder of folders) {
    if (!folder) continue;
    const socket = join(folder, "bus");
    const stats = await stat(socket).catch(() => undefined);
    if (stats?.isSocket()) return `unix:path=${escapedValue(socket)}`;
  }
  return undefined;
}

/** D-Bus specification, «Server Addresses»: other bytes than these are written %xx. */
function escapedValue(value: string): string {
  return [...Buffer.from(value)]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      return /[-0-9A-Za-z_/.\\*]/.test(character) ? character : `%${byte.toString(16).padStart(2, "0")}`;
    })
    .join("");
}
