/** What a rotation does not even begin with, and two that want the same. */
import { existsSync } from "node:fs";
import { describe, expect, it, vi } from "vitest";
import { ProviderError } from "../../src/errors.ts";
import type { Target } from "../../src/rotation/contract.ts";
import { rotate } from "../../src/rotation/engine.ts";
import { fingerprintUnder } from "../../src/rotation/fingerprints.ts";
import { earlierKeyId } from "../../src/rotation/journal/earlier-keys.ts";
import type { RotationRequest } from "../../src/rotation/plan.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { VirtualClock } from "../helpers/virtual-clock.ts";
import { DATABASE, GITHUB, never, World } from "./world.ts";

describe("a plan", () => {
  it("reads everything and writes nothing, also not into the journal", async () => {
    const world = new World();
    const before = await world.state();
    const touched: string[] = [];
    world.onTouch = (what) => touched.push(what);

    const { record, members } = await world.plan({ reason: "leaked in build log", revokeFirst: true });

    expect(record).toMatchObject({
      profile: "github",
      reason: "leaked in build log",
      operator: "alice@laptop",
      targets: [
        { ref: GITHUB, version: "v1", parts: [{ name: "TOKEN", issuer: "hook", field: ["token"] }] },
        {
          ref: DATABASE,
          version: "v1",
          parts: [{ name: "DB", fingerprint: expect.stringMatching(/^[0-9a-f]{64}$/) }],
        },
      ],
      options: { revokeFirst: true },
    });
    expect(members.map(({ pid }) => pid)).toEqual([100, 101]);
    expect(new Set(touched)).toEqual(new Set(["findCandidate", "read", "mustBeWritable"]));
    expect(await world.state()).toEqual(before);
    expect(existsSync(world.place.folder)).toBe(false);
    expect(JSON.stringify(record)).not.toContain("canary-old");
  });

  it("is refused where the store says that it will not be written to, and nothing is minted", async () => {
    const world = new World();
    const hint = "a policy that lets it write";
    const targets = (await world.targets()).map((target) => ({
      ...target,
      store: {
        ...target.store,
        mustBeWritable: async () => {
          throw new ProviderError("denied", "it may only be read", { hint });
        },
      },
    }));

    await expect(world.plan({ targets })).rejects.toMatchObject({
      code: "access-denied",
      message: `Cannot rotate ${GITHUB}: it may only be read`,
      hint,
    });

    expect(world.issuers.calls).toEqual([]);
  });

  it.each<{ name: string; request: Partial<RotationRequest>; says: RegExp }>([
    { name: "no reason", request: { reason: "  " }, says: /without a reason/ },
    { name: "nothing to rotate", request: { targets: [] }, says: /Cannot rotate nothing/ },
    {
      name: "the key that it logs in with itself",
      request: { credentials: new Set(["env:X", `${GITHUB}#token`]) },
      says: /Cannot rotate TOKEN: memory:mcp\/github#token is what this rotation itself logs in with/,
    },
    {
      name: "a document that has that key in it",
      request: { credentials: new Set([`${DATABASE}#a.b`]) },
      says: /Cannot rotate DB/,
    },
    {
      name: "a field of a document that is that key",
      request: { credentials: new Set([GITHUB]) },
      says: /Cannot rotate TOKEN/,
    },
  ])("refuses $name", async ({ request, says }) => {
    await expect(new World().plan(request)).rejects.toMatchObject({
      name: "McpRunError",
      message: expect.stringMatching(says),
    });
  });

  it("refuses the key that it logs in with itself also where that came by another ref", async () => {
    const isLogin = (value: Secret) => value.equals(new Secret("canary-old-token"));

    await expect(new World().plan({}, { isLogin })).rejects.toMatchObject({
      code: "usage",
      message: "Cannot rotate TOKEN: its value is what this rotation itself logs in with",
    });
  });

  it("refuses more secrets at once than a message can name", async () => {
    const [target] = await new World().targets();
    if (!target) throw new Error("the world has a target");
    const part = target.parts[0] as Target["parts"][number];
    const parts = Array.from({ length: 101 }, (_one, at) => ({ ...part, name: `S${at}`, field: [`f${at}`] }));

    await expect(new World().plan({ targets: [{ ...target, parts }] })).rejects.toMatchObject({
      code: "usage",
      message: "Cannot rotate 101 secrets at once: 100 are the most",
    });
  });

  it("goes on with the same document's other fields, and with other documents of the same name", async () => {
    const credentials = new Set([`${GITHUB}#user`, "vault:mcp/github#token", "memory:mcp"]);
    expect((await new World().plan({ credentials })).record.targets).toHaveLength(2);
  });

  it("says which store it could not read, and of which kind that failure is", async () => {
    const world = new World();
    world.behaviour.failure = (_operation, path) =>
      path === "db" ? new ProviderError("denied", "permission denied (403)") : undefined;

    await expect(world.plan()).rejects.toMatchObject({
      code: "access-denied",
      message: `Cannot rotate ${DATABASE}: permission denied (403)`,
    });
  });

  it("is given up where a store does not answer, after as long as a keychain may wait for its user", async () => {
    const world = new World();
    const [github, database] = (await world.targets()) as [Target, Target];
    const mute = {
      ...database,
      store: { ...database.store, read: () => new Promise<never>(() => undefined) },
    };
    const clock = new VirtualClock();
    const planned = world.plan({ targets: [github, mute] }, { clock });
    const refused = expect(planned).rejects.toMatchObject({
      code: "backend-unavailable",
      message: `Cannot rotate ${DATABASE}: no answer within 60 s`,
      hint: "again when it answers",
    });

    // The other store answers first, and takes its turns for it.
    await vi.waitFor(() => expect(clock.pending).toBe(1), { timeout: 30_000 });
    await clock.advance(60_000);

    await refused;
  });

  it("is of a secret that is not there yet as well: then there is no old key to end", async () => {
    const world = new World();
    const store = await world.store();
    await store.remove({ path: "db" }, never());
    await store.remove({ path: "mcp/github" }, never());

    const outcome = await world.rotate();

    expect(outcome).toMatchObject({ is: "done", stillValid: [] });
    expect((await world.state()).documents.map(({ current }) => current)).toEqual([
      '{"token":"canary-new-TOKEN-1"}',
      "canary-new-DB-1",
    ]);
    expect(world.issuers.calls.some((call) => call.startsWith("revoke"))).toBe(false);
  });
});

