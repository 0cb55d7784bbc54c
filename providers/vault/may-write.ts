/**
 * Whether the server will let a rotation write, asked while nothing is made yet: a key that is minted and can't be kept
 * would have to be revoked again. It is only asked what the token may do; a server that does not say is no obstacle.
 */
import { ProviderError } from "../../src/errors.ts";
import { readVersion } from "./engine.ts";
import { type Answer, isRecord } from "./exchange.ts";
import type { Reader } from "./read-document.ts";
import { besidePlace, readSide, rotatablePlace } from "./rotate-document.ts";
import type { VaultRef } from "./settings.ts";

interface Needed {
  /** As a policy names it. */
  readonly path: string;
  readonly capability: "create" | "update" | "delete";
  /** A line for this path alone stands before one with a `*`, so it has to name all that is needed there. */
  readonly line: readonly string[];
}

const DATA = ["create", "read", "update"];

/** Throws ProviderError, `denied` where a right is certainly missing without which nothing can be replaced. */
export async function mustBeWritable(reader: Reader, ref: VaultRef, signal: AbortSignal): Promise<void> {
  const place = await rotatablePlace(reader, ref, signal);
  const { mount, rest } = place;
  const beside = besidePlace(place).rest;
  const [present, { entry, cas }] = await Promise.all([
    readVersion(reader.session, place, undefined, signal),
    readSide(reader, place, signal),
  ]);
  const needed: readonly Needed[] = [
    // One that lies there is taken away before, with all that is known of it.
    { path: `${mount.path}data/${beside}`, capability: entry || cas === 0 ? "create" : "update", line: DATA },
    { path: `${mount.path}metadata/${beside}`, capability: "delete", line: ["read", "delete"] },
    { path: `${mount.path}data/${rest}`, capability: present ? "update" : "create", line: DATA },
  ];
  const rights = await rightsOn(
    reader,
    needed.map(({ path }) => path),
    signal,
  );
  const missing = needed.filter(({ path, capability }) => {
    const had = rights?.[path];
    return Array.isArray(had) && !had.includes(capability) && !had.includes("root");
  });
  if (missing.length === 0) return;
  const told = missing.map(({ path, capability }) => `${capability} ${path}`).join(" or ");
  const lines = missing.map(
    ({ path, line }) => `path "${path}" { capabilities = [${line.map((one) => `"${one}"`).join(", ")}] }`,
  );
  throw new ProviderError("denied", `the policies of this token do not let it ${told}`, {
    hint: `a policy with ${lines.join(" and ")}`,
  });
}

/** By path; undefined where the server does not say. */
async function rightsOn(
  { session }: Reader,
  paths: readonly string[],
  signal: AbortSignal,
): Promise<Answer["json"]> {
  try {
    const asked = { does: "write", path: "sys/capabilities-self", body: { paths } } as const;
    const { status, json } = await session.send(asked, signal);
    if (status !== 200) return undefined;
    return isRecord(json?.data) ? json.data : json;
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof ProviderError) return undefined;
    throw error;
  }
}
