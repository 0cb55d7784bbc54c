/** The negative probe: a server with the old key has to fail, once that is revoked. */
import { describe, expect, it } from "vitest";
import type { CanaryOutcome, Issuer, Target } from "../../../src/rotation/contract.ts";
import { failure, World } from "../world.ts";

const PASSES: CanaryOutcome = { works: true, wasProbed: true };
const FAILS: CanaryOutcome = { works: false, wasProbed: true, reason: "its probe works failed" };

/** Its servers pass only with keys that the issuer takes. */
function withKeys(): World {
  const made = new World();
  made.triesOld = ["TOKEN"];
  made.canary = (tried) =>
    tried.every((one) => made.issuers.valid.has(one.slice(one.indexOf("=") + 1))) ? PASSES : FAILS;
  return made;
}

/** The issuer of TOKEN can't be asked whether it takes a key. */
function withoutVerify(targets: readonly Target[], answer = "unknown" as const): readonly Target[] {
  const silent = (issuer: Issuer): Issuer => ({
    kind: issuer.kind,
    mint: (...args) => issuer.mint(...args),
    find: (...args) => issuer.find(...args),
    revoke: (...args) => issuer.revoke(...args),
    verify: async () => answer,
  });
  return targets.map((target) => ({
    ...target,
    parts: target.parts.map((part) => ({ ...part, issuer: silent(part.issuer) })),
  }));
}

/** Their stores have no earlier version. */
function forgetful(targets: readonly Target[]): readonly Target[] {
  return targets.map((target) => ({
    ...target,
    store: { ...target.store, readVersion: async () => undefined },
  }));
}

function verifyFacts({ events }: World, target: string) {
  const done = events.findLast(
    (event) => event.type === "step-done" && event.step === "verify" && event.target === target,
  );
  return done?.type === "step-done" ? done.facts.parts : undefined;
}

