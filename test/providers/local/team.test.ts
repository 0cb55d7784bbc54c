import { chmod, mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Decrypter, Encrypter, generateX25519Identity, identityToRecipient } from "age-encryption";
import { describe, expect, test } from "vitest";
import { inMemoryKeychain } from "../../helpers/provider-context.ts";
import { openStore, put, read, refusalOf, signal, temporaryDirectory } from "./open-store.ts";

async function teammate() {
  const identity = await generateX25519Identity();
  return { identity, publicKey: await identityToRecipient(identity) };
}

/** Whether the `age` library opens the file with this identity. */
async function opens(file: string, identity: string): Promise<boolean> {
  const decrypter = new Decrypter();
  decrypter.addIdentity(identity);
  return decrypter.decrypt(await readFile(file)).then(
    () => true,
    () => false,
  );
}

describe("recipients", () => {
  test("our own key is pinned at the first write, under the login name", async () => {
    const { store, places } = await openStore({ loginName: () => "ada" });
    await put(store, "entry", "canary-1");

    const recipients = await store.recipients();

    expect(recipients).toEqual([
      { publicKey: expect.stringMatching(/^age1[0-9a-z]{58}$/), label: "ada", own: true },
    ]);
    expect(await readFile(places.recipientsFile, "utf8")).toBe(
      `# Who can read ${places.store}: one age public key a line, its label above it.\n\n# ada\n${recipients[0]?.publicKey}\n`,
    );
  });

  test("one that was added reads the store, what is there and what comes", async () => {
    const { store, places } = await openStore();
    const bob = await teammate();
    await put(store, "entry", "canary-1");

    await store.addRecipient(bob.publicKey, "bob", signal);
    const bobs = await openStore({
      settings: { file: places.store },
      env: { MCP_RUN_AGE_KEY: bob.identity },
    });

    expect(await read(bobs.store, "entry")).toBe("canary-1");
    await put(store, "entry", "canary-2");
    expect(await read(bobs.store, "entry")).toBe("canary-2");
    expect(await store.recipients()).toMatchObject([
      { own: true },
      { publicKey: bob.publicKey, label: "bob", own: false },
    ]);
  });

  test("one can be added before there is anything in the store", async () => {
    const { store, places } = await openStore();
    const bob = await teammate();

    await store.addRecipient(bob.publicKey, undefined, signal);
    await put(store, "entry", "canary-1");

    expect(await opens(places.store, bob.identity)).toBe(true);
  });

  test("adding twice changes nothing", async () => {
    const { store, places } = await openStore();
    const bob = await teammate();
    await put(store, "entry", "canary-1");
    await store.addRecipient(bob.publicKey, "bob", signal);
    const before = await readFile(places.recipientsFile, "utf8");

    await store.addRecipient(bob.publicKey, "robert", signal);

    expect(await readFile(places.recipientsFile, "utf8")).toBe(before);
    expect(await opens(places.store, bob.identity)).toBe(true);
  });

  test.each(["bob", "the key"])(
    "one that was removed by %s can't read later values, and we are told what it may have kept",
    async (by) => {
      const { store, places, events } = await openStore();
      const bob = await teammate();
      await put(store, "slack", "canary-1");
      await put(store, "github/token", "canary-2");
      await store.addRecipient(bob.publicKey, "bob", signal);
      events.length = 0;

      const removed = await store.removeRecipient(by === "bob" ? "bob" : bob.publicKey, signal);

      expect(removed).toBe(true);
      expect(await opens(places.store, bob.identity)).toBe(false);
      expect(await store.recipients()).toHaveLength(1);
      expect(events).toEqual([
        {
          type: "warning",
          message: `${by === "bob" ? "bob" : bob.publicKey} can't read later values, but may have kept a copy of these: local:github/token, local:slack`,
          hint: "rotating each of them at its issuer",
        },
      ]);
      await put(store, "slack", "canary-3");
      expect(await opens(places.store, bob.identity)).toBe(false);
    },
  );

  test("removing somebody who is not there says so and writes nothing", async () => {
    const { store, places } = await openStore();
    await put(store, "entry", "canary-1");
    const before = await readFile(places.store);

    expect(await store.removeRecipient("nobody", signal)).toBe(false);
    expect(await readFile(places.store)).toEqual(before);
  });

  test("our own key is not removed", async () => {
    const { store } = await openStore({ loginName: () => "ada" });
    await put(store, "entry", "canary-1");

    const refusal = await refusalOf(store.removeRecipient("ada", signal));

    expect(refusal).toMatchObject({ failure: "invalid", reason: "this is the key of this machine itself" });
    expect(await read(store, "entry")).toBe("canary-1");
  });

  test("two with the same label are removed by key only", async () => {
    const { store, places } = await openStore();
    const [one, two] = [await teammate(), await teammate()];
    await put(store, "entry", "canary-1");
    await store.addRecipient(one.publicKey, "ci", signal);
    await store.addRecipient(two.publicKey, "ci", signal);

    const refusal = await refusalOf(store.removeRecipient("ci", signal));
    await store.removeRecipient(one.publicKey, signal);

    expect(refusal.reason).toBe('2 recipients have the label "ci"');
    expect([await opens(places.store, one.identity), await opens(places.store, two.identity)]).toEqual([
      false,
      true,
    ]);
  });

  test.each([
    [
      "an SSH key",
      "ssh-ed25519 AAAAC3Nza",
      "this is no public key of the kind age1…, the only one we can use",
    ],
    ["a post-quantum key", "age1pq1qqqq", "this is no public key of the kind age1…, the only one we can use"],
    ["a private key", "AGE-SECRET-KEY-1CANARY", "this is a private key"],
  ])("%s is refused and not repeated", async (_, key, reason) => {
    const { store } = await openStore();

    const refusal = await refusalOf(store.addRecipient(key, undefined, signal));

    expect(refusal).toMatchObject({ failure: "invalid", reason });
    expect(`${refusal.message}${refusal.hint}`).not.toContain(key);
  });

  test.each(["", " bob", "#bob", "bo\nb", "b".repeat(101)])("the label %j is refused", async (label) => {
    const { store } = await openStore();
    const bob = await teammate();

    expect(await refusalOf(store.addRecipient(bob.publicKey, label, signal))).toMatchObject({
      failure: "invalid",
    });
  });
});

