/** What a rotation meets on a bad day: no permission, servers that fail, a clock that goes back. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../src/clock.ts";
import { keyOf } from "../../src/control/protocol.ts";
import type { ControlHandlers } from "../../src/control/server.ts";
import { ProviderError } from "../../src/errors.ts";
import { resume, rotate } from "../../src/rotation/engine.ts";
import { fingerprintUnder } from "../../src/rotation/fingerprints.ts";
import { LocalFleet } from "../../src/rotation/fleet/local-fleet.ts";
import { incidentOf } from "../../src/rotation/incident/incident-of.ts";
import { incidentReport } from "../../src/rotation/incident/report.ts";
import { readJournal, unfinishedRotations } from "../../src/rotation/journal/journal.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { ControlRoom } from "../control/room.ts";
import { statusOf } from "../control/status.ts";
import { Crash, DATABASE, GITHUB, never, World } from "./world.ts";

const OLD_VALUES = ["canary-old-db", "canary-old-token"];
const NEW_VALUES = ["canary-new-DB-1", "canary-new-TOKEN-1"];

describe("whoever may not write", () => {
  const denied = new ProviderError("denied", "permission denied (403)", { hint: "a policy that allows it" });

  function forbid(world: World, ...operations: readonly string[]): void {
    world.behaviour.failure = (asked) => (operations.includes(asked) ? denied : undefined);
  }

  it.each(["findCandidate", "putCandidate", "fetchCandidate", "promote"])(
    "changes nothing, and is told what is missing: %s",
    async (operation) => {
      const world = new World();
      const plan = await world.plan();
      forbid(world, operation);

      const outcome = await world.rotatePlanned(plan);

      expect(outcome).toMatchObject({
        is: "discarded",
        reason: expect.stringContaining("permission denied (403)"),
        hint: "a policy that allows it",
        stillValid: [],
        next: [],
      });
      world.behaviour.failure = () => undefined;
      const { documents, valid } = await world.state();
      expect(documents).toMatchObject([
        { versions: ["v1"], candidate: undefined },
        { versions: ["v1"], candidate: undefined },
      ]);
      expect(valid).toEqual(OLD_VALUES);
    },
  );

  it("has ended the new keys if the candidates can't be taken back either, and goes on with that later", async () => {
    const world = new World();
    const plan = await world.plan();
    forbid(world, "promote", "discard");

    const outcome = await world.rotatePlanned(plan);

    expect(outcome).toMatchObject({ is: "incomplete", stillValid: [] });
    expect(outcome.next[1]).toContain(`--resume ${outcome.rotation}`);
    expect((await world.state()).valid).toEqual(OLD_VALUES);
    world.behaviour.failure = () => undefined;
    expect(await world.resume(outcome.rotation)).toMatchObject({ is: "discarded" });
    expect((await world.state()).documents).toMatchObject([
      { candidate: undefined },
      { candidate: undefined },
    ]);
  });

  it("has replaced the key if only the old version can't be retired, and goes on with that later", async () => {
    const world = new World();
    const plan = await world.plan();
    forbid(world, "retire");

    const outcome = await world.rotatePlanned(plan);

    expect(outcome).toMatchObject({ is: "incomplete", stillValid: [] });
    expect((await world.state()).valid).toEqual(NEW_VALUES);
    world.behaviour.failure = () => undefined;
    expect(await world.resume(outcome.rotation)).toMatchObject({ is: "done" });
  });
});

describe("three of fifty servers that can't take the new value", () => {
  let room: ControlRoom;

  beforeEach(() => {
    room = new ControlRoom();
  });
  afterEach(() => room.close());

  it("are named; the old key is not ended before they have it, and no new one is made for that", async () => {
    const world = new World();
    const broken = new Set([7, 23, 42]);
    for (let pid = 1; pid <= 50; pid++) await room.serve(pid, supervisor(world, pid, broken));
    const fleet = new LocalFleet({ place: room.place, clock: systemClock });
    const deps = { ...world.deps, fleet };
    const targets = (await world.targets()).filter(({ ref }) => ref === DATABASE);
    const plan = await world.plan({ targets });

    const stuck = await rotate(plan, world.place, deps, never());

    expect(stuck).toMatchObject({
      is: "incomplete",
      reason: "3 of 50 supervisors do not have the new value",
      stillValid: [{ which: "old", secret: "DB" }],
    });
    const failed = stuck.acknowledgements.filter(({ state }) => state !== "acknowledged");
    expect(failed).toMatchObject(
      [7, 23, 42].map((pid) => ({ pid, state: "failed", reason: "its probe failed" })),
    );
    expect(stuck.next[0]).toContain("# to tell every supervisor and wait for them");
    expect(stuck.next[1]).toContain(`--resume ${stuck.rotation}`);
    expect([...world.issuers.valid]).toContain("canary-old-db");
    expect(
      (await unfinishedRotations(world.place.folder, () => undefined)).map(
        ({ plan: { rotation } }) => rotation,
      ),
    ).toEqual([stuck.rotation]);

    broken.clear();
    const done = await resume(stuck.rotation, targets, world.place, deps, never());

    expect(done).toMatchObject({ is: "done", stillValid: [] });
    expect(done.acknowledgements.every(({ state }) => state === "acknowledged")).toBe(true);
    expect([...world.issuers.valid]).not.toContain("canary-old-db");
    expect(world.issuers.calls.filter((call) => call === "mint DB")).toHaveLength(1);
  });

  /** Serves what the store has from the moment that it is told, unless it is broken. */
  function supervisor(world: World, pid: number, broken: ReadonlySet<number>): ControlHandlers {
    let looks = 0;
    let value = new Secret("canary-old-db");
    const secrets = [
      { name: "DB", ref: DATABASE, provider: "memory", fetchedAt: "2027-01-15T08:00:00.000Z" },
    ];
    const failure = () => ({
      lastFailure: { at: new Date(Date.UTC(2027, 0, 15) + looks).toISOString(), reason: "its probe failed" },
    });
    return {
      status: () => {
        const refresh = { mode: "overlap", isLooking: false, ...(looks > 0 && broken.has(pid) && failure()) };
        return { status: statusOf(pid, { secrets, era: "legacy", refresh }) };
      },
      refresh: async () => {
        looks++;
        if (!broken.has(pid)) value = (await world.served(DATABASE)) ?? value;
        return { accepted: true, generation: 1 };
      },
      acknowledge: ({ key }) => {
        const fingerprint = fingerprintUnder(keyOf(key).toString("base64url"), value);
        const has = [{ ref: DATABASE, name: "DB", fingerprint }];
        return { pid, host: "here", generation: 2, isChanging: false, secrets: has };
      },
    };
  }
});