describe("the negative probe", () => {
  it("puts the old key into a server once it is revoked, and says that it is refused", async () => {
    const world = withKeys();

    const outcome = await world.rotate({ targets: withoutVerify(await world.targets()) });

    expect(outcome).toMatchObject({ is: "done", stillValid: [] });
    const reason = "a server with it fails the probe, and passes it with the new one";
    expect(verifyFacts(world, "memory:mcp/github")).toEqual([{ name: "TOKEN", result: "refused", reason }]);
    expect(world.tried).toEqual([
      ["TOKEN=canary-new-TOKEN-1", "DB=canary-new-DB-1"],
      ["TOKEN=canary-old-token"],
      [],
    ]);
    // That one was not wanted.
    expect(verifyFacts(world, "memory:db")).toEqual([{ name: "DB", result: "unknown" }]);
    expect(outcome.notes).toEqual(["nobody could be asked whether the old DB is refused"]);
  });

  it("has the old key also where its store has forgotten it since, and so has its issuer", async () => {
    const world = withKeys();

    const outcome = await world.rotate({ targets: forgetful(withoutVerify(await world.targets())) });

    expect(outcome).toMatchObject({ is: "done", stillValid: [] });
    expect(verifyFacts(world, "memory:mcp/github")).toMatchObject([{ name: "TOKEN", result: "refused" }]);
    expect(world.tried).toContainEqual(["TOKEN=canary-old-token"]);
    expect([...world.issuers.valid]).toEqual(["canary-new-TOKEN-1", "canary-new-DB-1"]);
  });

  it("says in a later process that a store without the old value has shown nothing", async () => {
    const world = withKeys();
    world.lagging = "failed";
    const { rotation } = await world.rotate();
    world.lagging = undefined;

    const outcome = await world.resume(rotation, forgetful(withoutVerify(await world.targets())));

    expect(outcome).toMatchObject({ is: "done", stillValid: [] });
    expect(outcome.notes).toContain("the old TOKEN was not tried in a server: no store has it any more");
    expect(outcome.notes).toContain("version v1 of memory:mcp/github does not have the old TOKEN any more");
    expect(outcome.notes).toContain("nobody could be asked whether the old TOKEN is refused");
    expect(world.journalOf(rotation)).not.toContain("canary-");
  });

  it("says that the old key is still valid where a server passes with it, whatever its issuer says", async () => {
    const world = withKeys();
    world.canary = () => PASSES;

    const outcome = await world.rotate();

    expect(outcome).toMatchObject({ is: "incomplete", stillValid: [{ which: "old", secret: "TOKEN" }] });
    expect(outcome.reason).toBe("TOKEN is accepted still (a server with it passes the probe)");
    expect(world.tried.filter((tried) => tried.includes("TOKEN=canary-old-token"))).toHaveLength(4);
    expect(world.clock.paused).toEqual(expect.arrayContaining([1_000, 2_000, 4_000]));
    const documents = (await world.state()).documents;
    expect(documents[0]?.versions).toEqual(["v1", "v2"]);
  });

  it("waits for a revocation that takes its time to get around", async () => {
    const world = withKeys();
    let left = 2;
    world.canary = (tried) => (tried.includes("TOKEN=canary-old-token") && left-- <= 0 ? FAILS : PASSES);

    expect(await world.rotate()).toMatchObject({ is: "done" });
    expect(world.clock.paused).toEqual(expect.arrayContaining([1_000, 2_000]));
  });

  it("does not start a server where the issuer takes the key still", async () => {
    const world = withKeys();
    world.issuers.slowness = 100;

    expect(await world.rotate()).toMatchObject({ is: "incomplete" });
    expect(world.tried).toHaveLength(1);
  });

  it("under --revoke-first tries the old key beside the new ones that are not promoted yet", async () => {
    const world = withKeys();

    const outcome = await world.rotate({ revokeFirst: true });

    expect(outcome).toMatchObject({ is: "done" });
    expect(world.tried.slice(0, 2)).toEqual([
      ["TOKEN=canary-old-token", "DB=canary-new-DB-1"],
      ["TOKEN=canary-new-TOKEN-1", "DB=canary-new-DB-1"],
    ]);
  });

  const NOT_SHOWN: readonly [what: string, breaks: (world: World) => void, note: string][] = [
    [
      "a server that fails with the new key as well",
      (world) => {
        world.canary = () => (world.tried.length === 1 ? PASSES : FAILS);
      },
      "the probe fails with the new TOKEN as well, so it does not show that the old one is refused: its probe works failed",
    ],
    [
      "a server that does not start with the old key",
      (world) => {
        world.canary = () =>
          world.tried.length === 1 ? PASSES : { works: false, wasProbed: false, reason: "it ended" };
      },
      "the old TOKEN was not tried in a server: it does not start with it, so that its probe was not asked (it ended)",
    ],
    [
      "a server that can't run twice",
      (world) => {
        world.canary = () =>
          world.tried.length === 1
            ? PASSES
            : { works: true, wasProbed: false, skipped: "it can't run twice" };
      },
      "the old TOKEN was not tried in a server: it can't run twice",
    ],
    [
      "a backend that does not give the other secrets",
      (world) => {
        world.canary = () => {
          if (world.tried.length === 1) return PASSES;
          throw failure("it is down");
        };
      },
      "the old TOKEN was not tried in a server: it is down",
    ],
  ];

  it.each(NOT_SHOWN)("says that %s has shown nothing", async (_what, breaks, note) => {
    const world = withKeys();
    breaks(world);

    const outcome = await world.rotate({ targets: withoutVerify(await world.targets()) });

    expect(outcome).toMatchObject({ is: "done", stillValid: [] });
    expect(outcome.notes).toContain(note);
    expect(outcome.notes).toContain("nobody could be asked whether the old TOKEN is refused");
    expect(world.journalOf(outcome.rotation)).not.toContain("canary-");
  });
});
