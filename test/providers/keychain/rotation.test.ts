/** What is special about versions and rotations in a keychain; what every store promises is in ../keychain.test.ts. */
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { keychainKind } from "../../../providers/keychain.ts";
import { ProviderError } from "../../../src/errors.ts";
import { Secret } from "../../../src/secrets/secret.ts";
import { testContext } from "../../helpers/provider-context.ts";
import { read, revealed, settled } from "../contract.ts";
import { type InMemoryKeyring, inMemoryKeyring } from "../in-memory-keyring.ts";

const MARK = {
  rotationId: "rotation-1",
  operator: "alice@laptop",
  createdAt: new Date("2026-03-04T05:06:07Z"),
};
const KEY = { path: "github/alice" };
const never = () => new AbortController().signal;

let home: string;
let keyring: InMemoryKeyring;

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "mcp-run-keychain-"));
  keyring = inMemoryKeyring();
});

afterEach(() => rm(home, { recursive: true, force: true }));

function open(overrides: Parameters<typeof testContext>[0] = {}) {
  const env = { HOME: home, DBUS_SESSION_BUS_ADDRESS: "unix:path=/nonexistent/bus" };
  const context = testContext({
    home,
    env,
    platform: "linux",
    runProgram: keyring.runProgram,
    ...overrides,
  });
  return keychainKind.open({}, context);
}

const services = () => [...keyring.items.keys()].map((key) => key.split("\n")[0]).sort();

describe("the name of a version in a keychain", () => {
  it("is the same in every process, and for every way to write the ref", async () => {
    const { version } = await (await open()).put({ path: "github" }, new Secret("canary"), never());

    expect(await read(await open(), { path: "github/tester" })).toMatchObject({ version });
  });

  it("tells the values of one entry apart, and says nothing of two entries with one value", async () => {
    const store = await open();
    const versions = [
      await store.put({ path: "a" }, new Secret("canary-1"), never()),
      await store.put({ path: "a" }, new Secret("canary-2"), never()),
      await store.put({ path: "b" }, new Secret("canary-2"), never()),
    ].map(({ version }) => version);

    expect(new Set(versions).size).toBe(3);
    expect((await store.put({ path: "a" }, new Secret("canary-1"), never())).version).toBe(versions[0]);
  });

  it("changes when another program has changed the item", async () => {
    const store = await open();
    const { version } = await store.put(KEY, new Secret("canary-ours"), never());

    keyring.items.set("github\nalice", "canary-theirs");

    expect(await store.currentVersion(KEY, never())).not.toBe(version);
    expect(await settled(store.put(KEY, new Secret("canary-late"), never(), { version }))).toMatchObject({
      failure: "conflict",
    });
  });

  it("can't be made without the key that lies in the keychain", async () => {
    const store = await open();
    const { version } = await store.put(KEY, new Secret("canary"), never());
    expect(keyring.items.get("mcp-run key\nversions")).toMatch(/^[0-9a-f]{64}$/);

    keyring.items.set("mcp-run key\nversions", "another");

    expect(await store.currentVersion(KEY, never())).not.toBe(version);
  });

  it("is not given by a mere read of a keychain that has no key yet, which writes nothing", async () => {
    keyring.items.set("github\nalice", "canary-of-another-program");
    const store = await open();

    expect(await read(store, KEY)).not.toHaveProperty("version");
    expect(services()).toEqual(["github"]);

    const version = await store.currentVersion(KEY, never());
    expect(version).toMatch(/^k[0-9a-f]{32}$/);
    expect(await read(await open(), KEY)).toMatchObject({ version });
  });

  it("is given to items of other programs too, which have no earlier ones", async () => {
    keyring.credentials.set("git:https://example.com", { account: "alice", password: "canary-win" });
    keyring.items.set("mcp-run key\nversions", "key");
    const store = await open({ platform: "win32" });
    const ref = { path: "git", target: "git:https://example.com" };

    const found = await read(store, ref);

    expect(await store.currentVersion(ref, never())).toBe((found as { version: string }).version);
  });
});

