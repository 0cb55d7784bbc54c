/** Supervisors in this process that are asked to try a candidate, on real sockets. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../../src/clock.ts";
import type { Answer, Request, SecretStatus, SupervisorStatus } from "../../../src/control/protocol.ts";
import { type AnswerBody, BusyError } from "../../../src/control/server.ts";
import { McpRunError } from "../../../src/errors.ts";
import {
  SupervisorCanary,
  type SupervisorCanaryOptions,
} from "../../../src/rotation/canary/supervisor-canary.ts";
import type { CanaryOutcome } from "../../../src/rotation/contract.ts";
import { Secret } from "../../../src/secrets/secret.ts";
import { ControlRoom } from "../../control/room.ts";
import { statusOf } from "../../control/status.ts";

const REF = "vault:mcp/github#token";
const CANDIDATES = { rotation: "20270115-080000-abcdef", refs: [REF] };
const VALUES = new Map([["T", new Secret("canary-new")]]);
const OWN: CanaryOutcome = { works: true, wasProbed: true, ranBy: "mcp-run rotate" };
const GOOD = { works: true, wasProbed: true };
const signal = new AbortController().signal;

let room: ControlRoom;
let ownTrials: number;
let asked: Map<number, Request<"canary">[]>;

beforeEach(() => {
  room = new ControlRoom();
  ownTrials = 0;
  asked = new Map();
});
afterEach(() => room.close());

function canary(profile: Partial<SupervisorCanaryOptions["profile"]> = {}): SupervisorCanary {
  return new SupervisorCanary({
    place: room.place,
    clock: systemClock,
    profile: { name: "p", file: "/nonexistent/p.yaml", hasProbe: true, alone: undefined, ...profile },
    own: {
      try: async () => {
        ownTrials++;
        return OWN;
      },
    },
  });
}

type Trial = (signal: AbortSignal) => AnswerBody<"canary"> | Promise<Omit<Answer<"canary">, "v" | "ok">>;

/** A supervisor of the profile p with the secret, which tries as the test says. */
function enter(pid: number, trial: Trial = () => GOOD, facts: Partial<SupervisorStatus> = {}) {
  return room.serve(pid, {
    status: () => ({ status: statusOf(pid, { secrets: [secretOf(REF)], ...facts }) }),
    canary: (request, gone) => {
      asked.set(pid, [...(asked.get(pid) ?? []), request]);
      return trial(gone);
    },
  });
}

function secretOf(ref: string): SecretStatus {
  return { name: "T", ref, provider: "vault", fetchedAt: "2027-01-15T08:00:00.000Z" };
}

const denied: Trial = () => {
  throw new McpRunError("access-denied", "Cannot fetch the candidate: permission denied (403)");
};
const busy: Trial = () => {
  throw new BusyError("Cannot try it: it tries another one", "again in 10 s");
};

