/** Keys that their backend replaces by itself: which steps there are, what is taken back, and what a crash leaves. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ProviderError } from "../../src/errors.ts";
import type { Target } from "../../src/rotation/contract.ts";
import { incidentOf } from "../../src/rotation/incident/incident-of.ts";
import { readJournal } from "../../src/rotation/journal/journal.ts";
import { MODES } from "../../src/rotation/modes.ts";
import { BackendWorld, LENT, LIVE } from "./backend-world.ts";
import { Crash } from "./world.ts";

const PATIENCE_MS = 60_000;

function stepsOf(world: BackendWorld): readonly string[] {
  return world.events.flatMap((event) => (event.type === "step-done" ? [event.step] : []));
}

describe("a live key", () => {
  it("is replaced before anybody is told, and nothing is tried or put anywhere", async () => {
    const world = new BackendWorld();

    const outcome = await world.rotate({ targets: [world.liveTarget()], revokeFirst: true });

    expect(outcome).toMatchObject({ is: "done", stillValid: [] });
    expect(stepsOf(world)).toEqual(["rotate", "revoke", "verify", "spread", "retire"]);
    expect(world.tried).toEqual([]);
    expect(world.live).toEqual(["canary-live-1", "canary-live-2"]);
    expect(world.journalOf(outcome.rotation)).not.toContain("canary-");
  });

  it("that only a person can end is asked about when every server has the new one, and retired only then", async () => {
    const world = new BackendWorld();
    const targets = [world.liveTarget("aws-rotation")];

    const outcome = await world.rotate({ targets, revokeFirst: true });

    expect(outcome.is).toBe("incomplete");
    expect(outcome.stillValid).toEqual([{ which: "old", secret: "PASSWORD", target: LIVE }]);
    expect(stepsOf(world)).toEqual(["rotate", "spread"]);
    expect(world.questions.map(({ type }) => type)).toEqual(["revoked-by-hand"]);
    expect(world.forgotten).toEqual([]);
    world.answer = () => "go-on";
    const ended = await world.resume(outcome.rotation, targets);
    expect(ended).toMatchObject({ is: "done", stillValid: [] });
    expect(world.forgotten).toContain("v1");
    expect(world.live).toHaveLength(2);
  });

  it.each(["denied", "invalid", "conflict"] as const)(
    "that its backend refuses to replace (%s) is as it was, and the rotation given up",
    async (failure) => {
      const world = new BackendWorld();
      world.liveFailure = new ProviderError(failure, "it must not", { hint: "a right" });

      const outcome = await world.rotate({ targets: [world.liveTarget()] });

      expect(outcome).toMatchObject({ is: "discarded", hint: "a right", stillValid: [], next: [] });
      expect(world.live).toHaveLength(1);
    },
  );

  it("of which nobody knows whether it is replaced is left for the next try, which looks first", async () => {
    const world = new BackendWorld();
    const targets = [world.liveTarget()];
    world.losesAnswer = true;

    const broken = await world.rotate({ targets });
    expect(broken).toMatchObject({ is: "incomplete" });
    expect(broken.next.join()).toContain("nobody can put the old one back");
    await expect(world.rollback(broken.rotation, targets)).rejects.toThrow("nobody can put the old one back");
    const outcome = await world.resume(broken.rotation, targets);

    expect(outcome.is).toBe("done");
    expect(world.live).toHaveLength(2);
  });

  it.each(["denied", "invalid", "missing"] as const)(
    "that is replaced and then can't be read (%s) is not taken for one that is as it was",
    async (kind) => {
      const world = new BackendWorld();
      const targets = [world.liveTarget()];
      const plan = await world.plan({ targets });
      let reads = 0;
      world.onTouch = (what) => {
        if (what === "read" && ++reads === 1) throw new ProviderError(kind, "it can't be read");
      };

      const broken = await world.rotatePlanned(plan);

      expect(broken).toMatchObject({ is: "incomplete" });
      expect(broken.reason).toContain("it is replaced, and can't be read: it can't be read");
      const outcome = await world.resume(broken.rotation, targets);
      expect(outcome.is).toBe("done");
      expect(world.live).toHaveLength(2);
    },
  );

  it("that its backend has ended is valid no longer, although somebody does not have the new one", async () => {
    const world = new BackendWorld();
    world.lagging = "pending";

    const outcome = await world.rotate({ targets: [world.liveTarget()] });

    expect(outcome).toMatchObject({ is: "incomplete", stillValid: [] });
    const { lines } = await readJournal(world.place.folder, outcome.rotation);
    const { secrets } = incidentOf(lines, outcome, "1.2.3", () => undefined);
    expect(secrets).toMatchObject([{ name: "PASSWORD", revoked: "revoked" }]);
  });

  it("is not refused for certain if it was asked for before", async () => {
    const world = new BackendWorld();
    const targets = [world.liveTarget()];
    world.liveFailure = new ProviderError("unavailable", "no answer");
    const broken = await world.rotate({ targets });
    world.liveFailure = new ProviderError("denied", "no more");

    const outcome = await world.resume(broken.rotation, targets);

    expect(outcome.is).toBe("incomplete");
  });

  it("is not replaced where what is rotated along with it does not work", async () => {
    const world = new BackendWorld();
    world.canary = () => ({ works: false, wasProbed: true, reason: "401" });

    const outcome = await world.rotate({ targets: [...(await world.targets()), world.liveTarget()] });

    expect(outcome.is).toBe("discarded");
    expect(world.live).toHaveLength(1);
  });
});

describe("leases", () => {
  it("are tried by a server of its own, lent anew, and ended one by one", async () => {
    const world = new BackendWorld();
    const targets = [world.leaseTarget()];

    const outcome = await world.rotate({ targets });

    expect(outcome).toMatchObject({ is: "done", stillValid: [] });
    expect(stepsOf(world)).toEqual(["canary", "spread", "revoke", "verify", "retire"]);
    expect(world.tried).toEqual([[]]);
    expect(world.revoked.sort()).toEqual(["lease-1", "lease-leaked"]);
    expect([...world.leases]).toEqual([world.lent]);
  });

  it("that are in use still are kept and named, unless somebody wants them ended", async () => {
    const world = new BackendWorld();
    const targets = [world.leaseTarget()];
    world.keepsLease = true;
    world.lagging = "acknowledged";

    const outcome = await world.rotate({ targets });
    expect(outcome).toMatchObject({ is: "incomplete", stillValid: [{ secret: "ACCOUNT", target: LENT }] });
    expect(outcome.reason).toContain("lease lease-1 kept for github on laptop (pid 7)");
    expect([...world.leases]).toEqual(["lease-1"]);
    world.answer = ({ type }) => (type === "leases-in-use" ? "go-on" : "stop");
    const ended = await world.resume(outcome.rotation, targets);

    expect(ended).toMatchObject({ is: "done", stillValid: [] });
    expect(world.leases.size).toBe(0);
  });

  it("are all kept where nobody can be asked who has them, unless nobody else has to be heard", async () => {
    const world = new BackendWorld();
    const targets = [world.leaseTarget()];
    world.busFailure = "Cannot read the reports on the fleet's bus: no answer in time";

    const outcome = await world.rotate({ targets });
    expect(outcome.is).toBe("incomplete");
    const why = `the fleet's bus: ${world.busFailure}`;
    expect(outcome.reason).toContain(`leases lease-1, lease-leaked kept for whoever has them: ${why}`);
    expect(world.leases).toContain("lease-leaked");
    world.missingOk = ["*"];
    const ended = await world.resume(outcome.rotation, targets);

    expect(ended.is).toBe("done");
    expect([...world.leases]).toEqual([world.lent]);
    expect(ended.notes).toContain(`nobody could be asked which leases of ${LENT} are in use still: ${why}`);
  });

  it("are ended before anybody has another under active abuse, and nobody is asked", async () => {
    const world = new BackendWorld();

    const outcome = await world.rotate({ targets: [world.leaseTarget()], revokeFirst: true });

    expect(outcome.is).toBe("done");
    expect(stepsOf(world)).toEqual(["revoke", "verify", "canary", "spread", "retire"]);
    expect(world.questions).toEqual([]);
  });

  it("are not touched where the canary does not work", async () => {
    const world = new BackendWorld();
    world.canary = () => ({ works: false, wasProbed: true, reason: "401" });

    const outcome = await world.rotate({ targets: [world.leaseTarget()] });

    expect(outcome.is).toBe("discarded");
    expect(world.leases.size).toBe(2);
    expect(world.lent).toBe("lease-1");
  });
});

describe.each([
  ["a static role", (world: BackendWorld) => [world.liveTarget()]],
  ["a rotation of AWS", (world: BackendWorld) => [world.liveTarget("aws-rotation")]],
  ["leases", (world: BackendWorld) => [world.leaseTarget()]],
  [
    "one of each, and values of a store",
    async (world: BackendWorld) => [...(await world.targets()), world.liveTarget(), world.leaseTarget()],
  ],
] satisfies [string, (world: BackendWorld) => Target[] | Promise<Target[]>][])(
  "after a crash, %s",
  (_what, targetsIn) => {
    it.each([false, true])(
      "ends as if it had never been cut off (at once: %s)",
      async (diesAtOnce) => {
        const start = async () => {
          const world = new BackendWorld();
          world.answer = () => "go-on";
          return { world, targets: await targetsIn(world) };
        };
        const uncut = await start();
        const { rotation, is } = await uncut.world.rotate({ targets: uncut.targets });
        expect(is).toBe("done");
        const lines = uncut.world.journalOf(rotation).split("\n").length - 1;

        for (let cut = 1; cut < lines; cut++) {
          const { world, targets } = await start();
          Object.assign(world, { lines: cut, diesAtOnce });
          await expect(world.rotate({ targets })).rejects.toBeInstanceOf(Crash);
          world.reborn();
          const [file = ""] = readdirSync(world.place.folder).filter((name) => name.endsWith(".jsonl"));

          const outcome = await world.resume(file.replace(".jsonl", ""), targets);

          expect(outcome, `line ${cut}`).toMatchObject({ is: "done", stillValid: [] });
          expect(world.live, `line ${cut}`).toEqual(uncut.world.live);
          expect([...world.leases], `line ${cut}`).toEqual([...uncut.world.leases]);
        }
      },
      PATIENCE_MS,
    );
  },
);

describe("the table of modes in docs/rotate.md", () => {
  it("says what the code does", () => {
    const text = readFileSync(join(import.meta.dirname, "../../docs/rotate.md"), "utf8");
    const rows = text
      .split("\n")
      .filter((line) => /^\| [^|]+ \| (?:yes|no) \| (?:yes|no) \| (?:yes|no) \| /.test(line))
      .map((line) => line.split("|").map((cell) => cell.trim()));

    const inDocs = rows.map(([, what, canary, overlap, rollback, revokes]) => ({
      what,
      canary: canary === "yes",
      overlap: overlap === "yes",
      rollback: rollback === "yes",
      revokes: /^`([a-z-]+)`/.exec(revokes ?? "")?.[1],
    }));
    expect(inDocs).toEqual(Object.values(MODES));
  });
});
