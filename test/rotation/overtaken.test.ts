/** What others do to a secret while its rotation is cut off, or under way under active abuse. */
import { describe, expect, it, vi } from "vitest";
import { InterruptedError, ProviderError } from "../../src/errors.ts";
import type { Target, TargetStore } from "../../src/rotation/contract.ts";
import { resume, rollback } from "../../src/rotation/engine.ts";
import { incidentOf } from "../../src/rotation/incident/incident-of.ts";
import { incidentReport } from "../../src/rotation/incident/report.ts";
import { readJournal } from "../../src/rotation/journal/journal.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { VirtualClock } from "../helpers/virtual-clock.ts";
import { BackendWorld } from "./backend-world.ts";
import { Crash, DATABASE, GITHUB, IssuerWorld, never, World } from "./world.ts";

const THEIRS = "canary-theirs";

async function only(world: World, ref: string): Promise<Target[]> {
  return (await world.targets()).filter((target) => target.ref === ref);
}

/** Somebody at a console. */
async function types(world: World, ref: string, value: string, user = "bot"): Promise<void> {
  const document = ref === DATABASE ? value : JSON.stringify({ token: value, user });
  await (await world.store()).put({ path: ref.replace("memory:", "") }, new Secret(document), never());
}

function withStore(
  targets: readonly Target[],
  change: (store: TargetStore) => Partial<TargetStore>,
): Target[] {
  return targets.map((target) => ({ ...target, store: { ...target.store, ...change(target.store) } }));
}

const LOST = new ProviderError("unavailable", "no answer");