describe("two operators at once", () => {
  it("the second one is refused when it plans, and told who the first one is", async () => {
    const world = new World();
    let second: unknown;
    world.beforePromotion = async () => {
      second = await world.plan({ operator: "bob@desk" }).catch((error: unknown) => error);
    };

    expect(await world.rotate()).toMatchObject({ is: "done" });

    expect(second).toMatchObject({
      code: "rotation-incomplete",
      message: expect.stringContaining("it is being rotated by alice@laptop since"),
      hint: expect.stringMatching(
        /again when that rotation has ended, or, .* `--take-over \d{8}-\d{6}-\w{6}`$/,
      ),
    });
  });

  it("one of two that have planned already takes nothing from the other, and ends what it has had made", async () => {
    const world = new World();
    const [alice, bob] = [await world.plan(), await world.plan({ operator: "bob@desk" })];

    const outcomes = await Promise.all([world.rotatePlanned(alice), world.rotatePlanned(bob)]);

    expect(outcomes.map(({ is }) => is).sort()).toEqual(["discarded", "done"]);
    const loser = outcomes.find(({ is }) => is === "discarded");
    expect(loser?.reason).toContain("it is being rotated by");
    const { documents, valid } = await world.state();
    expect(documents.map(({ candidate, versions }) => [candidate, versions])).toEqual([
      [undefined, ["v2"]],
      [undefined, ["v2"]],
    ]);
    expect(valid).toHaveLength(2);
    expect(documents[1]?.current).toBe(valid.find((key) => key.includes("DB")));
  });

  it("one that waits for the other's answer is another process: the same rotation is not run twice", async () => {
    const world = new World();
    const twice: Promise<unknown>[] = [];
    world.beforePromotion = async () => {
      if (twice.length > 0) return;
      const id = world.events.find((event) => event.type === "began")?.rotation ?? "";
      twice.push(world.resume(id).catch((error: unknown) => error));
      await twice[0];
    };

    expect(await world.rotate()).toMatchObject({ is: "done" });

    expect(await twice[0]).toMatchObject({ message: expect.stringContaining("another mcp-run is at it") });
    expect(world.tried).toHaveLength(1);
  });

  it("a stale candidate is taken over by its id, and by no other", async () => {
    const world = new World();
    const store = await world.store();
    const mark = { rotationId: "20260101-000000-stale1", operator: "carol@gone", createdAt: new Date(0) };
    await store.putCandidate({ path: "db" }, new Secret("canary-stale"), mark, never());

    await expect(world.plan()).rejects.toThrow("carol@gone");
    await expect(world.plan({ takeOver: "20260101-000000-other1" })).rejects.toThrow("carol@gone");
    expect(await world.rotate({ takeOver: mark.rotationId })).toMatchObject({ is: "done" });

    expect((await world.state()).documents[1]).toMatchObject({
      current: "canary-new-DB-1",
      candidate: undefined,
    });
  });

  it("one that was taken over gives up, and leaves the other's candidate alone", async () => {
    const world = new World();
    world.lines = 12;
    await expect(world.rotate()).rejects.toThrow("dead");
    world.reborn();
    const first = (await world.state()).documents[0]?.candidate ?? "";
    const plan = await world.plan({ takeOver: first });
    let resumed: unknown;
    world.beforePromotion = async () => {
      world.beforePromotion = async () => undefined;
      resumed = await world.resume(first);
    };

    expect(await world.rotatePlanned(plan)).toMatchObject({ is: "done" });

    expect(resumed).toMatchObject({ is: "discarded" });
    expect((await world.state()).documents.map(({ candidate }) => candidate)).toEqual([undefined, undefined]);
    expect(world.issuers.valid.size).toBe(2);
  });
});