describe("the pinned list", () => {
  test("is what a write encrypts for, whatever the ciphertext says", async () => {
    const { store, places, events } = await openStore();
    await put(store, "entry", "canary-1");
    const [own] = await store.recipients();
    const mallory = await teammate();
    const plaintext = await decrypted(places.store, places.identityFile);
    const encrypter = new Encrypter();
    for (const key of [own!.publicKey, mallory.publicKey]) encrypter.addRecipient(key);
    await writeFile(places.store, await encrypter.encrypt(plaintext));
    events.length = 0;

    await put(store, "entry", "canary-2");

    expect(await opens(places.store, mallory.identity)).toBe(false);
    expect(events).toEqual([
      {
        type: "warning",
        message: `${places.store} was encrypted for 2 keys; from now on it is for the 1 key in ${places.recipientsFile}`,
        hint: "mcp-run secrets recipients, to see who they are",
      },
    ]);
  });

  test("a writer of a shared store that has no list is refused, so that nobody is locked out", async () => {
    const { store, places } = await openStore();
    const ci = await teammate();
    await put(store, "entry", "canary-1");
    await store.addRecipient(ci.publicKey, "ci", signal);
    const before = await readFile(places.store);
    const onCi = await openStore({ settings: { file: places.store }, env: { MCP_RUN_AGE_KEY: ci.identity } });

    const refusal = await refusalOf(put(onCi.store, "entry", "canary-2"));

    expect(refusal).toMatchObject({
      failure: "denied",
      reason: `${places.store} is shared by 2 keys, and the list of them, ${onCi.places.recipientsFile}, does not exist`,
    });
    expect(await readFile(places.store)).toEqual(before);
    expect(await read(onCi.store, "entry")).toBe("canary-1");
  });

  test("may be a file that the team shares", async () => {
    const repository = await temporaryDirectory();
    const settings = {
      file: join(repository, "secrets.age"),
      recipients: join(repository, "recipients.txt"),
    };
    const [ada, bob] = [await openStore({ settings }), await teammate()];
    await put(ada.store, "entry", "canary-1");
    await ada.store.addRecipient(bob.publicKey, "bob", signal);

    const bobs = await openStore({ settings, env: { MCP_RUN_AGE_KEY: bob.identity } });
    await put(bobs.store, "entry", "canary-2");

    expect(await read(ada.store, "entry")).toBe("canary-2");
    expect((await bobs.store.recipients()).map(({ own }) => own)).toEqual([false, true]);
  });

  test("our own key is a recipient even if the list does not name it", async () => {
    const { store, places } = await openStore();
    const bob = await teammate();
    await put(store, "entry", "canary-1");
    await writeFile(places.recipientsFile, `${bob.publicKey}\n`);

    await put(store, "entry", "canary-2");

    expect(await read(store, "entry")).toBe("canary-2");
    expect(await opens(places.store, bob.identity)).toBe(true);
    expect((await store.recipients()).map(({ own }) => own)).toEqual([false, true]);
  });

  test("keeps comments, order and blank lines of whoever edits it by hand", async () => {
    const { store, places } = await openStore();
    await put(store, "entry", "canary-1");
    const [own] = await store.recipients();
    const [bob, ci] = [await teammate(), await teammate()];
    const text = `# Our team\n\n# ada\n${own?.publicKey}\n# bob, laptop\n${bob.publicKey}\n\n# end of the list\n`;
    await writeFile(places.recipientsFile, text);

    await store.addRecipient(ci.publicKey, "ci", signal);
    const added = await readFile(places.recipientsFile, "utf8");
    await store.removeRecipient("bob, laptop", signal);
    const removed = await readFile(places.recipientsFile, "utf8");

    expect(added).toBe(`${text}\n# ci\n${ci.publicKey}\n`);
    expect(removed).toBe(added.replace(`# bob, laptop\n${bob.publicKey}\n`, ""));
  });

  test("a line that is no key is told by its number", async () => {
    const { store, places } = await openStore();
    await put(store, "entry", "canary-1");
    await writeFile(places.recipientsFile, "# team\nssh-ed25519 AAAA\n");

    const refusal = await refusalOf(put(store, "entry", "canary-2"));

    expect(refusal).toMatchObject({
      failure: "invalid",
      reason: `${places.recipientsFile}:2 is no public key of the kind age1…`,
    });
    expect(await read(store, "entry")).toBe("canary-1");
  });

  test.runIf(process.platform !== "win32")(
    "that others can write is refused by a write, not by a read",
    async () => {
      const { store, places } = await openStore();
      await put(store, "entry", "canary-1");
      await chmod(places.recipientsFile, 0o606);

      const refusal = await refusalOf(put(store, "entry", "canary-2"));

      expect(refusal).toMatchObject({
        failure: "denied",
        reason: `others can write the list of recipients ${places.recipientsFile}`,
      });
      expect(await read(store, "entry")).toBe("canary-1");
    },
  );

  test.runIf(process.platform !== "win32")("keeps its mode when it is edited", async () => {
    const { store, places } = await openStore();
    await put(store, "entry", "canary-1");
    await chmod(places.recipientsFile, 0o644);

    await store.addRecipient((await teammate()).publicKey, "bob", signal);

    expect((await stat(places.recipientsFile)).mode & 0o777).toBe(0o644);
  });
});