describe("under active abuse, with another key at its place by the time of the promotion,", () => {
  it.each([DATABASE, GITHUB])("a rotation of %s gives way, and ends what it has made", async (ref) => {
    const world = new World();
    const targets = await only(world, ref);
    world.beforePromotion = async () => {
      world.issuers.valid.add(THEIRS);
      await types(world, ref, THEIRS);
    };

    const outcome = await world.rotate({ targets, revokeFirst: true });

    expect(outcome).toMatchObject({
      is: "discarded",
      stillValid: [],
      notes: [
        "old keys are revoked already, and servers get what somebody else has put there at their next look",
      ],
    });
    const { documents, valid } = await world.state();
    expect(documents.map(({ candidate }) => candidate)).toEqual([undefined, undefined]);
    expect(documents.find(({ path }) => ref.endsWith(path))?.current).toContain(THEIRS);
    expect(valid).toEqual([ref === DATABASE ? "canary-old-token" : "canary-old-db", THEIRS].sort());
  });

  describe("a rotation of others besides", () => {
    /** Somebody puts his own key in the place of the second one, or of the first. */
    function overtaken(ref = DATABASE): World {
      const world = new World();
      world.beforePromotion = async () => {
        world.beforePromotion = async () => undefined;
        world.issuers.valid.add(THEIRS);
        await types(world, ref, THEIRS);
      };
      return world;
    }

    const SET_ASIDE = `somebody else has replaced DB of ${DATABASE} since, and version v2 is current; servers take that, and it was not tried: ask who it was whether the key is good`;

    it("goes on with those, and ends the new key that nobody needs", async () => {
      const world = overtaken();

      const outcome = await world.rotate({ revokeFirst: true });

      expect(outcome).toMatchObject({ is: "done", stillValid: [], notes: [SET_ASIDE], next: [] });
      expect(outcome.acknowledgements.map(({ state }) => state)).toEqual(["acknowledged", "acknowledged"]);
      const { documents, valid } = await world.state();
      expect(documents).toMatchObject([
        { current: expect.stringContaining("canary-new-TOKEN-1"), versions: ["v2"], candidate: undefined },
        { current: THEIRS, versions: ["v2"], candidate: undefined },
      ]);
      expect(valid).toEqual(["canary-new-TOKEN-1", THEIRS]);
    });

    it("goes on also with what comes after it, and does not try it another time", async () => {
      const world = overtaken(GITHUB);

      const outcome = await world.rotate({ revokeFirst: true });

      expect(outcome).toMatchObject({ is: "done", stillValid: [] });
      expect(world.tried).toHaveLength(1);
      expect((await world.state()).valid).toEqual(["canary-new-DB-1", THEIRS]);
    });

    it("says so in the journal and in the report", async () => {
      const world = overtaken();

      const outcome = await world.rotate({ revokeFirst: true });

      const { lines } = await readJournal(world.place.folder, outcome.rotation);
      expect(lines).toContainEqual(
        expect.objectContaining({ kind: "turn", to: "set-aside", target: DATABASE, reason: SET_ASIDE }),
      );
      const incident = incidentOf(lines, outcome, "0.0.0", () => undefined);
      expect(incident.secrets.map(({ name, after }) => [name, after.version])).toEqual([
        ["TOKEN", "v2"],
        ["DB", undefined],
      ]);
      const report = incidentReport(incident);
      expect(report).toContain(`turn to set-aside ${DATABASE}`);
      expect(report).toContain("somebody else has replaced DB");
    });

    it("says that the new key is valid where nobody could end it, and ends it later", async () => {
      const world = overtaken();
      const isAsked = (action: string, secret: string) =>
        action === "revoke" && secret === "DB" && !world.issuers.valid.has("canary-old-db");
      world.issuers.failure = (action, secret) =>
        isAsked(action, secret) ? new ProviderError("unavailable", "no answer") : undefined;

      const outcome = await world.rotate({ revokeFirst: true });

      expect(outcome).toMatchObject({
        is: "incomplete",
        reason: "DB was minted anew and may be valid (no answer)",
        stillValid: [{ which: "new", secret: "DB", target: DATABASE, keyId: "id-of-new-DB-1" }],
      });
      expect(outcome.next[0]).toBe("# to revoke the new key that is given up:");
      world.issuers.failure = () => undefined;
      expect(await world.resume(outcome.rotation)).toMatchObject({
        is: "done",
        stillValid: [],
        notes: [SET_ASIDE],
      });
      expect((await world.state()).valid).toEqual(["canary-new-TOKEN-1", THEIRS]);
    });

    it("lists the new key before its servers have all been heard, and goes on with it", async () => {
      const world = overtaken();
      world.lagging = "failed";

      const outcome = await world.rotate({ revokeFirst: true });

      expect(outcome).toMatchObject({ is: "incomplete", stillValid: [{ which: "new", secret: "DB" }] });
      world.lagging = undefined;
      world.events.splice(0);
      expect(await world.resume(outcome.rotation)).toMatchObject({ is: "done", stillValid: [] });
      expect(world.events).toContainEqual({ type: "note", message: SET_ASIDE });
      expect((await world.state()).valid).toEqual(["canary-new-TOKEN-1", THEIRS]);
    });

    it("keeps the new key where that is what somebody has put there, with a line ending", async () => {
      const world = new World();
      world.beforePromotion = async () => types(world, DATABASE, "canary-new-DB-1\n");

      const outcome = await world.rotate({ revokeFirst: true });

      expect(outcome).toMatchObject({ is: "incomplete" });
      expect(world.issuers.valid).toContain("canary-new-DB-1");
    });

    it("keeps the new key where somebody puts it there after all, and servers take it", async () => {
      const world = overtaken();
      world.lagging = "failed";
      const { rotation } = await world.rotate({ revokeFirst: true });
      world.lagging = undefined;
      await types(world, DATABASE, "canary-new-DB-1");

      const outcome = await world.resume(rotation);

      expect(outcome).toMatchObject({
        is: "incomplete",
        reason: `somebody has put the new DB into ${DATABASE} after all, where servers take it`,
        hint: `another rotation of all of them, with \`--take-over ${rotation}\``,
        stillValid: [{ which: "new", secret: "DB" }],
      });
      expect(world.issuers.valid).toContain("canary-new-DB-1");
    });

    it("keeps the old key where somebody puts it back, and says what helps", async () => {
      const world = overtaken();
      world.issuers.failure = (action, secret) => (action === "revoke" && secret === "DB" ? LOST : undefined);
      const { rotation } = await world.rotate({ revokeFirst: true });
      world.issuers.failure = () => undefined;
      await types(world, DATABASE, "canary-old-db");

      const outcome = await world.resume(rotation);

      expect(outcome).toMatchObject({
        is: "incomplete",
        hint: `another rotation of all of them, with \`--take-over ${rotation}\``,
        stillValid: [{ which: "old", secret: "DB" }],
      });
      expect((await world.state()).valid).toEqual(["canary-new-TOKEN-1", "canary-old-db", THEIRS]);
    });

    it("waits until it can be seen what its servers are to have", async () => {
      const world = overtaken();
      const isTold = () => world.events.some(({ type }) => type === "turned");
      const targets = withStore(await world.targets(), (store) => ({
        read: (signal) => (isTold() ? Promise.reject(LOST) : store.read(signal)),
      }));

      const outcome = await world.rotate({ targets, revokeFirst: true });

      expect(outcome).toMatchObject({ is: "incomplete", reason: `${DATABASE}: no answer` });
      expect(await world.resume(outcome.rotation)).toMatchObject({ is: "done", stillValid: [] });
    });

    it("ends in order when it is interrupted while it looks whose key is there", async () => {
      const world = overtaken();
      const over = new AbortController();
      let reads = 0;
      const targets = withStore(await world.targets(), (store) => ({
        promote: (...args) => {
          reads = 1;
          return store.promote(...args);
        },
        read: (signal) => {
          if (reads === 0 || ++reads !== 3) return store.read(signal);
          over.abort(new InterruptedError("SIGINT"));
          return new Promise(() => undefined);
        },
      }));

      const outcome = await world.rotate({ targets, revokeFirst: true }, over.signal);

      expect(outcome).toMatchObject({ is: "incomplete" });
      expect(world.journalOf(outcome.rotation)).toContain('"kind":"end"');
      expect(await world.resume(outcome.rotation)).toMatchObject({ is: "done", stillValid: [] });
    });

    it("puts nothing back of it where the others are taken back, and lists its old key", async () => {
      const world = overtaken();
      world.issuers.failure = (action) => (action === "revoke" ? LOST : undefined);
      world.lagging = "failed";
      const { rotation } = await world.rotate({ revokeFirst: true });
      world.issuers.failure = () => undefined;
      world.issuers.canRevoke = false;
      await world.resume(rotation);
      world.lagging = undefined;
      world.answer = () => "go-on";

      const outcome = await world.rollback(rotation);

      expect(world.questions.at(-1)).toEqual({ type: "put-back", targets: [GITHUB] });
      expect(outcome).toMatchObject({ is: "rolled-back" });
      expect(outcome.stillValid).toContainEqual({ which: "old", secret: "DB", target: DATABASE });
    });

    it("is given up where all of them are replaced, also one after the other", async () => {
      const world = overtaken(GITHUB);
      const [github, database] = (await world.targets()) as [Target, Target];
      const [replaced] = withStore([database], (store) => ({
        promote: async (...args) => {
          await types(world, DATABASE, `${THEIRS}-too`);
          return store.promote(...args);
        },
      })) as [Target];
      const targets = [github, replaced];

      const outcome = await world.rotate({ targets, revokeFirst: true });

      expect(outcome).toMatchObject({ is: "discarded", stillValid: [] });
    });
  });

  it("a rotation of it alone gives way also where somebody has taken its candidate away", async () => {
    const world = new World();
    const targets = await only(world, DATABASE);
    world.beforePromotion = async () => {
      const store = targets[0]?.store;
      const candidate = await store?.findCandidate(never());
      await store?.discard(candidate?.rotationId ?? "", never());
      await types(world, DATABASE, THEIRS);
    };

    expect(await world.rotate({ targets, revokeFirst: true })).toMatchObject({
      is: "discarded",
      stillValid: [],
    });
  });

  it("a rotation that finds the old key there again, with a line ending, says what helps", async () => {
    const world = new World();
    world.beforePromotion = async () => types(world, DATABASE, "canary-old-db\n");

    const outcome = await world.rotate({ revokeFirst: true });

    expect(outcome).toMatchObject({
      is: "incomplete",
      hint: `another rotation of all of them, with \`--take-over ${outcome.rotation}\``,
    });
  });

  it("a rotation whose new keys belong together is stuck, and another one takes its place", async () => {
    const world = new World();
    world.beforePromotion = async () => types(world, DATABASE, THEIRS);
    const [github, database] = (await world.targets()) as [Target, Target];
    const [token, db] = [github.parts[0], database.parts[0]];
    if (!token || !db) throw new Error("they have a part each");
    const issuer = {
      ...token.issuer,
      mint: async (...args: Parameters<typeof token.issuer.mint>) => ({
        ...(await token.issuer.mint(...args)),
        along: new Map([["DB", new Secret("canary-new-along")]]),
      }),
      find: async () => undefined,
    };
    const targets = [
      { ...github, parts: [{ ...token, issuer }] },
      { ...database, parts: [{ ...db, issuer, comesWith: "TOKEN" }] },
    ];

    const outcome = await world.rotate({ targets, revokeFirst: true });

    expect(outcome).toMatchObject({
      is: "incomplete",
      hint: `another rotation of all of them, with \`--take-over ${outcome.rotation}\``,
    });
    expect(world.journalOf(outcome.rotation)).not.toContain("set-aside");
    world.beforePromotion = async () => undefined;
    const other = await world.rotate({ targets, takeOver: outcome.rotation });
    expect(other).toMatchObject({ is: "done", stillValid: [] });
  });

  it("a rotation of two keys of one document is stuck where one of them is replaced", async () => {
    const world = new World();
    const [github] = (await only(world, GITHUB)) as [Target];
    const [token] = github.parts;
    if (!token) throw new Error("it has a part");
    const user = { ...token, name: "USER", from: `${GITHUB}#user`, field: ["user"] };
    world.beforePromotion = async () => types(world, GITHUB, THEIRS);

    const outcome = await world.rotate({
      targets: [{ ...github, parts: [token, user] }],
      revokeFirst: true,
    });

    expect(outcome).toMatchObject({
      is: "incomplete",
      hint: `another rotation of all of them, with \`--take-over ${outcome.rotation}\``,
    });
  });

  it("a rotation is not given up where leases were revoked, whose servers have yet to be told", async () => {
    const world = new BackendWorld();
    world.beforePromotion = async () => types(world, DATABASE, THEIRS);
    const targets = [world.leaseTarget(), ...(await only(world, DATABASE))];

    const outcome = await world.rotate({ targets, revokeFirst: true });

    expect(world.revoked).toContain("lease-1");
    expect(outcome).toMatchObject({ is: "done", stillValid: [] });
    expect(outcome.acknowledgements).not.toEqual([]);
  });
});

