/**
 * What is special about a rotation in Key Vault: no check-and-set, so somebody may write between our look and our
 * write; no staging, so candidates lie in a side secret that is never deleted; and a crash at any point.
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AzureRef } from "../../../providers/azure/settings.ts";
import { type Clock, systemClock } from "../../../src/clock.ts";
import type { CandidateMark, RotatableStore } from "../../../src/secrets/provider.ts";
import { Secret } from "../../../src/secrets/secret.ts";
import { VirtualClock } from "../../helpers/virtual-clock.ts";
import { expectConflict, read, revealed, settled } from "../contract.ts";
import { AzureRoom, never } from "./open.ts";

const DAY_S = 24 * 3600;
const KEY: AzureRef = { path: "key" };
const SIDE = "key-mcp-run-pending";
const MARK: CandidateMark = {
  rotationId: "r-1",
  operator: "alice@laptop",
  createdAt: new Date("2026-03-04T05:06:07Z"),
};

/** As long as a request may take, and not a pause. */
const LIMIT_MS = 10_000;

/** Pauses are twenty times as short, since somebody who never steps back is waited for some seconds. Limits are not. */
function hurried(): Clock {
  let passed = 0;
  return {
    now: systemClock.now,
    // What was paused for, and not how long it took.
    monotonic: () => passed,
    after(ms, callback, options) {
      if (ms >= LIMIT_MS) return systemClock.after(ms, callback, options);
      const end = passed + ms;
      const pass = () => {
        passed = Math.max(passed, end);
        callback();
      };
      return systemClock.after(ms / 20, pass, options);
    },
  };
}

let room: AzureRoom;
let store: RotatableStore<AzureRef>;

beforeEach(async () => {
  room = await AzureRoom.start();
  store = await room.open({}, { clock: hurried() });
});

afterEach(() => room.stop());

const secret = (text: string) => new Secret(text);
const value = async () => revealed(await read(store, KEY));
const current = () => room.vault.versions("key").at(-1);
const enabled = (name: string) => room.vault.versions(name).filter((version) => version.enabled !== false);
const puts = () => room.vault.requests.filter(({ method }) => method === "PUT").length;

async function promote(planned = current()?.id): Promise<string> {
  await store.putCandidate(KEY, secret("canary-new"), MARK, never());
  return (await store.promote(KEY, "r-1", planned, never())).version;
}

describe("a new version", () => {
  it("keeps the content type and the owner's tags, and bears the rotation's mark", async () => {
    room.vault.add("key", { value: "canary-old", contentType: "text/plain", tags: { team: "platform" } });

    await promote();

    expect(current()).toMatchObject({
      value: "canary-new",
      contentType: "text/plain",
      tags: { team: "platform", "mcp-run-rotation": "r-1" },
    });
  });

  it("lives as long as the one before did, from now on", async () => {
    const old = room.vault.add("key", {
      value: "canary-old",
      exp: Math.floor(Date.now() / 1000) + 30 * DAY_S,
    });

    await promote(old);

    const { exp = 0, created = 0 } = current() ?? {};
    expect(Math.abs(exp - created - 30 * DAY_S)).toBeLessThan(120);
  });

  it("does not keep a life that has ended before it began", async () => {
    room.vault.add("key", { value: "canary-old", exp: 1_000 });

    await promote();

    expect(current()).not.toHaveProperty("exp");
  });

  it("carries no mark of an earlier rotation", async () => {
    room.vault.add("key", {
      value: "canary-old",
      tags: { "mcp-run-rotation": "r-0", "mcp-run-restored": "x", team: "a" },
    });

    await store.put(KEY, secret("canary-set"), never());

    expect(current()?.tags).toEqual({ team: "a" });
  });

  it("is refused where the owner's tags leave no room for the mark", async () => {
    const tags = Object.fromEntries(Array.from({ length: 15 }, (_, index) => [`tag-${index}`, "x"]));
    room.vault.add("key", { value: "canary-old", tags });

    expect(await settled(promote())).toMatchObject({
      failure: "invalid",
      reason: expect.stringContaining("15 tags"),
    });
    expect(await value()).toBe("canary-old");
  });

  it("is refused for the secret of a certificate", async () => {
    room.vault.add("key", { value: "canary-pkcs12", kid: "https://kv/keys/key/1" });

    for (const outcome of [store.put(KEY, secret("canary-set"), never()), promote()].map(settled)) {
      expect(await outcome).toMatchObject({
        failure: "invalid",
        reason: expect.stringContaining("belongs to a certificate"),
      });
    }
    expect(await value()).toBe("canary-pkcs12");
  });
});

