/** Which servers are asked to hold requests, and when: right before the first key is ended, and by each process anew. */
import { describe, expect, it } from "vitest";
import type { Holder, SecretInUse } from "../../../src/rotation/contract.ts";
import type { RotationDeps } from "../../../src/rotation/run.ts";
import { failure, never, World } from "../world.ts";

const SERVER = { host: "laptop", pid: 7, profile: "github", generation: 1, canSwap: true };
const HOLDS: Holder = { ...SERVER, holds: true };
const DOES_NOT: Holder = { ...SERVER, pid: 8, holds: false, reason: "it is ending" };

class HeldWorld extends World {
  readonly asked: (readonly SecretInUse[])[] = [];
  /** What the issuer had been asked by then. */
  issuerCalls: readonly string[] = [];
  holders: () => readonly Holder[] = () => [HOLDS];

  override get deps(): RotationDeps {
    return {
      ...super.deps,
      holdRequests: async (secrets) => {
        this.touch("hold");
        this.asked.push(secrets);
        this.issuerCalls = [...this.issuers.calls];
        return this.holders();
      },
    };
  }

  /** What is told of the step. */
  get told(): readonly (string | undefined)[] {
    return this.events.flatMap((event) =>
      event.type === "step-done" && event.step === "hold" ? [event.facts.reason] : [],
    );
  }

  get notes(): readonly string[] {
    return this.events.flatMap((event) => (event.type === "note" ? [event.message] : []));
  }
}

const ending = (call: string) => call.startsWith("revoke") || call.startsWith("verify");

describe("a rotation that ends the old key first", () => {
  it("has servers hold their requests right before the first revocation, and once", async () => {
    const world = new HeldWorld();

    expect(await world.rotate({ revokeFirst: true })).toMatchObject({ is: "done" });

    const [secrets, ...more] = world.asked;
    expect(more).toEqual([]);
    expect(secrets?.map(({ from }) => from)).toEqual(["memory:mcp/github#token", "memory:db"]);
    expect(secrets?.every(({ fingerprint }) => /^[0-9a-f]{64}$/.test(fingerprint ?? ""))).toBe(true);
    expect(world.issuerCalls.filter(ending)).toEqual([]);
    const steps = world.events.flatMap((event) => (event.type === "step-done" ? [event.step] : []));
    expect(steps.indexOf("hold")).toBe(steps.indexOf("revoke") - 1);
    expect(world.told).toEqual(["1 of 1 server holds its requests"]);
  });

  it("names who does not, and goes on", async () => {
    const world = new HeldWorld();
    world.holders = () => [HOLDS, { ...HOLDS, pid: 9 }, DOES_NOT];

    expect(await world.rotate({ revokeFirst: true })).toMatchObject({ is: "done" });

    expect(world.told).toEqual(["2 of 3 servers hold their requests"]);
    expect(world.notes).toContain(
      "github (pid 8) does not hold its requests, which may fail until it has the new value: it is ending",
    );
  });

  it("names where they are as soon as there are several machines, and who could not be asked", async () => {
    const world = new HeldWorld();
    const bus = {
      ...SERVER,
      host: "the fleet's bus",
      pid: 0,
      profile: "?",
      holds: false,
      reason: "it is down",
    };
    const away = { ...DOES_NOT, host: "web-2", isSilent: true } as const;
    world.holders = () => [HOLDS, { ...DOES_NOT, host: "web-1" }, away, bus];

    expect(await world.rotate({ revokeFirst: true })).toMatchObject({ is: "done" });

    expect(world.told).toEqual(["1 of 2 servers holds its requests, nothing is heard of 1 more"]);
    expect(world.notes.filter((note) => note.includes("hold"))).toEqual([
      "github on web-1 (pid 8) does not hold its requests, which may fail until it has the new value: it is ending",
      "the fleet's bus: nobody is asked to hold requests, and some may fail: it is down",
    ]);
  });

  it("names ten, and counts the others", async () => {
    const world = new HeldWorld();
    world.holders = () => Array.from({ length: 1_000 }, (_, pid) => ({ ...DOES_NOT, pid: pid + 1 }));

    await world.rotate({ revokeFirst: true });

    const notes = world.notes.filter((note) => note.includes("hold"));
    expect(notes).toHaveLength(11);
    expect(notes.at(-1)).toBe("990 more do not hold their requests");
  });

  it.each([
    ["where nobody is there", () => [], "no server that has it is heard"],
    [
      "where nobody can be asked",
      () => {
        throw failure("others can enter the folder");
      },
      "no server could be asked: others can enter the folder",
    ],
  ] as const)("goes on %s", async (_where, holders, told) => {
    const world = new HeldWorld();
    world.holders = holders;

    expect(await world.rotate({ revokeFirst: true })).toMatchObject({ is: "done" });
    expect(world.told).toEqual([told]);
  });

  it("asks again when it is gone on with, as long as the new key is not there", async () => {
    const world = new HeldWorld();
    world.canary = () => ({ works: false, wasProbed: true, reason: "it says 503" });
    const outcome = await world.rotate({ revokeFirst: true });
    expect(outcome.is).toBe("incomplete");
    world.canary = () => ({ works: true, wasProbed: true });

    expect(await world.resume(outcome.rotation)).toMatchObject({ is: "done" });

    expect(world.asked).toHaveLength(2);
    expect(world.issuerCalls.filter(ending)).toHaveLength(4);
  });

  it("asks for nothing that is promoted already", async () => {
    const world = new HeldWorld();
    world.lagging = "pending";
    const outcome = await world.rotate({ revokeFirst: true });
    expect(outcome.is).toBe("incomplete");
    world.lagging = undefined;

    expect(await world.resume(outcome.rotation)).toMatchObject({ is: "done" });

    expect(world.asked).toHaveLength(1);
  });

  it("asks only when a person has ended the key, who takes his time", async () => {
    const world = new HeldWorld();
    world.issuers.canRevoke = false;
    const askedByThen: number[] = [];
    world.answer = ({ type }) => {
      if (type === "revoked-by-hand") askedByThen.push(world.asked.length);
      world.issuers.valid.delete("canary-old-token");
      world.issuers.valid.delete("canary-old-db");
      return "go-on";
    };

    const targets = await world.targets("console");
    expect(await world.rotate({ revokeFirst: true, targets })).toMatchObject({ is: "done" });

    expect(askedByThen).toEqual([0, 0]);
    expect(world.asked).toHaveLength(1);
  });

  it("asks nobody where the old key is not ended before", async () => {
    const world = new HeldWorld();
    world.issuers.canRevoke = false;
    world.answer = () => "stop";

    await world.rotate({ revokeFirst: true, targets: await world.targets("console") });

    expect(world.asked).toEqual([]);
  });

  it("stops where it is interrupted meanwhile", async () => {
    const world = new HeldWorld();
    const stop = new AbortController();
    world.holders = () => {
      stop.abort(failure("stopped"));
      throw failure("stopped");
    };

    const outcome = await world.rotate({ revokeFirst: true }, stop.signal);

    expect(outcome).toMatchObject({ is: "discarded" });
    expect(world.issuers.valid).toContain("canary-old-token");
  });
});

describe("a rotation that ends the old key last", () => {
  it("has nobody hold anything", async () => {
    const world = new HeldWorld();

    expect(await world.rotate({}, never())).toMatchObject({ is: "done" });

    expect(world.asked).toEqual([]);
  });
});