describe("a promotion that was broken off and has come through", () => {
  it.each<[string, (world: World, store: TargetStore) => Partial<TargetStore>]>([
    [
      "half",
      (world, store) => ({
        promote: async (rotation) => {
          const { value } = await store.fetchCandidate(rotation, never());
          await (await world.store()).put({ path: "mcp/github" }, value, never());
          throw LOST;
        },
      }),
    ],
    [
      "whole",
      (_world, store) => ({
        promote: async (...args) => {
          await store.promote(...args);
          throw LOST;
        },
      }),
    ],
  ])("%s is known again also where somebody has written another field since", async (_, breaks) => {
    const world = new World();
    const targets = await only(world, GITHUB);
    const stuck = await world.rotate({ targets: withStore(targets, (store) => breaks(world, store)) });
    expect(stuck).toMatchObject({ is: "incomplete" });
    await types(world, GITHUB, "canary-new-TOKEN-1", "somebody");

    expect(await world.resume(stuck.rotation, targets)).toMatchObject({ is: "done", stillValid: [] });

    const { documents, valid } = await world.state();
    expect(documents[0]).toMatchObject({
      current: '{"token":"canary-new-TOKEN-1","user":"somebody"}',
      candidate: undefined,
    });
    expect(valid).toEqual(["canary-new-TOKEN-1", "canary-old-db"]);
    expect(world.issuers.calls.filter((call) => call === "mint TOKEN")).toHaveLength(1);
  });

  it("is known again while another rotation is at it, whose candidate stays", async () => {
    const world = new World();
    const targets = await only(world, DATABASE);
    const breaking = withStore(targets, (store) => ({
      promote: async (...args) => {
        await store.promote(...args);
        throw LOST;
      },
    }));
    const stuck = await world.rotate({ targets: breaking });
    const theirs = { rotationId: "20261121-000000-abcdef", operator: "bob@desk", createdAt: new Date(0) };
    await (await world.store()).putCandidate({ path: "db" }, new Secret(THEIRS), theirs, never());

    expect(await world.resume(stuck.rotation, targets)).toMatchObject({ is: "done", stillValid: [] });

    expect((await world.state()).documents[1]).toMatchObject({
      current: "canary-new-DB-1",
      candidate: theirs.rotationId,
    });
  });
});

