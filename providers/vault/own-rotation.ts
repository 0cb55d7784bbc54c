/** Which keys Vault replaces by itself, and how: a static role in its place, everything that is lent lease by lease. */
import type { Clock } from "../../src/clock.ts";
import { ProviderError } from "../../src/errors.ts";
import type { OwnRotation } from "../../src/secrets/provider.ts";
import { placeIn } from "./engine.ts";
import { leasedKeys } from "./leased-keys.ts";
import type { Reader } from "./read-document.ts";
import type { VaultRef } from "./settings.ts";
import { staticRole } from "./static-role.ts";

/** Vault documentation, «Database secrets engine (API)» and «LDAP secrets engine (API)»: where static roles are read. */
const STATIC_ROLE = /^static-creds?\/(.+)$/;

/** Throws ProviderError, `invalid` for what nothing replaces by itself. */
export async function ownRotation(
  reader: Reader,
  ref: VaultRef,
  clock: Clock,
  signal: AbortSignal,
): Promise<OwnRotation> {
  const mount = await reader.mounts.of(ref.path, signal);
  const place = placeIn(mount, ref.path);
  if (mount.kind === "kv-1" || mount.kind === "kv-2") {
    throw new ProviderError("invalid", `${mount.path} is a KV store, which keeps keys and makes none`, {
      hint: "`rotate:` with `generate`, `hook` or `console` instead of `backend`",
    });
  }
  if (mount.kind === "unknown" || place.rest === "") {
    throw new ProviderError("invalid", `the server does not say which engine is at ${ref.path}`, {
      hint: `a policy with path "sys/internal/ui/mounts/${ref.path}" { capabilities = ["read"] }`,
    });
  }
  const role = STATIC_ROLE.exec(place.rest)?.[1];
  return role === undefined ? leasedKeys(reader, ref) : staticRole(reader, ref, place, role, clock);
}
