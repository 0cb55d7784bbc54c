import { chmod, mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { inspect } from "node:util";
import { Decrypter, generateX25519Identity, identityToRecipient } from "age-encryption";
import { describe, expect, test } from "vitest";
import { ProviderError } from "../../../src/errors.ts";
import { type InMemoryKeychain, inMemoryKeychain } from "../../helpers/provider-context.ts";
import { get, openStore, put, read, refusalOf, signal } from "./open-store.ts";

const isPosix = process.platform !== "win32";

async function modeOf(path: string): Promise<number> {
  return (await stat(path)).mode & 0o777;
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

describe("without a keychain", () => {
  test("the first write makes an identity in a private file, and says so once", async () => {
    const { store, places, events } = await openStore();

    await put(store, "entry", "canary-1");
    await put(store, "entry", "canary-2");

    const text = await readFile(places.identityFile, "utf8");
    const identity = /^AGE-SECRET-KEY-1[0-9A-Z]+$/m.exec(text)?.[0] ?? "";
    const publicKey = await identityToRecipient(identity);
    expect(text).toMatch(/^# created: .+\n# public key: age1[0-9a-z]+\nAGE-SECRET-KEY-1[0-9A-Z]+\n$/);
    expect(text).toContain(`# public key: ${publicKey}\n`);
    expect(events).toEqual([
      {
        type: "notice",
        message: `made a new identity for the store local (public key ${publicKey}); it is kept in ${places.identityFile}, because there is no OS keychain: back it up, without it the store can't be read`,
      },
    ]);
  });

  test.runIf(isPosix)("identity, store and recipients are for their owner alone", async () => {
    const { store, places } = await openStore();
    await put(store, "entry", "canary-1");

    for (const path of [places.identityFile, places.store, places.recipientsFile]) {
      expect(await modeOf(path), path).toBe(0o600);
      expect(await modeOf(dirname(path)), dirname(path)).toBe(0o700);
    }
    expect(dirname(places.identityFile)).not.toBe(dirname(places.store));
  });

  test("reading never makes an identity, nor anything else", async () => {
    const { store, home } = await openStore();

    await store.fetch([{ path: "entry" }], signal);
    await store.list(signal);
    await store.remove({ path: "entry" }, signal);
    await store.recipients();

    expect(await exists(join(home, "config"))).toBe(false);
    expect(await exists(join(home, "data"))).toBe(false);
  });

  test.runIf(isPosix)(
    "an identity file that others can read is refused, with the command that mends it",
    async () => {
      const { store, places } = await openStore();
      await put(store, "entry", "canary-1");
      await chmod(places.identityFile, 0o640);

      const refusal = await refusalOf(get(store, "entry"));

      expect(refusal).toMatchObject({
        failure: "denied",
        reason: `others can read the identity file ${places.identityFile} (mode 0640)`,
        hint: `chmod 600 ${places.identityFile}`,
      });
      await chmod(places.identityFile, 0o400);
      expect(await read(store, "entry")).toBe("canary-1");
    },
  );

  test("a store in the directory of the identity is refused, so that a copy of one is not a copy of both", async () => {
    const { home } = await openStore();
    const file = join(home, "config", "local.age");
    const { store } = await openStore({ home, settings: { file } });

    const refusal = await refusalOf(put(store, "entry", "canary-1"));

    expect(refusal.failure).toBe("invalid");
    expect(refusal.reason).toBe(`${file} lies in the directory of its own identity`);
    expect(await exists(file)).toBe(false);
  });

  test("`identity: keychain` is refused at the first write", async () => {
    const { store, home } = await openStore({ settings: { identity: "keychain" } });

    const refusal = await refusalOf(put(store, "entry", "canary-1"));

    expect(refusal).toMatchObject({
      failure: "unavailable",
      hint: "identity: file in the settings of local",
    });
    expect(await exists(join(home, "config"))).toBe(false);
  });

  test("two providers have an identity each", async () => {
    const { home, store, places } = await openStore();
    const other = await openStore({ home, name: "team" });

    await put(store, "entry", "canary-1");
    await put(other.store, "entry", "canary-2");

    expect(other.places.identityFile).toBe(join(home, "config", "team.identity"));
    expect(other.places.store).toBe(join(home, "data", "team.age"));
    expect(await readFile(other.places.identityFile, "utf8")).not.toBe(
      await readFile(places.identityFile, "utf8"),
    );
    expect([await read(store, "entry"), await read(other.store, "entry")]).toEqual(["canary-1", "canary-2"]);
  });
});

describe("with a keychain", () => {
  test("the first write keeps the identity there and nowhere else, and says so", async () => {
    const keychain = inMemoryKeychain();
    const { store, places, events } = await openStore({ keychain });

    await put(store, "entry", "canary-1");

    expect([...keychain.items.keys()]).toEqual([places.keychainItem]);
    expect(keychain.items.get(places.keychainItem)).toMatch(/^AGE-SECRET-KEY-1[0-9A-Z]+$/);
    expect(await exists(places.identityFile)).toBe(false);
    expect(events).toMatchObject([
      { type: "notice", message: expect.stringContaining(`in the OS keychain as ${places.keychainItem}`) },
    ]);
    expect(await read(store, "entry")).toBe("canary-1");
  });

  test("`identity: file` keeps it in the file all the same", async () => {
    const keychain = inMemoryKeychain();
    const { store, places } = await openStore({ keychain, settings: { identity: "file" } });

    await put(store, "entry", "canary-1");

    expect(keychain.items.size).toBe(0);
    expect(await exists(places.identityFile)).toBe(true);
  });

  test("two homes and two providers don't meet at one item", async () => {
    const keychain = inMemoryKeychain();
    const one = await openStore({ keychain });
    const two = await openStore({ keychain });
    const three = await openStore({ keychain, home: two.home, name: "team" });

    for (const { store } of [one, two, three]) await put(store, "entry", "canary-1");

    expect(keychain.items.size).toBe(3);
    for (const { store } of [one, two, three]) expect(await read(store, "entry")).toBe("canary-1");
  });

  test("a keychain that refuses is an error, never a fall to the file", async () => {
    const keychain: InMemoryKeychain = {
      ...inMemoryKeychain(),
      put: () => Promise.reject(new ProviderError("unavailable", "the keychain is locked")),
    };
    const { store, home } = await openStore({ keychain });

    const refusal = await refusalOf(put(store, "entry", "canary-1"));

    expect(refusal.reason).toBe("the keychain is locked");
    expect(await exists(join(home, "config"))).toBe(false);
  });

  test("a keychain that loses what it was given is an error before anything is encrypted", async () => {
    const keychain: InMemoryKeychain = { ...inMemoryKeychain(), put: async () => ({}) };
    const { store, places } = await openStore({ keychain });

    const refusal = await refusalOf(put(store, "entry", "canary-1"));

    expect(refusal.reason).toBe(`the OS keychain did not keep the item ${places.keychainItem}`);
    expect(await exists(places.store)).toBe(false);
  });

  test("a locked keychain is what a read reports", async () => {
    const keychain = inMemoryKeychain();
    const { store, home } = await openStore({ keychain });
    await put(store, "entry", "canary-1");
    const locked: InMemoryKeychain = {
      ...keychain,
      fetch: async (refs) =>
        new Map(
          refs.map((ref) => [
            ref,
            new ProviderError("unavailable", "it is locked", { hint: "unlocking it" }),
          ]),
        ),
    };

    const refusal = await refusalOf(get((await openStore({ home, keychain: locked })).store, "entry"));

    expect(refusal).toMatchObject({
      failure: "unavailable",
      reason: "the keychain does not give the store's identity: it is locked",
      hint: "unlocking it",
    });
  });

  test("one that is out of reach later does not get a second identity beside it", async () => {
    const keychain = inMemoryKeychain();
    const { store, home, places } = await openStore({ keychain });
    await put(store, "entry", "canary-1");
    const { store: overSsh } = await openStore({ home });

    const reading = await refusalOf(get(overSsh, "entry"));
    const writing = await refusalOf(put(overSsh, "entry", "canary-2"));

    expect([reading.failure, writing.failure]).toEqual(["denied", "denied"]);
    expect(reading.reason).toContain("MCP_RUN_AGE_KEY is not set");
    expect(writing.reason).toContain("our identity is gone or out of reach");
    expect(await exists(places.identityFile)).toBe(false);
    expect(await read(store, "entry")).toBe("canary-1");
  });
});

describe("where the identity is looked for", () => {
  test("MCP_RUN_AGE_KEY needs the file of the store and nothing else", async () => {
    const maker = await openStore();
    await put(maker.store, "entry", "canary-1");
    const identity = await readFile(maker.places.identityFile, "utf8");
    const { store, home } = await openStore({
      settings: { file: maker.places.store },
      env: { MCP_RUN_AGE_KEY: identity },
    });

    expect(await read(store, "entry")).toBe("canary-1");
    expect(await exists(join(home, "config"))).toBe(false);
  });

  test("MCP_RUN_AGE_KEY may be the bare key", async () => {
    const maker = await openStore();
    await put(maker.store, "entry", "canary-1");
    const [key = ""] = /^AGE-SECRET-KEY-.*/m.exec(await readFile(maker.places.identityFile, "utf8")) ?? [];

    const { store } = await openStore({
      settings: { file: maker.places.store },
      env: { MCP_RUN_AGE_KEY: key },
    });

    expect(await read(store, "entry")).toBe("canary-1");
  });

  test("the first write under MCP_RUN_AGE_KEY makes no identity of its own", async () => {
    const key = await generateX25519Identity();
    const { store, places, events } = await openStore({ env: { MCP_RUN_AGE_KEY: key } });

    await put(store, "entry", "canary-1");

    const decrypter = new Decrypter();
    decrypter.addIdentity(key);
    expect(await decrypter.decrypt(await readFile(places.store), "text")).toContain("canary-1");
    expect(await exists(places.identityFile)).toBe(false);
    expect(events).toEqual([]);
  });

  test("a key that does not fit gives way to the next place", async () => {
    const keychain = inMemoryKeychain();
    const { store, home, places } = await openStore({ keychain });
    await put(store, "entry", "canary-1");
    await writeFile(places.identityFile, `${await generateX25519Identity()}\n`, { mode: 0o600 });
    const env = { MCP_RUN_AGE_KEY: await generateX25519Identity() };

    const { store: other } = await openStore({ home, keychain, env });

    expect(await read(other, "entry")).toBe("canary-1");
  });

  test("the keychain is not asked when the file fits", async () => {
    const { store, home } = await openStore();
    await put(store, "entry", "canary-1");
    const keychain: InMemoryKeychain = {
      ...inMemoryKeychain(),
      fetch: () => Promise.reject(new Error("the keychain was asked")),
    };

    const { store: other } = await openStore({ home, keychain });

    expect(await read(other, "entry")).toBe("canary-1");
  });

  test("a ref in the settings replaces all other places", async () => {
    const key = await generateX25519Identity();
    const settings = { identity: "env:TEAM_AGE_KEY" };
    const maker = await openStore({ settings, refs: { "env:TEAM_AGE_KEY": key } });
    await put(maker.store, "entry", "canary-1");

    const env = { MCP_RUN_AGE_KEY: key };
    const other = { "env:TEAM_AGE_KEY": await generateX25519Identity() };
    const { store } = await openStore({ home: maker.home, settings, refs: other, env });

    expect(await read(maker.store, "entry")).toBe("canary-1");
    expect((await refusalOf(get(store, "entry"))).reason).toContain("from env:TEAM_AGE_KEY");
    expect(await exists(maker.places.identityFile)).toBe(false);
  });
});

describe("an identity that does not help", () => {
  test("the wrong one is told by its public key", async () => {
    const maker = await openStore();
    await put(maker.store, "entry", "canary-1");
    const key = await generateX25519Identity();
    const settings = { file: maker.places.store };
    const { store } = await openStore({ settings, env: { MCP_RUN_AGE_KEY: key } });

    const refusal = await refusalOf(get(store, "entry"));

    const publicKey = await identityToRecipient(key);
    expect(refusal).toMatchObject({
      failure: "denied",
      reason: `${maker.places.store} is encrypted for other keys than ours (${publicKey} from MCP_RUN_AGE_KEY)`,
      hint: `mcp-run secrets recipients add ${publicKey}, on a machine that can read the store`,
    });
  });

  test("a lost one is denied, and neither a read nor a write makes a new store", async () => {
    const { store, places } = await openStore();
    await put(store, "entry", "canary-1");
    const before = await readFile(places.store);
    await rm(places.identityFile);

    const reading = await refusalOf(get(store, "entry"));
    const writing = await refusalOf(put(store, "entry", "canary-2"));

    expect(reading).toMatchObject({ failure: "denied", hint: expect.stringContaining(places.identityFile) });
    expect(writing).toMatchObject({
      failure: "denied",
      hint: expect.stringContaining(places.recipientsFile),
    });
    expect(await readFile(places.store)).toEqual(before);
  });

  test("a newcomer to somebody's store gets an identity at the first write, and is told its public key", async () => {
    const maker = await openStore();
    await put(maker.store, "entry", "canary-1");
    const newcomer = await openStore({ name: "team", settings: { file: maker.places.store } });

    const refusal = await refusalOf(put(newcomer.store, "entry", "canary-2"));

    const text = await readFile(newcomer.places.identityFile, "utf8");
    const publicKey = /# public key: (.+)/.exec(text)?.[1];
    expect(refusal.hint).toBe(
      `mcp-run secrets recipients add ${publicKey} --provider team, on a machine that can read the store`,
    );
    await maker.store.addRecipient(publicKey ?? "", "newcomer", signal);
    expect(await read(newcomer.store, "entry")).toBe("canary-1");
  });

  test.each([
    ["a malformed one", "AGE-SECRET-KEY-1CANARYCANARYCANARY"],
    ["something else", "canary-not-a-key"],
  ])("%s is invalid and not shown", async (_, key) => {
    const maker = await openStore();
    await put(maker.store, "entry", "canary-1");
    const settings = { file: maker.places.store };
    const { store } = await openStore({ settings, env: { MCP_RUN_AGE_KEY: key } });

    const refusal = await refusalOf(get(store, "entry"));

    expect(refusal).toMatchObject({
      failure: "invalid",
      reason: "MCP_RUN_AGE_KEY holds no age identity (AGE-SECRET-KEY-1…)",
    });
    expect(inspect(refusal, { depth: 9, showHidden: true })).not.toMatch(/canary/i);
  });

  test("an empty MCP_RUN_AGE_KEY counts as none", async () => {
    const { store, home } = await openStore();
    await put(store, "entry", "canary-1");

    const { store: other } = await openStore({ home, env: { MCP_RUN_AGE_KEY: " \n" } });

    expect(await read(other, "entry")).toBe("canary-1");
  });

  test("a directory in place of the identity file is told", async () => {
    const { store, places } = await openStore();
    await put(store, "entry", "canary-1");
    await rm(places.identityFile);
    await mkdir(places.identityFile);

    expect(await refusalOf(get(store, "entry"))).toMatchObject({
      failure: "invalid",
      reason: `${places.identityFile} is not a regular file`,
    });
  });
});