describe("a rotation that is gone on with", () => {
  it("asks the hook that the profile has now, and makes no other key for that", async () => {
    const world = new World();
    world.lagging = "failed";
    const { rotation } = await world.rotate();
    world.lagging = undefined;
    const moved = new IssuerWorld();
    for (const key of world.issuers.valid) moved.valid.add(key);
    const targets = (await world.targets()).map((target) => ({
      ...target,
      parts: target.parts.map((part) => ({ ...part, issuer: moved.issuer() })),
    }));
    const before = [...world.issuers.calls];

    expect(await world.resume(rotation, targets)).toMatchObject({ is: "done", stillValid: [] });

    expect(world.issuers.calls).toEqual(before);
    expect(moved.calls).toEqual(["revoke TOKEN", "revoke DB", "verify TOKEN", "verify DB"]);
    expect([...moved.valid]).toEqual(["canary-new-TOKEN-1", "canary-new-DB-1"]);
  });

  it("waits once for all stores that do not answer, and takes them for those of its plan", async () => {
    const world = new World();
    const at = (targets: readonly Target[], isMute: () => boolean) =>
      withStore(targets, (store) => ({
        read: async (signal) => {
          if (isMute()) return new Promise<never>(() => undefined);
          const present = await store.read(signal);
          return present && { ...present, place: "here" };
        },
      }));
    world.lagging = "failed";
    const { rotation } = await world.rotate({ targets: at(await world.targets(), () => false) });
    world.lagging = undefined;
    const clock = new VirtualClock();
    let isDown = true;
    const targets = at(await world.targets(), () => isDown);

    const outcome = resume(rotation, targets, world.place, { ...world.deps, clock }, never());

    await vi.waitFor(() => expect(clock.pending).toBe(2), { timeout: 30_000 });
    isDown = false;
    await clock.advance(60_000);
    expect(await outcome).toMatchObject({ is: "done", stillValid: [] });
  });
});