describe("rekey", () => {
  test.each([
    ["file", undefined],
    ["keychain", inMemoryKeychain()],
  ])("gives us a new identity in the %s and lists what must be rotated", async (_, keychain) => {
    const { store, places } = await openStore({ ...(keychain && { keychain }), loginName: () => "ada" });
    const bob = await teammate();
    await put(store, "slack", "canary-1");
    await put(store, "github/token", "canary-2");
    await store.addRecipient(bob.publicKey, "bob", signal);
    const oldKey = (await store.recipients())[0]?.publicKey;
    const oldIdentity = firstIdentity(await identityText(places, keychain));

    const { mustRotate } = await store.rekey(signal);

    expect(mustRotate).toEqual(["github/token", "slack"]);
    expect(await opens(places.store, oldIdentity)).toBe(false);
    expect(await opens(places.store, firstIdentity(await identityText(places, keychain)))).toBe(true);
    expect(await opens(places.store, bob.identity)).toBe(true);
    expect(await read(store, "slack")).toBe("canary-1");
    const recipients = await store.recipients();
    expect(recipients).toMatchObject([
      { label: "ada", own: true },
      { label: "bob", own: false },
    ]);
    expect(recipients[0]?.publicKey).not.toBe(oldKey);
  });

  test("keeps the former identities, so that a backup from before opens", async () => {
    const { store, places } = await openStore();
    await put(store, "entry", "canary-1");
    const backup = await readFile(places.store);
    for (let round = 0; round < 4; round++) await store.rekey(signal);

    await writeFile(places.store, backup);

    expect(await read(store, "entry")).toBe("canary-1");
    const text = await readFile(places.identityFile, "utf8");
    expect(text.match(/^AGE-SECRET-KEY-1/gm)).toHaveLength(5);
    expect((await stat(places.identityFile)).mode & 0o777).toBe(0o600);
  });

  test("that broke off after the new identity was kept leaves everything readable, and can be repeated", async () => {
    const { store, places } = await openStore({ loginName: () => "ada" });
    await put(store, "entry", "canary-1");
    const before = await readFile(places.store);
    const pinned = await readFile(places.recipientsFile);
    const oldIdentity = firstIdentity(await readFile(places.identityFile, "utf8"));
    await store.rekey(signal);
    await writeFile(places.store, before);
    await writeFile(places.recipientsFile, pinned);

    expect(await read(store, "entry")).toBe("canary-1");
    await store.rekey(signal);

    expect(await read(store, "entry")).toBe("canary-1");
    expect(await opens(places.store, firstIdentity(await readFile(places.identityFile, "utf8")))).toBe(true);
    expect(await opens(places.store, oldIdentity)).toBe(false);
    expect(await store.recipients()).toMatchObject([{ label: "ada", own: true }]);
  });

  test.each([
    ["MCP_RUN_AGE_KEY", {}],
    ["env:TEAM_AGE_KEY", { identity: "env:TEAM_AGE_KEY" }],
  ])("can't replace an identity that comes from %s", async (where, settings) => {
    const { identity } = await teammate();
    const env = { MCP_RUN_AGE_KEY: identity };
    const { store, places } = await openStore({ settings, env, refs: { "env:TEAM_AGE_KEY": identity } });
    await put(store, "entry", "canary-1");
    const before = await readFile(places.store);

    const refusal = await refusalOf(store.rekey(signal));

    expect(refusal).toMatchObject({
      failure: "invalid",
      reason: `our identity comes from ${where}, where it can't be replaced`,
    });
    expect(await readFile(places.store)).toEqual(before);
  });
});

