/**
 * Keys that an engine makes for each who asks, as the leases of one path. They are found by the server's list, since
 * most of them are in the hands of other processes, and ended one by one.
 */
import { ProviderError } from "../../src/errors.ts";
import type { LeasedKeys } from "../../src/secrets/provider.ts";
import { listNames } from "./engine.ts";
import { refusalError } from "./failure.ts";
import { apiPath } from "./path.ts";
import type { Reader } from "./read-document.ts";
import type { VaultRef } from "./settings.ts";

/** All of them stand in the plan. */
const MOST_LEASES = 10_000;

export function leasedKeys(reader: Reader, { path }: VaultRef): LeasedKeys {
  const { session } = reader;
  const lookup = `sys/leases/lookup/${path}`;
  return {
    mode: "vault-lease",
    place: reader.placeOf(apiPath(path)).place,
    async list(signal) {
      const names = await listNames(session, lookup, signal).catch((error: unknown) => {
        throw isDenied(error) ? mayNotList(lookup) : error;
      });
      // What lies below is another path's.
      const ids = (names ?? []).filter((name) => !name.endsWith("/")).map((name) => `${path}/${name}`);
      if (ids.length <= MOST_LEASES) return ids;
      throw new ProviderError("invalid", `there are ${ids.length} leases, too many to be ended one by one`, {
        hint: "a shorter default_ttl of the role, and again when there are fewer",
      });
    },
    async revoke(id, signal) {
      const answer = await session.send(
        {
          does: "write",
          path: "sys/leases/revoke",
          // Otherwise the server only notes that it is to be revoked.
          body: { lease_id: id, sync: true },
          isRepeatable: true,
        },
        signal,
      );
      if (answer.status === 200 || answer.status === 204) return;
      throw refusalError(answer, { path: "sys/leases/revoke", capability: "update" }, session.url);
    },
  };
}

function isDenied(error: unknown): boolean {
  return error instanceof ProviderError && error.failure === "denied";
}

/** Vault documentation, «/sys/leases»: to list leases takes `sudo` besides. */
function mayNotList(path: string): ProviderError {
  return new ProviderError("denied", `permission denied (403) to list ${path}`, {
    hint: `a policy with path "${path}" { capabilities = ["list", "sudo"] }`,
  });
}
