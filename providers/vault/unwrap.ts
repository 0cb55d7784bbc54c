/**
 * A wrapped secret-id: a token that gives the real one once. If it is used up, somebody else may have it; so it is
 * looked at first (which may be repeated), unwrapped once in the life of the process, and never tried again after that.
 */
import { createHash } from "node:crypto";
import { ProviderError } from "../../src/errors.ts";
import { Secret } from "../../src/secrets/secret.ts";
import type { VaultClient } from "./client.ts";
import { type Answer, isRecord } from "./exchange.ts";
import { noAnswerError, refusalError } from "./failure.ts";

export interface Wrapped {
  readonly wrapping: Secret;
  /** The auth method's mount: the secret-id must have been made there. */
  readonly mount: string;
}

/** What this process has unwrapped, or failed to: each refresh of the secrets is another login with it. */
const unwrapped = new Map<string, Promise<Secret>>();

/** Makes the function that unwraps; later calls get the same secret-id, or the same failure, from any client. */
export function unwrapper(client: VaultClient): (wrapped: Wrapped, signal: AbortSignal) => Promise<Secret> {
  return async (wrapped, signal) => {
    const key = keyOf(wrapped, client.url);
    if (!unwrapped.has(key)) await lookAt(wrapped, client, signal);
    // Two logins at once may have come this far.
    const secretId = unwrapped.get(key) ?? unwrap(wrapped, client, signal);
    unwrapped.set(key, secretId);
    return secretId;
  };
}

function keyOf({ wrapping, mount }: Wrapped, url: string): string {
  return createHash("sha256")
    .update(JSON.stringify([url, mount, wrapping.reveal()]))
    .digest("hex");
}

async function lookAt({ wrapping, mount }: Wrapped, client: VaultClient, signal: AbortSignal): Promise<void> {
  const outcome = await client.send(
    { does: "write", path: "sys/wrapping/lookup", body: { token: wrapping.reveal() }, isRepeatable: true },
    wrapping,
    signal,
  );
  if (outcome.type === "no-answer") throw noAnswerError(outcome, client.url);
  if (isUsedUp(outcome)) throw securityEvent(`it is not valid any more (${outcome.status})`);
  const data = outcome.json?.data;
  if (outcome.status !== 200 || !isRecord(data)) {
    throw refusalError(outcome, { path: "sys/wrapping/lookup", capability: "update" }, client.url);
  }
  const from = data.creation_path;
  const prefix = `auth/${mount}/role/`;
  const isOfRole = typeof from === "string" && from.startsWith(prefix) && /\/(custom-)?secret-id$/.test(from);
  if (!isOfRole) throw securityEvent(`it was not made at ${prefix}…/secret-id, so somebody else made it`);
}

async function unwrap({ wrapping }: Wrapped, client: VaultClient, signal: AbortSignal): Promise<Secret> {
  let outcome: Awaited<ReturnType<VaultClient["send"]>>;
  try {
    outcome = await client.send({ does: "write", path: "sys/wrapping/unwrap" }, wrapping, signal);
  } catch {
    // The signal was aborted, and it may have been unwrapped all the same.
    throw securityEvent("the answer was not waited for, so it may be used up");
  }
  if (outcome.type === "no-answer")
    throw securityEvent(`no answer came (${outcome.code}), so it may be used up`);
  const data = outcome.json?.data;
  if (outcome.status === 200 && isRecord(data) && typeof data.secret_id === "string") {
    return new Secret(data.secret_id);
  }
  throw securityEvent(`unwrapping it failed (${outcome.status})`);
}

function isUsedUp({ status, json }: Answer): boolean {
  return status === 403 || (status === 400 && json !== undefined);
}

function securityEvent(what: string): ProviderError {
  return new ProviderError("denied", `security event: the wrapped secret-id is lost: ${what}`, {
    hint: "finding out who else could unwrap it (the audit log), and a new one; this one is not tried again",
  });
}