describe("a canary inside a supervisor", () => {
  it("is asked for by names alone, of one that runs the profile", async () => {
    await enter(7);

    const outcome = await canary().try(VALUES, signal, CANDIDATES);

    expect(outcome).toEqual({ ...GOOD, ranBy: "the supervisor with pid 7", notes: [] });
    expect(asked.get(7)).toEqual([{ v: 1, type: "canary", ...CANDIDATES }]);
    expect(ownTrials).toBe(0);
  });

  it("says no for all, with what the server said last", async () => {
    const bad = { works: false, wasProbed: true, reason: "its probe failed", details: ["401"] };
    await enter(7, () => bad);
    await enter(8, () => bad);

    const outcome = await canary().try(VALUES, signal, CANDIDATES);

    expect(outcome).toMatchObject({ ...bad, notes: [] });
    expect([asked.size, ownTrials]).toEqual([1, 0]);
  });

  it.each<[what: string, trial: Trial, why: string]>([
    ["may not read the candidate", denied, "Cannot fetch the candidate: permission denied (403)"],
    ["tries another one", busy, "Cannot try it: it tries another one"],
    [
      "has not used the probe that the profile has by now",
      () => ({ ...GOOD, wasProbed: false }),
      "it did not probe it",
    ],
  ])("is another's if the first %s, and in the end the rotation's own", async (_what, trial, why) => {
    await enter(7, trial);
    const alone = await canary().try(VALUES, signal, CANDIDATES);
    const note = `the supervisor with pid 7 could not try the new key: ${why}`;
    expect(alone).toEqual({ ...OWN, notes: [note] });

    await enter(6);
    const both = await canary().try(VALUES, signal, CANDIDATES);
    expect(both.ranBy).toMatch(/^the supervisor with pid 6$/);
    expect(ownTrials).toBe(1);
  });

  it("is another's if the first dies in the middle of it", async () => {
    const first = await enter(8, () => {
      void first.close();
      return new Promise(() => undefined);
    });
    await enter(7);

    const outcome = await canary().try(VALUES, signal, CANDIDATES);

    expect(outcome).toMatchObject({ ...GOOD, ranBy: "the supervisor with pid 7" });
    expect(ownTrials).toBe(0);
  });

  it("is not asked of more than three", async () => {
    for (const pid of [3, 4, 5, 6, 7]) await enter(pid, denied);

    const outcome = await canary().try(VALUES, signal, CANDIDATES);

    expect([asked.size, ownTrials, outcome.notes?.length]).toEqual([3, 1, 3]);
  });

  it.each<[what: string, facts: Partial<SupervisorStatus>]>([
    ["another profile", { profile: "q" }],
    ["a profile of that name in another file", { file: "/elsewhere/p.yaml" }],
    ["a program under exec", { refresh: { mode: "exec", isLooking: false } }],
    ["other secrets", { secrets: [secretOf("vault:other")] }],
  ])("is not asked of one that runs %s", async (_what, facts) => {
    await enter(7, () => GOOD, facts);

    expect(await canary().try(VALUES, signal, CANDIDATES)).toEqual({ ...OWN, notes: [] });
    expect(asked.size).toBe(0);
  });

  it("is asked of one that can't tell all of its secrets at once", async () => {
    await enter(7, () => GOOD, { secrets: [], secretsLeftOut: 300 });

    expect(await canary().try(VALUES, signal, CANDIDATES)).toMatchObject({
      ranBy: "the supervisor with pid 7",
    });
  });

  it("is the rotation's own where the values lie in no store", async () => {
    await enter(7);

    expect(await canary().try(VALUES, signal)).toMatchObject({ ranBy: "mcp-run rotate" });
    expect(asked.size).toBe(0);
  });

  it("is nobody's where the server can't run twice, and runs", async () => {
    const alone = "its server can't run twice";
    const before = await canary({ alone }).try(VALUES, signal, CANDIDATES);
    await enter(7);

    const now = await canary({ alone }).try(VALUES, signal, CANDIDATES);

    expect(before).toMatchObject(OWN);
    expect(now).toEqual({ works: true, wasProbed: false, skipped: alone });
    expect([asked.size, ownTrials]).toEqual([0, 1]);
  });

  it("is nobody's either where it may run in one that does not answer", async () => {
    await room.serve(7, { status: () => Promise.reject(new Error("a bug")) });

    const outcome = await canary({ alone: "its server can't run twice" }).try(VALUES, signal, CANDIDATES);

    expect(outcome.skipped).toBe("its server can't run twice");
  });

  it("is given up with the rotation, there as well", async () => {
    const stop = new AbortController();
    let wasGivenUp = false;
    await enter(7, (gone) => {
      stop.abort(new Error("enough"));
      return new Promise((_resolve, reject) => {
        gone.addEventListener("abort", () => {
          wasGivenUp = true;
          reject(gone.reason);
        });
      });
    });

    await expect(canary().try(VALUES, stop.signal, CANDIDATES)).rejects.toThrow("enough");
    await expect.poll(() => wasGivenUp).toBe(true);
  });
});
