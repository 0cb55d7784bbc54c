/** What is special about a rotation in the local store; what every store promises is in contract.test.ts. */
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { Decrypter, Encrypter } from "age-encryption";
import { describe, expect, it } from "vitest";
import { Secret } from "../../../src/secrets/secret.ts";
import { get, openStore, put, read, refusalOf, signal } from "./open-store.ts";

const MARK = {
  rotationId: "rotation-1",
  operator: "alice@laptop",
  createdAt: new Date("2026-03-04T05:06:07Z"),
};

describe("a candidate in the local store", () => {
  it("is encrypted like the entries, and leaves no trace when it is discarded", async () => {
    const { store, places } = await openStore();
    await put(store, "github/token", "canary-old");
    const identity = /^AGE-SECRET-KEY-1.+$/m.exec(await readFile(places.identityFile, "utf8"))?.[0] ?? "";
    const document = async () => {
      const decrypter = new Decrypter();
      decrypter.addIdentity(identity);
      return JSON.parse(await decrypter.decrypt(await readFile(places.store), "text"));
    };

    await store.putCandidate({ path: "github/token" }, new Secret("canary-new"), MARK, signal);

    expect((await readFile(places.store)).toString("latin1")).not.toMatch(/canary|alice|rotation-1/);
    expect((await document()).candidates["github/token"]).toMatchObject({ operator: "alice@laptop" });
    await store.discard({ path: "github/token" }, "rotation-1", signal);
    expect(await document()).not.toHaveProperty("candidates");
  });

  it("keeps its version's name when it is promoted", async () => {
    const { store } = await openStore();
    const old = await put(store, "key", "canary-old");
    const { version } = await store.putCandidate({ path: "key" }, new Secret("canary-new"), MARK, signal);

    expect(await get(store, "key", version)).toMatchObject({ failure: "missing" });
    expect(await store.promote({ path: "key" }, "rotation-1", old, signal)).toEqual({ version });
    expect(await read(store, "key", version)).toBe("canary-new");
  });

  it("outlives the removal of its entry, and other writes", async () => {
    const { store } = await openStore();
    await put(store, "key", "canary-old");
    await store.putCandidate({ path: "key" }, new Secret("canary-new"), MARK, signal);

    await store.remove({ path: "key" }, signal);
    await put(store, "other", "canary-other");

    expect(await store.findCandidate({ path: "key" }, signal)).toMatchObject(MARK);
    expect(await store.rekey(signal)).toEqual({ mustRotate: ["key", "other"] });
  });

  it("may be of an entry whose name means something to JavaScript", async () => {
    const { store } = await openStore();
    const ref = { path: "__proto__" };

    expect(await store.findCandidate(ref, signal)).toBeUndefined();
    await store.putCandidate(ref, new Secret("canary"), MARK, signal);

    expect(await store.findCandidate(ref, signal)).toMatchObject(MARK);
    expect(await store.discard(ref, "rotation-1", signal)).toBe(true);
  });

  it("that is malformed makes the store invalid rather than lost", async () => {
    const { store, places } = await openStore();
    await put(store, "key", "canary-kept");
    const [own] = await store.recipients();
    const encrypter = new Encrypter();
    encrypter.addRecipient(own?.publicKey ?? "");
    const document = { format: "mcp-run store", version: 1, entries: {}, candidates: { key: { id: 1 } } };
    await writeFile(places.store, await encrypter.encrypt(JSON.stringify(document)));

    const refusal = await refusalOf(store.findCandidate({ path: "key" }, signal));

    expect(refusal.reason).toContain('its candidate of "key" is malformed');
  });
});

describe("what a rotation does not do", () => {
  it("makes no store, no identity and no folder where there was none", async () => {
    const { store, places } = await openStore();
    const ref = { path: "key" };

    expect(await store.discard(ref, "rotation-1", signal)).toBe(false);
    expect(await store.retire(ref, "v1", signal)).toBe(false);
    expect((await refusalOf(store.promote(ref, "rotation-1", undefined, signal))).failure).toBe("missing");
    expect((await refusalOf(store.restore(ref, "v1", "v2", signal))).failure).toBe("conflict");

    expect([places.store, places.identityFile].map(existsSync)).toEqual([false, false]);
  });

  it("leaves a leaked value readable under no other version", async () => {
    const { store } = await openStore();
    const leaked = await put(store, "key", "canary-leaked");
    const meanwhile = await put(store, "key", "canary-meanwhile");
    const { version: again } = await store.restore({ path: "key" }, leaked, meanwhile, signal);
    const current = await put(store, "key", "canary-new");

    expect(await store.retire({ path: "key" }, again, signal)).toBe(true);

    expect(await get(store, "key", leaked)).toMatchObject({ failure: "missing" });
    expect(await read(store, "key", meanwhile)).toBe("canary-meanwhile");
    expect(await read(store, "key", current)).toBe("canary-new");
  });

  it("writes no candidate that the store could not keep", async () => {
    const { store } = await openStore();
    const tooLong = new Secret(`canary-${"x".repeat(2 ** 20)}`);

    expect(await refusalOf(store.putCandidate({ path: "key" }, tooLong, MARK, signal))).toMatchObject({
      failure: "invalid",
    });
    expect(await store.findCandidate({ path: "key" }, signal)).toBeUndefined();
  });

  it("puts no candidate beside a single version, whose change check is itself", async () => {
    const { store } = await openStore();
    const version = await put(store, "key", "canary-old");

    const refusal = await refusalOf(
      store.putCandidate({ path: "key", version }, new Secret("canary-new"), MARK, signal),
    );

    expect(refusal).toMatchObject({ failure: "invalid", hint: "the same without version:" });
    expect(await store.currentVersion({ path: "key", version }, signal)).toBe(version);
    expect(await store.currentVersion({ path: "key", version: "v0" }, signal)).toBeUndefined();
  });
});
