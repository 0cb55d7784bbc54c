/**
 * A static role of the database or the LDAP engine: one account whose password Vault sets anew, on its schedule and
 * whenever it is told to. The account has one password, so the old one is refused from that moment on.
 */
import { type Clock, pause } from "../../src/clock.ts";
import { ProviderError } from "../../src/errors.ts";
import { changedMeanwhile, type FetchedSecret, type LiveRotation } from "../../src/secrets/provider.ts";
import type { Place } from "./engine.ts";
import { refusalError } from "./failure.ts";
import { apiPath } from "./path.ts";
import { type Reader, readDocument } from "./read-document.ts";
import type { VaultRef } from "./settings.ts";

/** Ms between looks at a server that may still answer with what was before, as a standby does. */
const PAUSES_MS = [200, 500, 1_000, 2_000, 4_000];

export function staticRole(
  reader: Reader,
  ref: VaultRef,
  { mount }: Place,
  role: string,
  clock: Clock,
): LiveRotation {
  const { session } = reader;
  const path = apiPath(mount.path, "rotate-role", role);
  const read = async (signal: AbortSignal) => withVersion(await readDocument(reader, ref, signal));
  return {
    mode: "vault-static-role",
    read,
    async rotate(_rotationId, planned, signal) {
      const before = (await read(signal)).version;
      if (before !== planned) throw changedMeanwhile(before, planned);
      // Never sent twice: each time it is another password.
      const answer = await session.send({ does: "write", path, body: {} }, signal);
      if (answer.status !== 200 && answer.status !== 204) {
        throw refusalError(
          answer,
          { path: `${mount.path}rotate-role/${role}`, capability: "update" },
          session.url,
        );
      }
      for (const ms of [...PAUSES_MS, undefined]) {
        const { version } = await read(signal).catch(unsure);
        if (version !== planned) return { version };
        if (ms !== undefined) await pause(clock, ms, signal);
      }
      throw new ProviderError("unavailable", `${mount.path} has replaced it, and still gives the old one`, {
        hint: "again in a minute; a standby may be behind",
      });
    },
  };
}

/** The time of the last rotation names the version: `last_vault_rotation` in the answer of both engines. */
function withVersion(found: FetchedSecret): FetchedSecret & { readonly version: string } {
  const { last_vault_rotation: version } = JSON.parse(found.value.reveal()) as Record<string, unknown>;
  if (typeof version === "string" && version.length <= 64 && !Number.isNaN(Date.parse(version)))
    return { ...found, version, createdAt: new Date(version) };
  throw new ProviderError("invalid", "its answer does not say when it was rotated last", {
    hint: "a static role of the database or the LDAP engine",
  });
}

/** It has been replaced by then: no failure may say that nothing was changed. */
function unsure(error: unknown): never {
  if (!(error instanceof ProviderError)) throw error;
  throw new ProviderError("unavailable", error.reason, {
    ...(error.hint !== undefined && { hint: error.hint }),
  });
}
