/** Who we are on the bus: a secret like that of a backend, never given to a server, and hidden from every output. */
import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { McpRunError, systemErrorCode } from "../../errors.ts";
import type { FleetSettings } from "../../profile/profile.ts";
import type { NeedleSet } from "../../scrub/needle-set.ts";
import { RecordingEnvironment } from "../../secrets/environment-reader.ts";
import { ProviderPool } from "../../secrets/provider-pool.ts";
import { Secret } from "../../secrets/secret.ts";
import type { ProviderEntry, Ref } from "../../secrets/spec.ts";
import type { CommandContext } from "../context.ts";
import { providerContext } from "../start/provider-context.ts";

/** Ms that their backend may take. */
const FETCH_MS = 10_000;

/** Rejects with McpRunError, or with the signal's reason. */
export async function fetchFleetCredentials(
  context: CommandContext,
  providers: ReadonlyMap<string, ProviderEntry>,
  ref: Ref,
  needles: NeedleSet,
  signal: AbortSignal,
): Promise<Secret> {
  const environment = new RecordingEnvironment(context.env);
  const shared = providerContext(context, environment);
  const pool = new ProviderPool(context.kinds, providers, shared, { timeoutMs: FETCH_MS });
  try {
    return (await pool.read(ref, signal)).value;
  } finally {
    for (const { name, value } of pool.secretZero) needles.add(name, value);
    await pool.close();
  }
}

/** The whole, and of `user:password` the password alone: each is what somebody could get in with. */
export function hideFleetCredentials(credentials: Secret, needles: NeedleSet): void {
  needles.add("FLEET_CREDENTIALS", credentials);
  const text = credentials.reveal().trim();
  const colon = text.indexOf(":");
  if (colon > 0 && !text.includes("\n") && colon + 1 < text.length)
    needles.add("FLEET_CREDENTIALS", new Secret(text.slice(colon + 1)));
}

/** This machine's name on the bus. */
export function hostOf({ host }: FleetSettings): string {
  return host ?? hostname();
}

/** Of a PEM file. Throws McpRunError `profile-invalid`. */
export async function certificates(path: string): Promise<string> {
  const refuse = (state: string) =>
    new McpRunError("profile-invalid", `Cannot read ${path}: ${state}`, {
      hint: "a PEM file under `fleet: ca:`",
    });
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw refuse(systemErrorCode(error) ?? "unknown failure");
  });
  // Node takes any text, and then trusts nobody.
  if (!/-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----/.test(text))
    throw refuse("there is no certificate in it");
  return text;
}