describe("a secret that somebody has switched off", () => {
  it("can be replaced all the same", async () => {
    const leaked = room.vault.add("key", { value: "canary-leaked", enabled: false });

    expect(await store.currentVersion(KEY, never())).toBe(leaked);
    await promote(leaked);

    expect(await value()).toBe("canary-new");
  });
});

describe("somebody who writes between our look and our write", () => {
  /** Once, right before our new version of `key` is stored. */
  const meanwhile = (name: string, write: () => void) => {
    let isDone = false;
    room.vault.beforeSet = (written) => {
      if (written !== name || isDone) return;
      isDone = true;
      write();
    };
  };

  it("has the last word against a promotion", async () => {
    const old = room.vault.add("key", { value: "canary-old" });
    await store.putCandidate(KEY, secret("canary-new"), MARK, never());
    meanwhile("key", () =>
      room.vault.add("key", { value: "canary-theirs", tags: { team: "x" }, contentType: "a/b" }),
    );

    expectConflict(await settled(store.promote(KEY, "r-1", old, never())));

    expect(await value()).toBe("canary-theirs");
    expect(current()).toMatchObject({ tags: { team: "x" }, contentType: "a/b" });
    expect(room.vault.readableValues().filter((text) => text === "canary-new")).toHaveLength(1);
    expect(await store.findCandidate(KEY, never())).toMatchObject(MARK);
  });

  it("has the last word against a conditional write, and against a restore", async () => {
    const old = room.vault.add("key", { value: "canary-old" });
    meanwhile("key", () => room.vault.add("key", { value: "canary-theirs" }));
    expectConflict(await settled(store.put(KEY, secret("canary-set"), never(), { version: old })));
    expect(await value()).toBe("canary-theirs");

    const planned = current()?.id ?? "";
    meanwhile("key", () => room.vault.add("key", { value: "canary-later" }));
    expectConflict(await settled(store.restore(KEY, old, planned, never())));
    expect(await value()).toBe("canary-later");
  });

  it("is found out also right after our write", async () => {
    const old = room.vault.add("key", { value: "canary-old" });
    let isWritten = false;
    room.vault.instead = ({ method, path }) => {
      if (method === "GET" && path === "/secrets/key/versions" && puts() > 0 && !isWritten) {
        isWritten = true;
        room.vault.add("key", { value: "canary-theirs" });
      }
      return undefined;
    };

    expectConflict(await settled(store.put(KEY, secret("canary-ours"), never(), { version: old })));

    expect(await value()).toBe("canary-theirs");
    expect(room.vault.readableValues()).not.toContain("canary-ours");
  });

  it("is nobody whom an unconditional write looks for", async () => {
    room.vault.add("key", { value: "canary-old" });
    meanwhile("key", () => room.vault.add("key", { value: "canary-theirs" }));

    await store.put(KEY, secret("canary-set"), never());

    expect(await value()).toBe("canary-set");
  });

  it("with another candidate makes us step back", async () => {
    meanwhile(SIDE, () =>
      room.vault.add(SIDE, {
        value: "canary-theirs",
        tags: { "mcp-run-rotation": "r-2", "mcp-run-operator": "bob@desk" },
      }),
    );

    const refused = await settled(store.putCandidate(KEY, secret("canary-ours"), MARK, never()));

    expectConflict(refused);
    expect(refused).toMatchObject({
      reason: expect.stringContaining("the rotation r-2 of bob@desk holds key"),
    });
    expect(room.vault.readableValues()).toEqual(["canary-theirs"]);
  });
});

describe("two who write over the same version at once", () => {
  it("are told apart: one wins, and its value is the current one", async () => {
    const [one, other] = [await room.open(), await room.open()];
    for (let round = 0; round < 10; round++) {
      const version = room.vault.add("key", { value: "canary-old" });
      const writers = [
        { by: one, text: `canary-a-${round}` },
        { by: other, text: `canary-b-${round}` },
      ];

      const outcomes = await Promise.all(
        writers.map(({ by, text }) => settled(by.put(KEY, secret(text), never(), { version }))),
      );

      const winners = writers.filter((_, index) => !(outcomes[index] instanceof Error));
      for (const lost of outcomes.filter((outcome) => outcome instanceof Error)) expectConflict(lost);
      expect(winners).toHaveLength(1);
      expect(await value()).toBe(winners[0]?.text);
    }
  });
});