describe("an old value that somebody has put back", () => {
  it.each([
    ["as it was", "", ""],
    ["with a line ending", "", "\n"],
    ["with another line ending", "\n", "\r\n"],
    ["without its line ending", "\n", ""],
  ])("%s has no way back where another old key is revoked: it is said how to go on", async (_, was, is) => {
    const world = new World();
    const [planned, back] = [`canary-old-db${was}`, `canary-old-db${is}`];
    if (was !== "") await types(world, DATABASE, planned);
    world.issuers.valid.add(planned);
    world.lagging = "failed";
    const { rotation } = await world.rotate();
    const [ours] = (await world.state()).documents.slice(-1);
    await types(world, DATABASE, back);
    world.lagging = undefined;
    world.answer = () => "go-on";

    const outcome = await world.resume(rotation);

    expect(outcome).toMatchObject({
      is: "incomplete",
      reason: `somebody has put the old DB back into ${DATABASE}, where servers take it`,
      hint: `making version ${ours?.versions.at(-1)} of it the current one again, and \`mcp-run rotate github --resume ${rotation}\` after that`,
      stillValid: [{ which: "old", secret: "DB" }],
    });
    expect(world.issuers.valid).toContain(planned);
    expect(outcome.next.join()).toContain("--rollback is no way any more");
    await types(world, DATABASE, "canary-new-DB-1");
    expect(await world.resume(rotation)).toMatchObject({ is: "done", stillValid: [] });
    expect(world.issuers.valid).not.toContain(planned);
  });

  it("may be a dead key where a revocation was cut off: the new one is not ended for it", async () => {
    const world = new World();
    const targets = await only(world, DATABASE);
    world.issuers.failure = (action) => (action === "revoke" ? new Crash("cut off") : undefined);
    const plan = await world.plan({ targets });
    await expect(world.rotatePlanned(plan)).rejects.toBeInstanceOf(Crash);
    const { rotation } = plan.record;
    world.issuers.failure = () => undefined;
    await types(world, DATABASE, "canary-old-db");
    world.answer = () => "go-on";

    const outcome = await world.resume(rotation, targets);

    expect(outcome).toMatchObject({ is: "incomplete", stillValid: [{ which: "old", secret: "DB" }] });
    expect(outcome.hint).toContain("--resume");
    await expect(world.rollback(rotation, targets)).rejects.toThrow("the old key may be revoked");
    expect(world.issuers.valid).toContain("canary-new-DB-1");
  });
});

