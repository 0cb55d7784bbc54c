/**
 * Which hosts there should be. Whoever could shorten the list could make a host that is silent go unnamed, so a file
 * is trusted as a profile file is.
 */
import { McpRunError } from "../errors.ts";
import { isHost } from "./compile-fleet.ts";
import type { Inventory } from "./profile.ts";
import type { ProfileRequest } from "./request.ts";
import { readTrustedFile } from "./trusted-file.ts";

/** Enough for some 200,000 hosts. */
const MOST_BYTES = 16 * 2 ** 20;

/** Each host once. Throws McpRunError: `profile-not-found` if the file is not there, else as for a profile file. */
export function readInventory(
  inventory: Inventory | undefined,
  trust: Pick<ProfileRequest, "platform" | "uid" | "gid">,
): readonly string[] {
  if (!inventory) return [];
  if (inventory.type === "hosts") return inventory.hosts;
  const { path } = inventory;
  const refuse = (code: "profile-not-found" | "profile-invalid", state: string, hint: string) =>
    new McpRunError(code, `Cannot read the inventory ${path}: ${state}`, { hint });
  const text = readTrustedFile(path, trust, MOST_BYTES);
  if (text === undefined)
    throw refuse("profile-not-found", "there is no such file", "another path under `fleet: inventory:`");
  const hosts = new Set<string>();
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const host = line.replace(/(?:^|\s)#.*$/, "").trim();
    if (host === "") continue;
    if (!isHost(host)) throw refuse("profile-invalid", `line ${index + 1} is no host`, "one host a line");
    hosts.add(host);
  }
  return [...hosts];
}