describe("a clock that goes back", () => {
  /** An hour earlier each time that somebody looks. */
  function turnBack({ clock }: World): void {
    let now = clock.now();
    clock.now = () => {
      now -= 3_600_000;
      return now;
    };
  }

  it("changes nothing: every step is taken once, in its order, and takes no negative time", async () => {
    const [ahead, back] = [new World(), new World()];
    await ahead.rotate();
    turnBack(back);

    const outcome = await back.rotate();

    expect(outcome).toMatchObject({ is: "done", stillValid: [] });
    const steps = ({ events }: World) =>
      events.flatMap((event) => ("step" in event ? [`${event.type} ${event.step}`] : []));
    expect(steps(back)).toEqual(steps(ahead));
    for (const event of back.events) if ("ms" in event) expect(event.ms).toBeGreaterThanOrEqual(0);
    expect((await back.state()).valid).toEqual(NEW_VALUES);
    const { lines } = await readJournal(back.place.folder, outcome.rotation);
    const times = lines.map(({ at }) => Date.parse(at));
    expect(times).toEqual(times.toSorted((one, other) => other - one));
    const report = incidentReport(incidentOf(lines, outcome, "1.0.0", () => undefined));
    const order = [`plan ${GITHUB}`, `mint ${GITHUB}`, "canary", "spread", `retire ${GITHUB}`, "end: done"];
    const places = order.map((what) => report.indexOf(what, report.indexOf("## Timeline")));
    expect(places).toEqual(places.toSorted((one, other) => one - other));
    expect(places).not.toContain(-1);
  });

  it.each([6, 12, 16, 20])(
    "leaves a rotation that is cut off after line %i one that can be gone on with",
    async (lines) => {
      const world = new World();
      const plan = await world.plan();
      world.lines = lines;
      await expect(world.rotatePlanned(plan)).rejects.toBeInstanceOf(Crash);
      world.reborn();
      turnBack(world);

      expect(await world.resume(plan.record.rotation)).toMatchObject({ is: "done", stillValid: [] });

      expect((await world.state()).valid).toEqual(NEW_VALUES);
    },
  );
});