describe("a rollback", () => {
  it("that is interrupted while it looks has not begun", async () => {
    const world = new World();
    world.lagging = "failed";
    const { rotation } = await world.rotate();
    world.answer = () => "go-on";
    const controller = new AbortController();
    world.onTouch = (what) => {
      if (what === "read") controller.abort();
    };

    const refused = rollback(rotation, await world.targets(), world.place, world.deps, controller.signal);

    await expect(refused).rejects.toMatchObject({ name: "AbortError" });
    expect(world.journalOf(rotation)).not.toContain('"turn"');
  });

  it("looks at every document, also where another one's store is down", async () => {
    const world = new World();
    world.lagging = "failed";
    const { rotation } = await world.rotate();
    await types(world, DATABASE, THEIRS);
    world.answer = () => "go-on";
    world.behaviour.failure = (_operation, path) => (path === "mcp/github" ? LOST : undefined);

    await expect(world.rollback(rotation)).rejects.toMatchObject({
      message: `Cannot roll back rotation ${rotation}: somebody has changed ${DATABASE} since it was promoted`,
      hint: `mcp-run rotate github --resume ${rotation}`,
    });
  });

  it("of a value that came along unchanged goes on where the old key was put back by hand", async () => {
    const world = new World();
    const [github] = (await only(world, GITHUB)) as [Target];
    const [token] = github.parts;
    if (!token) throw new Error("it has a part");
    const issuer = {
      ...world.issuers.issuer(),
      mint: async (...args: Parameters<typeof token.issuer.mint>) => ({
        ...(await token.issuer.mint(...args)),
        along: new Map([["USER", new Secret("bot")]]),
      }),
    };
    const user = { name: "USER", from: `${GITHUB}#user`, field: ["user"], comesWith: "TOKEN", issuer };
    const targets = [{ ...github, parts: [{ ...token, issuer }, user] }];
    world.lagging = "failed";
    const { rotation } = await world.rotate({ targets });
    world.lagging = undefined;
    await types(world, GITHUB, "canary-old-token");
    world.answer = () => "go-on";

    expect(await world.rollback(rotation, targets)).toMatchObject({ is: "rolled-back", stillValid: [] });

    expect((await world.state()).valid).toEqual(["canary-old-db", "canary-old-token"]);
  });
});