describe("a store with a passphrase", () => {
  const settings = { passphrase: "env:STORE_PASSPHRASE" };
  const refs = { "env:STORE_PASSPHRASE": "canary-correct horse" };

  test("opens with it and nothing else, here and in the age library", async () => {
    const { store, home, places } = await openStore({ settings, refs });
    await put(store, "entry", "canary-1");
    const wrong = await openStore({ home, settings, refs: { "env:STORE_PASSPHRASE": "canary-wrong" } });
    const decrypter = new Decrypter();
    decrypter.addPassphrase("canary-correct horse");

    const refusal = await refusalOf(read(wrong.store, "entry"));

    expect(await read(store, "entry")).toBe("canary-1");
    expect(await decrypter.decrypt(await readFile(places.store), "text")).toContain("canary-1");
    expect(refusal).toMatchObject({
      failure: "denied",
      reason: `the passphrase from env:STORE_PASSPHRASE does not open ${places.store}`,
    });
    await expect(stat(dirname(places.identityFile))).rejects.toThrow("ENOENT");
  });

  test("has no recipients", async () => {
    const { store } = await openStore({ settings, refs });
    const bob = await teammate();

    const refusals = [
      store.recipients(),
      store.addRecipient(bob.publicKey, "bob", signal),
      store.removeRecipient("bob", signal),
      store.rekey(signal),
    ].map(refusalOf);

    for (const refusal of await Promise.all(refusals)) {
      expect(refusal.failure).toBe("invalid");
      expect(refusal.reason).toContain("is encrypted with a passphrase, so it has no recipients");
    }
  });

  test("and one with keys are told apart", async () => {
    const keys = await openStore();
    await put(keys.store, "entry", "canary-1");
    const withPassphrase = await openStore({ home: keys.home, settings, refs });
    const reading = await refusalOf(read(withPassphrase.store, "entry"));
    const writing = await refusalOf(put(withPassphrase.store, "entry", "canary-2"));
    await rm(keys.places.store);
    await put(withPassphrase.store, "entry", "canary-3");

    const other = await refusalOf(read(keys.store, "entry"));

    expect([reading.failure, writing.failure, other.failure]).toEqual(["denied", "denied", "denied"]);
    expect(reading.reason).toBe(`${keys.places.store} is encrypted for public keys, not with a passphrase`);
    expect(other).toMatchObject({
      reason: `${keys.places.store} is encrypted with a passphrase`,
      hint: "passphrase: REF in the settings of local",
    });
  });

  test("refuses an empty passphrase before anything is written", async () => {
    const { store, places } = await openStore({ settings, refs: { "env:STORE_PASSPHRASE": "" } });

    const refusal = await refusalOf(put(store, "entry", "canary-1"));

    expect(refusal.reason).toBe("the passphrase from env:STORE_PASSPHRASE is empty");
    await expect(stat(places.store)).rejects.toThrow("ENOENT");
  });

  test("refuses a file that would take too much memory and time to open", async () => {
    const { store, places } = await openStore({ settings, refs });
    const salt = Buffer.alloc(16).toString("base64").replace(/=+$/, "");
    const body = Buffer.alloc(32).toString("base64").replace(/=+$/, "");
    await mkdir(dirname(places.store), { recursive: true });
    await writeFile(places.store, `age-encryption.org/v1\n-> scrypt ${salt} 21\n${body}\n--- ${body}\n`);

    expect(await refusalOf(read(store, "entry"))).toMatchObject({
      failure: "invalid",
      reason: `${places.store} can't be read: its passphrase has the scrypt work factor 21, more than 20`,
    });
  });
});

async function decrypted(file: string, identityFile: string): Promise<Uint8Array> {
  const decrypter = new Decrypter();
  decrypter.addIdentity(firstIdentity(await readFile(identityFile, "utf8")));
  return decrypter.decrypt(await readFile(file));
}

async function identityText(
  places: { identityFile: string; keychainItem: string },
  keychain?: ReturnType<typeof inMemoryKeychain>,
): Promise<string> {
  return keychain ? (keychain.items.get(places.keychainItem) ?? "") : readFile(places.identityFile, "utf8");
}

function firstIdentity(text: string): string {
  return /^AGE-SECRET-KEY-1[0-9A-Z]+$/m.exec(text)?.[0] ?? "";
}
