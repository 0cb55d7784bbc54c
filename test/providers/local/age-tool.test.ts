/** The store and the `age` command line tool, where this machine has one (set AGE to its path, or have it on PATH). */
import { execFileSync } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { beforeEach, expect, test } from "vitest";
import { openStore, put, read, signal } from "./open-store.ts";

const AGE = process.env.AGE ?? "age";
const AGE_KEYGEN = join(dirname(AGE), "age-keygen");

function hasAge(): boolean {
  try {
    execFileSync(AGE, ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

beforeEach((context) => {
  if (!hasAge()) context.skip("there is no age tool on this machine");
});

test("age opens the store with our identity file", async () => {
  const { store, places } = await openStore();
  await put(store, "entry", "canary-1".padEnd(200_000, "x"));

  const document = execFileSync(AGE, ["-d", "-i", places.identityFile, places.store]);

  expect(JSON.parse(document.toString()).entries.entry.versions).toHaveLength(1);
});

test("age-keygen knows the public key of our identity file, also after a rekey", async () => {
  const { store, places } = await openStore();
  await put(store, "entry", "canary-1");
  await store.rekey(signal);

  const keys = execFileSync(AGE_KEYGEN, ["-y", places.identityFile], { encoding: "utf8" }).trim().split("\n");

  expect(keys[0]).toBe((await store.recipients())[0]?.publicKey);
});

test("a store that age encrypted for our list of recipients opens here", async () => {
  const { store, places } = await openStore();
  await put(store, "entry", "canary-1");
  const plain = execFileSync(AGE, ["-d", "-i", places.identityFile, places.store]);

  await writeFile(places.store, execFileSync(AGE, ["-R", places.recipientsFile], { input: plain }));

  expect(await read(store, "entry")).toBe("canary-1");
});

test("an identity of age-keygen opens a store that it was added to", async () => {
  const { store, places, home } = await openStore();
  await put(store, "entry", "canary-1");
  const keyFile = join(home, "ci.key");
  execFileSync(AGE_KEYGEN, ["-o", keyFile], { stdio: "ignore" });
  const text = await readFile(keyFile, "utf8");
  await store.addRecipient(/public key: (.+)/.exec(text)?.[1] ?? "", "ci", signal);

  const ci = await openStore({ settings: { file: places.store }, env: { MCP_RUN_AGE_KEY: text } });

  expect(await read(ci.store, "entry")).toBe("canary-1");
  expect(execFileSync(AGE, ["-d", "-i", keyFile, places.store]).toString()).toContain("canary-1");
});