describe("a rotation that is broken off", () => {
  /** The connection goes with the answer to this request; the service has done what it asked. */
  const cutAfter = (method: string, path: RegExp) => {
    let isCut = false;
    room.vault.instead = (request) => {
      if (isCut || request.method !== method || !path.test(request.path)) return undefined;
      isCut = true;
      const { value: written, tags } = JSON.parse(request.body || "{}");
      const [, , name = "", version = ""] = request.path.split("/");
      if (method === "PUT") room.vault.add(name, { value: written, tags });
      else room.vault.disable(name, version);
      return "half an answer";
    };
  };

  it("after the candidate was put, goes on with it", async () => {
    cutAfter("PUT", /pending$/);
    expect(await settled(store.putCandidate(KEY, secret("canary-new"), MARK, never()))).toMatchObject({
      failure: "unavailable",
    });

    expect(await store.putCandidate(KEY, secret("canary-new"), MARK, never())).toMatchObject(MARK);

    expect(enabled(SIDE)).toHaveLength(1);
  });

  it("after the new version was written, takes the candidate away and writes no second one", async () => {
    const old = room.vault.add("key", { value: "canary-old" });
    await store.putCandidate(KEY, secret("canary-new"), MARK, never());
    cutAfter("PUT", /\/key$/);
    expect(await settled(store.promote(KEY, "r-1", old, never()))).toMatchObject({ failure: "unavailable" });
    const written = current()?.id;

    expect(await store.promote(KEY, "r-1", old, never())).toEqual({ version: written });

    expect(room.vault.versions("key")).toHaveLength(2);
    expect(enabled(SIDE)).toEqual([]);
    expect(await store.findCandidate(KEY, never())).toBeUndefined();
  });

  it("while the candidate was taken away, says that it is done", async () => {
    const old = room.vault.add("key", { value: "canary-old" });
    await store.putCandidate(KEY, secret("canary-new"), MARK, never());
    cutAfter("PATCH", /pending/);
    expect(await settled(store.promote(KEY, "r-1", old, never()))).toMatchObject({ failure: "unavailable" });

    expect(await store.promote(KEY, "r-1", old, never())).toEqual({ version: current()?.id });
  });

  it("after an earlier value was restored, restores it no second time", async () => {
    const old = room.vault.add("key", { value: "canary-old" });
    const now = await promote(old);
    cutAfter("PUT", /\/key$/);
    expect(await settled(store.restore(KEY, old, now, never()))).toMatchObject({ failure: "unavailable" });
    const written = current()?.id;

    expect(await store.restore(KEY, old, now, never())).toEqual({ version: written });

    expect(await value()).toBe("canary-old");
    expect(room.vault.versions("key")).toHaveLength(3);
  });
});

describe("the same rotation", () => {
  it("may promote a second candidate over its first", async () => {
    const first = await promote(room.vault.add("key", { value: "canary-old" }));
    await store.putCandidate(KEY, secret("canary-newer"), MARK, never());

    const { version } = await store.promote(KEY, "r-1", first, never());

    expect(version).not.toBe(first);
    expect(await value()).toBe("canary-newer");
  });

  it("leaves its candidates in a side secret that is never deleted, and disabled", async () => {
    room.vault.add("key", { value: "canary-old" });
    await promote();

    expect(room.vault.versions(SIDE).map((version) => version.enabled)).toEqual([false]);
    expect(room.vault.requests.filter(({ method }) => method === "DELETE")).toEqual([]);
  });
});

describe("a restored version", () => {
  it("has the content type, tags and expiry of its own", async () => {
    const exp = Math.floor(Date.now() / 1000) + DAY_S;
    const old = room.vault.add("key", { value: "canary-old", contentType: "a/b", tags: { team: "x" }, exp });
    const now = room.vault.add("key", { value: "canary-new" });

    await store.restore(KEY, old, now, never());

    expect(current()).toMatchObject({ value: "canary-old", contentType: "a/b", exp });
    expect(current()?.tags).toEqual({ team: "x", "mcp-run-restored": `${old} over ${now}` });
  });

  it("is none that has expired", async () => {
    const clock = new VirtualClock();
    const old = room.vault.add("key", { value: "canary-old", exp: Math.floor(clock.now() / 1000) - 1 });
    const now = room.vault.add("key", { value: "canary-new" });
    const late = await room.open({}, { clock });

    expect(await settled(late.restore(KEY, old, now, never()))).toMatchObject({
      failure: "invalid",
      reason: expect.stringContaining("has expired"),
    });
  });
});

describe("a name", () => {
  it("may be too long for a rotation, and that is said before anything is written", async () => {
    const long = { path: "x".repeat(112) };

    expect(await settled(store.putCandidate(long, secret("canary"), MARK, never()))).toMatchObject({
      failure: "invalid",
      hint: "a name of at most 111 characters",
    });
    await expect(
      store.putCandidate({ path: "x".repeat(111) }, secret("canary"), MARK, never()),
    ).resolves.toBeDefined();
  });
});
