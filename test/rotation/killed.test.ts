/** A rotation as a real process: killed after each of its steps, and on a disk that takes no more. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { rolldown } from "rolldown";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { LocalStore } from "../../providers/local/store.ts";
import { localKind } from "../../providers/local.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { testContext } from "../helpers/provider-context.ts";
import type { Orders } from "./rotator-process.ts";
import { never } from "./world.ts";

const PATIENCE_MS = 300_000;

let bundle: string;
beforeAll(async () => {
  bundle = mkdtempSync(join(tmpdir(), "mcp-run-rotator-"));
  const input = join(import.meta.dirname, "rotator-process.ts");
  const build = await rolldown({ input, platform: "node", logLevel: "silent" });
  await build.write({
    dir: bundle,
    format: "cjs",
    entryFileNames: "rotator.cjs",
    chunkFileNames: "[name].cjs",
  });
  await build.close();
});
afterAll(() => rmSync(bundle, { recursive: true }));

interface Said {
  readonly event?: string;
  readonly step?: string;
  readonly rotation?: string;
  readonly outcome?: {
    readonly is: string;
    readonly reason?: string;
    readonly stillValid: readonly unknown[];
  };
  readonly unwritten?: { readonly kind: string; readonly step?: string };
}

/** What the process has said until it ended; it is killed as soon as it stands still. */
async function run(orders: Orders, mostBytes?: number): Promise<readonly Said[]> {
  const program = [process.execPath, join(bundle, "rotator.cjs")];
  // A write beyond the limit is refused as on a full disk.
  const limited = `ulimit -f ${(mostBytes ?? 0) / 1024}; exec "$0" "$1"`;
  const [command = "", ...args] = mostBytes === undefined ? program : ["bash", "-c", limited, ...program];
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"] });
  onTestFinished(() => {
    child.kill("SIGKILL");
  });
  const errors: Buffer[] = [];
  child.stderr.on("data", (chunk: Buffer) => errors.push(chunk));
  const closed = once(child, "close");
  child.stdin.end(JSON.stringify(orders));
  const said: Said[] = [];
  let events = 0;
  for await (const line of createInterface(child.stdout)) {
    const what: Said = JSON.parse(line);
    said.push(what);
    if (what.event !== undefined && ++events === orders.stopAt) child.kill("SIGKILL");
  }
  const [code, signal] = await closed;
  expect([code, signal]).toEqual(orders.stopAt === undefined ? [0, null] : [null, "SIGKILL"]);
  expect(Buffer.concat(errors).toString()).toBe("");
  return said;
}

/** A home whose store has a key. */
async function home(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "mcp-run-rotated-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  await (await storeIn(folder)).put({ path: "key" }, new Secret("canary-old"), never());
  return folder;
}

async function storeIn(folder: string): Promise<LocalStore> {
  const config = localKind.configSchema.parse({ identity: "file" });
  const store = await localKind.open(config, testContext({ home: folder }));
  if (!(store instanceof LocalStore)) throw new Error("the kind opened something else");
  return store;
}

async function stateOf(folder: string) {
  const store = await storeIn(folder);
  const ref = { path: "key" };
  const present = (await store.fetch([ref], never())).get(ref);
  const { valid, mints } = JSON.parse(readFileSync(join(folder, "issuer.json"), "utf8"));
  return {
    current: present && "value" in present ? present.value.reveal() : present,
    candidate: await store.findCandidate(ref, never()),
    valid,
    mints,
  };
}

const DONE = { current: "canary-new-1", candidate: undefined, valid: ["canary-new-1"], mints: 1 };
const UNTOUCHED = { current: "canary-old", candidate: undefined, valid: ["canary-old"] };

describe.skipIf(process.platform === "win32")("a rotation in a process of its own", () => {
  it(
    "goes on from wherever it was killed, without waiting for the lock of the one that was",
    async () => {
      const uncut = await home();
      const said = await run({ home: uncut, reason: "leaked" });
      expect(said.at(-1)?.outcome).toMatchObject({ is: "done" });
      expect(await stateOf(uncut)).toEqual(DONE);
      const { mode } = statSync(join(uncut, "rotations"));
      expect(mode & 0o777).toBe(0o700);
      for (const name of await readdir(join(uncut, "rotations"))) {
        expect(statSync(join(uncut, "rotations", name)).mode & 0o777).toBe(0o600);
      }
      const events = said.filter(({ event }) => event !== undefined);
      expect(events.length).toBe(21);

      await Promise.all(
        events.slice(0, -1).map(async ({ event, step }, index) => {
          const folder = await home();
          const before = await run({ home: folder, reason: "leaked", stopAt: index + 1 });
          expect(before.at(-1)).toMatchObject({ event, ...(step && { step }) });

          const after = await run({ home: folder, reason: "leaked", resume: before[0]?.rotation ?? "" });

          expect(after.at(-1)?.outcome, `${event} ${step}`).toMatchObject({ is: "done", stillValid: [] });
          expect(await stateOf(folder), `${event} ${step}`).toEqual(DONE);
        }),
      );
    },
    PATIENCE_MS,
  );

  it(
    "is given up where the disk is full before the promotion, and goes on where it is full after it",
    async () => {
      const uncut = await home();
      await run({ home: uncut, reason: "leaked" });
      const [name = ""] = (await readdir(join(uncut, "rotations"))).filter((file) => file.endsWith(".jsonl"));
      const journal = readFileSync(join(uncut, "rotations", name), "utf8");
      const mostBytes = 8192;
      const lengthUpTo = (kind: string, step: string) =>
        journal.indexOf(`"kind":"${kind}"`, journal.indexOf(`"step":"${step}"`) - 80);
      const cases = [
        { at: lengthUpTo("intent", "mint"), is: "discarded", mints: 0 },
        { at: journal.indexOf("\n", journal.indexOf('"step":"mint"')) + 20, is: "discarded", mints: 1 },
        { at: lengthUpTo("intent", "canary"), is: "discarded", mints: 1 },
        { at: lengthUpTo("intent", "promote"), is: "discarded", mints: 1 },
        { at: journal.indexOf("\n", journal.indexOf('"step":"promote"')) + 20, is: "incomplete", mints: 1 },
        { at: lengthUpTo("intent", "revoke"), is: "incomplete", mints: 1 },
        { at: journal.length - 10, is: "incomplete", mints: 1 },
      ];
      for (const { at, is, mints } of cases) {
        const folder = await home();
        // The limit is one of whole blocks: a longer reason moves the journal up to it.
        const reason = `leaked${"!".repeat(mostBytes - at)}`;

        const said = await run({ home: folder, reason }, mostBytes);

        const unwritten = said.flatMap((line) => (line.unwritten ? [line.unwritten] : []));
        expect(unwritten.length, `${at}`).toBeGreaterThan(0);

        const outcome = said.at(-1)?.outcome;
        expect(outcome, `${at}`).toMatchObject({ is, reason: expect.stringContaining("journal") });
        const state = await stateOf(folder);
        expect(state).toMatchObject(is === "discarded" ? { ...UNTOUCHED, mints } : DONE);
        if (is === "discarded") continue;
        expect(unwritten.at(-1)).toMatchObject({ kind: "end" });
        // What could not be written is done once more, which changes nothing.
        const rotation = said[0]?.rotation ?? "";
        const resumed = await run({ home: folder, reason, resume: rotation });
        expect(resumed.at(-1)?.outcome).toMatchObject({ is: "done" });
        expect(await stateOf(folder)).toEqual(DONE);
      }
    },
    PATIENCE_MS,
  );
});
