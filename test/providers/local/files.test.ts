import { execFileSync } from "node:child_process";
import {
  chmod,
  lstat,
  mkdir,
  readdir,
  readFile,
  rename,
  stat,
  symlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { dirname, join } from "node:path";
import { inspect } from "node:util";
import { Decrypter, Encrypter } from "age-encryption";
import { describe, expect, test } from "vitest";
import { get, openStore, put, read, refusalOf, signal, temporaryDirectory } from "./open-store.ts";

const isPosix = process.platform !== "win32";

/** A store with one entry, and ways to look into it and to put something else in its place. */
async function storeWithOneEntry() {
  const opened = await openStore();
  await put(opened.store, "github/token", "canary-kept");
  const [own] = await opened.store.recipients();
  const { places } = opened;
  const identity = /^AGE-SECRET-KEY-1.+$/m.exec(await readFile(places.identityFile, "utf8"))?.[0] ?? "";
  return {
    ...opened,
    async document(): Promise<Record<string, unknown>> {
      const decrypter = new Decrypter();
      decrypter.addIdentity(identity);
      return JSON.parse(await decrypter.decrypt(await readFile(places.store), "text"));
    },
    async seal(plaintext: string): Promise<void> {
      const encrypter = new Encrypter();
      encrypter.addRecipient(own?.publicKey ?? "");
      await writeFile(places.store, await encrypter.encrypt(plaintext));
    },
  };
}

describe("a store that can't be used is invalid, says why, and is never overwritten:", () => {
  const version = { id: "v1", value: "canary-x", createdAt: "2026-01-01T00:00:00.000Z" };
  const good = { format: "mcp-run store", version: 1, entries: {} };
  const withEntry = (entry: unknown) => JSON.stringify({ ...good, entries: { "canary-name": entry } });

  test.each([
    ["no JSON", "canary-x is not JSON", "it is no store of mcp-run: it holds no JSON"],
    ["other JSON", '["canary-x"]', "it is no store of mcp-run: it holds something else"],
    ["no entries", '{"format":"mcp-run store","version":1}', "it is no store of mcp-run: it has no entries"],
    [
      "a newer format",
      '{"format":"mcp-run store","version":2,"entries":{}}',
      "it has the format 2, and this mcp-run knows up to 1",
    ],
    [
      "an entry without versions",
      withEntry({ current: "v1", versions: [] }),
      'it is no store of mcp-run: its entry "canary-name" is malformed',
    ],
    [
      "an entry whose current version is not there",
      withEntry({ current: "v2", versions: [version] }),
      'it is no store of mcp-run: its entry "canary-name" is malformed',
    ],
    [
      "a value that is no text",
      withEntry({ current: "v1", versions: [{ ...version, value: 7 }] }),
      'it is no store of mcp-run: its entry "canary-name" is malformed',
    ],
    [
      "a date that is none",
      withEntry({ current: "v1", versions: [{ ...version, createdAt: "soon" }] }),
      'it is no store of mcp-run: its entry "canary-name" is malformed',
    ],
  ])("%s", async (_, plaintext, reason) => {
    const { store, places, seal } = await storeWithOneEntry();
    await seal(plaintext);
    const before = await readFile(places.store);

    const refusals = [
      await refusalOf(get(store, "github/token")),
      await refusalOf(put(store, "github/token", "canary-new")),
      await refusalOf(store.remove({ path: "github/token" }, signal)),
      await refusalOf(store.rekey(signal)),
    ];

    for (const refusal of refusals) {
      expect(refusal).toMatchObject({
        failure: "invalid",
        reason: `${places.store} can't be read: ${reason}`,
      });
      expect(inspect(refusal, { depth: 9, showHidden: true })).not.toContain("canary-x");
    }
    expect(await readFile(places.store)).toEqual(before);
  });

  test.each([
    ["an empty file", () => Buffer.alloc(0), "it is not an age file"],
    ["other bytes", () => Buffer.from("canary\n"), "it is not an age file"],
    [
      "a cut-off file",
      (file: Buffer) => file.subarray(0, -1),
      "it was changed or cut off after it was written",
    ],
    ["a cut-off header", (file: Buffer) => file.subarray(0, 60), "its header is cut off"],
    [
      "a changed byte",
      (file: Buffer) => Buffer.from(file.map((byte, at) => (at === file.length - 20 ? byte ^ 1 : byte))),
      "it was changed or cut off after it was written",
    ],
  ])("%s", async (_, spoil, reason) => {
    const { store, places } = await storeWithOneEntry();
    const spoiled = spoil(await readFile(places.store));
    await writeFile(places.store, spoiled);

    const reading = await refusalOf(get(store, "github/token"));
    const writing = await refusalOf(put(store, "github/token", "canary-new"));

    for (const refusal of [reading, writing]) {
      expect(refusal).toMatchObject({
        failure: "invalid",
        reason: `${places.store} can't be read: ${reason}`,
        hint: "a backup of this file; it was left as it is",
      });
    }
    expect(await readFile(places.store)).toEqual(spoiled);
  });

  test("a file that is too large to be one", async () => {
    const { store, places } = await storeWithOneEntry();
    const tooLarge = 17 * 2 ** 20;
    await writeFile(places.store, Buffer.alloc(tooLarge));

    const refusal = await refusalOf(get(store, "github/token"));

    expect(refusal.failure).toBe("invalid");
    expect(refusal.reason).toBe(`${places.store} has ${tooLarge} bytes, more than the 17301504 it may have`);
  });

  test.runIf(isPosix)("a named pipe, without waiting for its writer", async () => {
    const { store, places } = await openStore();
    await mkdir(dirname(places.store), { recursive: true });
    execFileSync("mkfifo", [places.store]);

    const refusal = await refusalOf(get(store, "github/token"));

    expect(refusal.reason).toBe(`${places.store} is not a regular file`);
  });

  test("a directory", async () => {
    const { store, places } = await openStore();
    await mkdir(places.store, { recursive: true });

    expect(await refusalOf(get(store, "github/token"))).toMatchObject({
      failure: "invalid",
      reason: `${places.store} is not a regular file`,
    });
    expect((await refusalOf(put(store, "github/token", "canary-new"))).failure).toBe("invalid");
  });
});

test("the document is JSON with a format number, and keys of later versions survive a write", async () => {
  const { store, document, seal } = await storeWithOneEntry();
  const before = await document();
  const entries = before.entries as Record<string, { current: string; versions: object[] }>;
  const entry = entries["github/token"];
  await seal(
    JSON.stringify({
      ...before,
      later: [1],
      entries: { ...entries, "github/token": { ...entry, candidate: { id: "v9" } } },
    }),
  );

  const version = await put(store, "github/token", "canary-new");
  await put(store, "other", "canary-other");

  expect(before).toEqual({
    format: "mcp-run store",
    version: 1,
    entries: {
      "github/token": {
        current: expect.stringMatching(/^v[0-9a-f]{16}$/),
        versions: [
          {
            id: entry?.current,
            value: "canary-kept",
            createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
          },
        ],
      },
    },
  });
  expect(await document()).toMatchObject({
    later: [1],
    entries: { "github/token": { current: version, candidate: { id: "v9" } } },
  });
});

test("all refs of one fetch see the same content, whatever is written meanwhile", async () => {
  const { store, places } = await storeWithOneEntry();
  await put(store, "slack", "canary-old");
  const refs = Array.from({ length: 200 }, (_, at) => ({ path: at % 2 === 0 ? "github/token" : "slack" }));

  const fetching = store.fetch(refs, signal);
  const putting = put(store, "slack", "canary-new");
  const values = new Set(
    [...(await fetching).values()].map((answer) => ("value" in answer ? answer.value.reveal() : "")),
  );
  await putting;

  expect(values.size).toBe(2);
  expect(await readdir(dirname(places.store))).toEqual(["local.age"]);
});

test("many writes of one process at the same time are all kept", async () => {
  const { store } = await openStore();
  const names = Array.from({ length: 20 }, (_, at) => `entry-${at}`);

  await Promise.all(names.map((name) => put(store, name, `canary-${name}`)));

  const values = await Promise.all(names.map((name) => read(store, name)));
  expect(values).toEqual(names.map((name) => `canary-${name}`));
});

describe.runIf(isPosix)("the file", () => {
  test("stays private where mcp-run keeps it, also after somebody opened it up", async () => {
    const { store, places } = await storeWithOneEntry();
    await chmod(places.store, 0o644);

    await put(store, "github/token", "canary-new");

    expect((await stat(places.store)).mode & 0o777).toBe(0o600);
  });

  test("keeps a wider mode where a team shares it", async () => {
    const repository = await temporaryDirectory();
    const { store, places } = await openStore({ settings: { file: join(repository, "secrets.age") } });
    await put(store, "entry", "canary-1");
    const made = (await stat(places.store)).mode & 0o777;
    await chmod(places.store, 0o664);

    await put(store, "entry", "canary-2");

    expect(made).toBe(0o600);
    expect((await stat(places.store)).mode & 0o777).toBe(0o664);
    expect(await readdir(repository)).toEqual(["secrets.age"]);
  });

  test("is replaced behind a symbolic link, and the link stays", async () => {
    const elsewhere = join(await temporaryDirectory(), "real.age");
    const { store, places } = await storeWithOneEntry();
    await rename(places.store, elsewhere);
    await symlink(elsewhere, places.store);

    await put(store, "github/token", "canary-new");

    expect((await lstat(places.store)).isSymbolicLink()).toBe(true);
    expect(await read(store, "github/token")).toBe("canary-new");
    expect(await readdir(dirname(elsewhere))).toEqual(["real.age"]);
  });

  test("what killed writers left behind is swept up, and nothing else", async () => {
    const { store, places } = await storeWithOneEntry();
    const directory = dirname(places.store);
    const old = join(directory, ".local.age.0123456789ab.tmp");
    const fresh = join(directory, ".local.age.ba9876543210.tmp");
    const foreign = join(directory, "local.age.bak");
    for (const path of [old, fresh, foreign]) await writeFile(path, "");
    for (const path of [old, foreign]) await utimes(path, 0, 0);

    await put(store, "github/token", "canary-new");

    expect((await readdir(directory)).sort()).toEqual([
      ".local.age.ba9876543210.tmp",
      "local.age",
      "local.age.bak",
    ]);
  });

  test("in ~/ is the user's own", async () => {
    const settings = { file: "~/team/secrets.age" };

    const { places } = await openStore({ settings, env: { HOME: "/home/somebody" }, platform: "linux" });

    expect(places.store).toBe("/home/somebody/team/secrets.age");
    await expect(openStore({ settings, env: {}, platform: "linux" })).rejects.toThrow("HOME is not set");
  });

  test("in another place has recipients of its own, under whatever name", async () => {
    const home = await temporaryDirectory();
    const places = async (file?: string) =>
      (await openStore({ home, ...(file !== undefined && { settings: { file } }) })).places.recipientsFile;

    const all = [await places(), await places("/srv/a/secrets.age"), await places("/srv/b/secrets.age")];

    expect(new Set(all).size).toBe(3);
    expect(await places("/srv/a/secrets.age")).toBe(all[1]);
  });
});
