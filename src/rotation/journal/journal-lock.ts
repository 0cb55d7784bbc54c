/**
 * One process at a time works on a rotation. Beside the lock stands who holds it, so that nobody waits for one that was
 * killed, and nobody takes it from one that is only stopped, and would go on some day by what it knew before. Where
 * neither can be told, the lock is free after five seconds. Who looks, clears away and takes the lock does so under a
 * second lock: else two could clear away, one after the other, and the later one the lock of the earlier.
 */
import { readFile, readlink, rm, rmdir, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import * as z from "zod/mini";
import type { Clock } from "../../clock.ts";
import { McpRunError, ProviderError, systemErrorCode } from "../../errors.ts";
import { takeFileLock, withFileLock } from "../../file-lock.ts";
import { livingProcess } from "../../launch/process-table.ts";

/** More than after what a lock is free that nobody touches. */
const PATIENCE_MS = 6_000;

const ownerShape = z.object({ machine: z.string(), pid: z.int(), startedAt: z.optional(z.string()) });
type Owner = z.infer<typeof ownerShape>;

/**
 * Throws McpRunError `rotation-incomplete` while another process is at it, and the signal's reason.
 *
 * @param folder private, and there
 */
export async function withJournalLock<T>(
  { folder, clock }: { readonly folder: string; readonly clock: Clock },
  rotation: string,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  const path = join(folder, `${rotation}.lock`);
  const ownerFile = join(folder, `${rotation}.owner`);
  const refused = (error: unknown) =>
    new ProviderError("denied", `Cannot make ${path}: ${systemErrorCode(error) ?? "unknown reason"}`);
  const lock = { path, patienceMs: PATIENCE_MS, clock, signal, refused };
  const taking = { ...lock, path: `${path}.taking`, patienceMs: 2 * PATIENCE_MS };
  let living: number | undefined;
  const release = await withFileLock(taking, async () => {
    const owner = await ownerIn(ownerFile);
    const life = await lifeOf(owner);
    if (life === "dead") await clearAway(path, ownerFile);
    living = life === "alive" ? owner?.pid : undefined;
    const free = await takeFileLock({ ...lock, isOfTheLiving: life === "alive" });
    await noteOwner(ownerFile);
    return free;
  }).catch((error: unknown) => {
    throw isHeld(error) ? atIt(rotation, living) : error;
  });
  try {
    return await work();
  } finally {
    await rm(ownerFile, { force: true }).catch(ignoreSystemError);
    await release();
  }
}

/** Without a note whoever comes after a crash waits, as one does where nothing tells who is alive. */
async function noteOwner(file: string): Promise<void> {
  const { pid, platform } = process;
  const startedAt = livingProcess(pid, platform)?.startedAt;
  const owner: Owner = { machine: await machineName(), pid, ...(startedAt !== undefined && { startedAt }) };
  await writeFile(file, JSON.stringify(owner), { mode: 0o600 }).catch(ignoreSystemError);
}

/** Whether a process works on it, as far as its note says; never waits. */
export async function isAtWork(folder: string, rotation: string): Promise<boolean> {
  const owner = await ownerIn(join(folder, `${rotation}.owner`));
  return owner !== undefined && (await lifeOf(owner)) !== "dead";
}

async function ownerIn(file: string): Promise<Owner | undefined> {
  try {
    return ownerShape.safeParse(JSON.parse(await readFile(file, "utf8"))).data;
  } catch (error) {
    // A note that its writer did not finish says nothing.
    if (error instanceof SyntaxError || systemErrorCode(error) !== undefined) return undefined;
    throw error;
  }
}

async function lifeOf(owner: Owner | undefined): Promise<"alive" | "dead" | "unknown"> {
  if (!owner || owner.startedAt === undefined || owner.machine !== (await machineName())) return "unknown";
  return livingProcess(owner.pid, process.platform)?.startedAt === owner.startedAt ? "alive" : "dead";
}

/** Of what numbers processes: a container does so by itself, and so does a machine that was started anew. */
async function machineName(): Promise<string> {
  const parts = [
    Promise.resolve(hostname()),
    readlink("/proc/self/ns/pid"),
    readFile("/proc/sys/kernel/random/boot_id", "utf8"),
  ];
  const known = (await Promise.allSettled(parts)).map((part) =>
    part.status === "fulfilled" ? part.value.trim() : "",
  );
  return known.join(" ");
}

async function clearAway(path: string, ownerFile: string): Promise<void> {
  // In this order: what is left of it in a crash of ours is a lock without an owner.
  await rm(ownerFile, { force: true });
  await rmdir(path).catch(ignoreSystemError);
}

function isHeld(error: unknown): boolean {
  return error instanceof ProviderError && error.failure === "unavailable";
}

/** @param pid of the other, where it is known to live */
function atIt(rotation: string, pid: number | undefined): McpRunError {
  return new McpRunError(
    "rotation-incomplete",
    `Cannot go on with rotation ${rotation}: another mcp-run is at it`,
    { hint: pid === undefined ? "waiting for that one" : `waiting for that one (pid ${pid}), or ending it` },
  );
}

function ignoreSystemError(error: unknown): void {
  if (systemErrorCode(error) === undefined) throw error;
}