describe("a version that a ref names", () => {
  it("is the current value or the one before, and no other", async () => {
    const store = await open();
    const { version: old } = await store.put(KEY, new Secret("canary-old"), never());
    await store.putCandidate(KEY, new Secret("canary-new"), MARK, never());
    const { version } = await store.promote(KEY, "rotation-1", old, never());
    const refs = [old, version, "k0"].map((wanted) => ({ ...KEY, version: wanted }));

    const answers = [...(await store.fetch(refs, never())).values()];

    expect(answers.slice(0, 2).map(revealed)).toEqual(["canary-old", "canary-new"]);
    expect(answers[2]).toMatchObject({ failure: "missing", reason: expect.stringContaining("version k0") });
    expect(await settled(store.remove({ ...KEY, version }, never()))).toMatchObject({ failure: "invalid" });
  });
});

describe("what mcp-run keeps beside an item", () => {
  it("goes when the item is removed, but for the candidate of a rotation", async () => {
    const store = await open();
    const { version } = await store.put(KEY, new Secret("canary-1"), never());
    await store.putCandidate(KEY, new Secret("canary-2"), MARK, never());
    await store.promote(KEY, "rotation-1", version, never());
    await store.putCandidate(KEY, new Secret("canary-3"), { ...MARK, rotationId: "rotation-2" }, never());

    expect(await store.remove(KEY, never())).toBe(true);

    expect(services()).toEqual(["mcp-run candidate", "mcp-run candidate value", "mcp-run key"]);
    expect(await store.list(never())).toEqual([]);
  });

  it.each([
    { path: "mcp-run candidate value/github" },
    { path: "bar.mcp-run candidate value/github" },
    { path: "x", attributes: { service: "mcp-run candidate value", username: "github" } },
    { path: "x", target: "github.mcp-run candidate value" },
  ])("is led to by no ref: %j", (ref) => {
    expect(keychainKind.refSchema.safeParse(ref)).toMatchObject({ success: false });
    expect(keychainKind.refSchema.safeParse({ path: "mcp-run/local-identity-1" }).success).toBe(true);
  });

  it("is said to be damaged when it is, and then nothing is overwritten", async () => {
    keyring.items.set("mcp-run candidate\ngithub/alice", "no JSON, canary");

    const refused = await settled((await open()).putCandidate(KEY, new Secret("canary-new"), MARK, never()));

    expect(refused).toMatchObject({
      failure: "invalid",
      reason: "the keychain's note of a candidate is damaged",
      hint: expect.stringContaining('"mcp-run candidate"'),
    });
    expect(keyring.items.get("mcp-run candidate\ngithub/alice")).toBe("no JSON, canary");
  });

  it("is not made for a step that is refused", async () => {
    const store = await open();

    expect(await store.discard(KEY, "rotation-1", never())).toBe(false);
    expect(await store.retire(KEY, "k1", never())).toBe(false);
    expect(await settled(store.promote(KEY, "rotation-1", undefined, never()))).toBeInstanceOf(ProviderError);

    expect([...keyring.items]).toEqual([]);
  });
});

describe("an item that mcp-run can't read", () => {
  it("is overwritten and removed all the same when it is no text", async () => {
    const store = await open();
    const Broken = class extends keyring.library.Entry {
      override getPassword(): string | null {
        const value = super.getPassword();
        if (value === "bytes") throw new Error("Password data is not valid UTF-8");
        return value;
      }
    };
    Object.assign(keyring.library, { Entry: Broken });
    keyring.items.set("github\nalice", "bytes");

    expect(await store.remove(KEY, never())).toBe(true);
    keyring.items.set("github\nalice", "bytes");
    await store.put(KEY, new Secret("canary"), never());

    expect(revealed(await read(store, KEY))).toBe("canary");
  });
});