describe("a resumed rotation", () => {
  it("refuses a profile that has changed since", async () => {
    const world = new World();
    world.lagging = "failed";
    const { rotation } = await world.rotate();
    const targets = (await world.targets()).map((target) => ({
      ...target,
      parts: target.parts.map((part) => ({ ...part, name: `${part.name}_2` })),
    }));

    await expect(world.resume(rotation, targets)).rejects.toMatchObject({
      code: "profile-invalid",
      message: `Cannot go on with rotation ${rotation}: the profile no longer has ${GITHUB} as it was planned`,
    });
  });
});

describe("a key that is known by its issuer's name", () => {
  it("is ended by that name when it is rotated again", async () => {
    const world = new World();
    await world.rotate();
    world.issuers.keysEnded.length = 0;
    const folder = world.place.folder;

    const again = await world.plan(
      {},
      { keyIdOf: (from, fingerprint) => earlierKeyId(folder, from, fingerprint) },
    );
    await world.rotatePlanned(again);

    expect(world.issuers.keysEnded.map(({ keyId }) => keyId)).toEqual([
      "id-of-new-TOKEN-1",
      "id-of-new-DB-1",
    ]);
    const other = (key: string) => fingerprintUnder(key, new Secret("canary-other"));
    expect(await earlierKeyId(folder, DATABASE, other)).toBeUndefined();
    expect(await earlierKeyId("/nonexistent/rotations", DATABASE, other)).toBeUndefined();
  });
});

describe("values that come along with another key", () => {
  const along = async (world: World) => {
    const [github, database] = await world.targets();
    const [token] = github?.parts ?? [];
    if (!github || !database || !token) throw new Error("two targets");
    const withUser = async (minted: Awaited<ReturnType<typeof token.issuer.mint>> | undefined) =>
      minted && { ...minted, along: new Map([["DB", new Secret(`user-of-${minted.value.reveal()}`)]]) };
    const issuer = {
      ...token.issuer,
      kind: "hook",
      mint: async (...args: Parameters<typeof token.issuer.mint>) => {
        const minted = await withUser(await token.issuer.mint(...args));
        if (!minted) throw new Error("unreachable");
        return minted;
      },
      find: async (...args: Parameters<typeof token.issuer.find>) =>
        withUser(await token.issuer.find(...args)),
      revoke: token.issuer.revoke,
      verify: token.issuer.verify,
    };
    return [
      {
        ...github,
        parts: [
          { ...token, issuer },
          { name: "USER", from: `${GITHUB}#user`, field: ["user"], issuer: world.issuers.issuer() },
        ],
      },
      { ...database, parts: [{ name: "DB", from: DATABASE, issuer, comesWith: "TOKEN" }] },
    ];
  };

  it("are put into their own documents, and nobody is asked to end them", async () => {
    const world = new World();

    expect(await world.rotate({ targets: await along(world) })).toMatchObject({ is: "done" });

    expect((await world.state()).documents.map(({ current }) => current)).toEqual([
      '{ "token": "canary-new-TOKEN-1", "user": "canary-new-USER-1" }',
      "user-of-canary-new-TOKEN-1",
    ]);
    expect(world.issuers.calls.filter((call) => /^(mint|revoke|verify)/.test(call))).toEqual([
      "mint TOKEN",
      "mint USER",
      "revoke TOKEN",
      "revoke USER",
      "verify TOKEN",
      "verify USER",
    ]);
  });

  it.each([true, false])(
    "are never of another key than the one that they came with; it finds: %s",
    async (finds) => {
      const uncut = new World();
      const { rotation } = await uncut.rotate({ targets: await along(uncut) });
      const lines = uncut.journalOf(rotation).split("\n").length - 1;
      for (let cut = 1; cut < lines; cut++) {
        const world = new World();
        world.issuers.knowsWhatItMade = finds;
        world.lines = cut;
        await expect(world.rotate({ targets: await along(world) })).rejects.toThrow("dead");
        world.reborn();
        const id = world.events.find((event) => event.type === "began")?.rotation ?? "";

        expect(await world.resume(id, await along(world))).toMatchObject({ is: "done" });

        const [token, database] = (await world.state()).documents.map(({ current }) => current);
        expect(database).toBe(`user-of-${JSON.parse(token ?? "").token}`);
      }
    },
  );

  it("are asked for: a key without them is given up", async () => {
    const world = new World();
    const targets = (await along(world)).map((target) => ({
      ...target,
      parts: target.parts.map((part) => ({ ...part, issuer: world.issuers.issuer() })),
    }));

    expect(await world.rotate({ targets })).toMatchObject({
      is: "discarded",
      reason: "no new value of DB came from its issuer (hook)",
    });
    expect(world.issuers.valid).toEqual(new Set(["canary-old-token", "canary-old-db"]));
  });
});

describe("a rotation that can't have a journal", () => {
  it("does not begin", async () => {
    const world = new World();
    const plan = await world.plan();
    const before = await world.state();

    const begun = rotate(plan, { ...world.place, folder: "/dev/null/rotations" }, world.deps, never());

    await expect(begun).rejects.toMatchObject({ code: "access-denied" });
    expect(await world.state()).toEqual(before);
    expect(world.issuers.calls).toEqual([]);
  });
});
