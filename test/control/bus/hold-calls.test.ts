/** Calls to hold requests, as a supervisor hears them; what it makes of them is the test's. */
import { beforeEach, describe, expect, it } from "vitest";
import { HoldCalls, type HoldingForBus } from "../../../src/control/bus/hold-calls.ts";
import type { HoldAsked } from "../../../src/control/bus/messages.ts";
import { VirtualClock } from "../../helpers/virtual-clock.ts";

const HOLD: HoldAsked = { rotation: "r1", forMs: 45_000, upTo: 1, overMs: 1_000 };
/** Ms in which everybody has had his turn. */
const TURN_MS = 1_100;

let clock: VirtualClock;
let asked: [keys: readonly string[], hold: unknown][];
let answers: number;
let answer: Awaited<ReturnType<HoldingForBus["ask"]>>;
let heldFor: string | undefined;
let calls: HoldCalls;

beforeEach(() => {
  clock = new VirtualClock();
  asked = [];
  answers = 0;
  answer = { holds: true };
  heldFor = undefined;
  calls = new HoldCalls({
    clock,
    instance: "1-a",
    holding: {
      ask: async (keys, hold) => {
        asked.push([keys, hold]);
        heldFor = answer.holds ? hold.rotation : undefined;
        return answer;
      },
      rotation: () => heldFor,
    },
    onAnswer: () => {
      answers++;
    },
  });
});

describe("a supervisor that is called to hold requests", () => {
  it("asks once for all secrets of one asking, when it has its turn, and says what comes of it", async () => {
    calls.hear("k1", "a", HOLD);
    calls.hear("k2", "a", HOLD);
    expect(asked).toEqual([]);

    await clock.advance(TURN_MS);

    expect(asked).toEqual([[["k1", "k2"], { rotation: "r1", forMs: 45_000 }]]);
    expect(calls.said).toEqual({ call: "a", rotation: "r1", holds: true });
    expect(answers).toBe(1);
  });

  it("says it again, and asks nothing, when that asking is repeated", async () => {
    answer = { holds: false, reason: "x".repeat(1_000) };
    calls.hear("k1", "a", HOLD);
    await clock.advance(TURN_MS);

    calls.hear("k1", "a", HOLD);
    await clock.advance(TURN_MS);

    expect(asked).toHaveLength(1);
    expect(answers).toBe(2);
    expect(calls.said).toEqual({ call: "a", rotation: "r1", holds: false, reason: "x".repeat(300) });
  });

  it("asks anew for another asking of the same rotation", async () => {
    for (const id of ["a", "b"]) {
      calls.hear("k1", id, HOLD);
      await clock.advance(TURN_MS);
    }

    expect(asked).toHaveLength(2);
  });

  it("does not go on saying that it holds when it has let them go", async () => {
    calls.hear("k1", "a", HOLD);
    await clock.advance(TURN_MS);

    heldFor = undefined;

    expect(calls.said).toBeUndefined();
  });

  it("passes over what is not for its part of the fleet", async () => {
    calls.hear("k1", "a", { ...HOLD, upTo: 0 });
    await clock.advance(TURN_MS);

    expect(asked).toEqual([]);
    expect(answers).toBe(0);
  });

  it("hears four askings at the same time, whoever floods it", async () => {
    for (let id = 0; id < 100; id++) calls.hear("k1", String(id), { ...HOLD, rotation: `r${id}` });
    await clock.advance(TURN_MS);

    expect(asked).toHaveLength(4);
  });

  it("asks nothing any more once it is closed", async () => {
    calls.hear("k1", "a", HOLD);

    calls.close();
    calls.hear("k1", "b", HOLD);
    await clock.advance(TURN_MS);

    expect(asked).toEqual([]);
  });
});