describe("a write that is broken off", () => {
  /** Cuts the power after each number of writes in turn, until the step goes through. */
  const cutEverywhere = async (
    prepare: (store: Awaited<ReturnType<typeof open>>) => Promise<string>,
    step: (store: Awaited<ReturnType<typeof open>>, version: string) => Promise<unknown>,
    check: (store: Awaited<ReturnType<typeof open>>, version: string, isDone: boolean) => Promise<void>,
  ) => {
    for (let writes = 0; ; writes++) {
      keyring = inMemoryKeyring();
      const store = await open();
      const version = await prepare(store);
      keyring.writesLeft = writes;
      const outcome = await settled(step(store, version));
      keyring.writesLeft = undefined;
      const isDone = !(outcome instanceof Error);
      await check(store, version, isDone);
      if (isDone) return writes;
    }
  };
  const candidatePut = async (store: Awaited<ReturnType<typeof open>>) => {
    const { version } = await store.put(KEY, new Secret("canary-old"), never());
    await store.putCandidate(KEY, new Secret("canary-new"), MARK, never());
    return version;
  };

  it("of a promotion leaves one of the two values, and is finished by the next", async () => {
    const writes = await cutEverywhere(
      candidatePut,
      (store, version) => store.promote(KEY, "rotation-1", version, never()),
      async (store, version) => {
        expect(["canary-old", "canary-new"]).toContain(revealed(await read(store, KEY)));
        const promoted = await store.promote(KEY, "rotation-1", version, never());
        expect(await read(store, KEY)).toMatchObject(promoted);
        expect(revealed(await read(store, KEY))).toBe("canary-new");
        expect(revealed(await read(store, { ...KEY, version }))).toBe("canary-old");
        expect(await store.findCandidate(KEY, never())).toBeUndefined();
        expect([...keyring.items.keys()].filter((key) => key.includes("candidate"))).toEqual([]);
      },
    );

    expect(writes).toBe(6);
  });

  it("of a candidate shows none or a whole one", async () => {
    const writes = await cutEverywhere(
      async (store) => (await store.put(KEY, new Secret("canary-old"), never())).version,
      (store) => store.putCandidate(KEY, new Secret("canary-new"), MARK, never()),
      async (store, _version, isDone) => {
        const found = await store.findCandidate(KEY, never());
        expect(found !== undefined).toBe(isDone);
        await store.discard(KEY, "rotation-1", never());
        expect([...keyring.items.values()]).not.toContain("canary-new");
      },
    );

    expect(writes).toBe(2);
  });

  it("of a discard is finished by the next", async () => {
    await cutEverywhere(
      candidatePut,
      (store) => store.discard(KEY, "rotation-1", never()),
      async (store) => {
        await store.discard(KEY, "rotation-1", never());
        expect(await store.findCandidate(KEY, never())).toBeUndefined();
        expect([...keyring.items.values()]).not.toContain("canary-new");
      },
    );
  });
});

describe("the lock of those who write", () => {
  it("is in the state directory, and gone afterwards", async () => {
    await (await open()).put(KEY, new Secret("canary"), never());

    expect(await readdir(join(home, "state"))).toEqual([]);
  });

  it("that can't be made stops the write, and says where", async () => {
    const store = await open({ home: "/dev/null" });

    expect(await settled(store.put(KEY, new Secret("canary"), never()))).toMatchObject({
      failure: "unavailable",
      reason: "the lock /dev/null/state/keychain.lock can't be made (ENOTDIR)",
    });
    expect([...keyring.items]).toEqual([]);
  });

  it("is waited for, and given up when the write is aborted", async () => {
    await mkdir(join(home, "state", "keychain.lock"), { recursive: true });
    const abort = new AbortController();
    const reason = new Error("enough");
    const write = (await open()).put(KEY, new Secret("canary"), abort.signal);

    setImmediate(() => abort.abort(reason));

    await expect(write).rejects.toBe(reason);
    expect([...keyring.items]).toEqual([]);
  });
});

describe("the limit of Windows", () => {
  it("holds for a candidate too", async () => {
    const store = await open({ platform: "win32" });

    expect(
      await settled(store.putCandidate(KEY, new Secret("x".repeat(1_281)), MARK, never())),
    ).toMatchObject({ failure: "invalid", reason: expect.stringContaining("2,560 bytes") });
    expect([...keyring.items]).toEqual([]);
  });
});
