/** Supervisors in this process that are asked to hold requests, on real sockets. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../../src/clock.ts";
import { fingerprintOf } from "../../../src/control/fingerprint.ts";
import type { Request } from "../../../src/control/protocol.ts";
import { BusyError, type ControlHandlers } from "../../../src/control/server.ts";
import { LocalFleet } from "../../../src/rotation/fleet/local-fleet.ts";
import { ControlRoom } from "../../control/room.ts";
import { statusOf } from "../../control/status.ts";

const REF = "vault:mcp/github#token";
const PLACE = "https://vault.example.com/mcp/github";
const KEY = Buffer.alloc(32, 7);
const signal = new AbortController().signal;

let room: ControlRoom;
beforeEach(() => {
  room = new ControlRoom();
});
afterEach(() => room.close());

const secretOf = (ref: string) => ({
  name: "TOKEN",
  ref,
  provider: "vault",
  fetchedAt: "2027-01-15T08:00:00.000Z",
});

/** One that uses it, by this ref. */
function someone(hold: ControlHandlers["hold"], pid: number, ref = REF) {
  const value = fingerprintOf("canary-old", KEY);
  return room.serve(pid, {
    status: () => ({ status: statusOf(pid, { secrets: [secretOf(ref)] }) }),
    acknowledge: ({ values }) => ({
      pid,
      host: "here",
      generation: 1,
      isChanging: false,
      secrets: values?.includes(value) ? [{ ref, name: "TOKEN", fingerprint: value, isCopy: true }] : [],
    }),
    ...(hold && { hold }),
  });
}

const secrets = [{ from: REF, place: PLACE, fingerprint: fingerprintOf("canary-old", KEY) }];
const hold = () =>
  new LocalFleet({ place: room.place, clock: systemClock, rotation: "r1" }).hold(secrets, KEY, signal);

describe("supervisors that are asked to hold requests", () => {
  it("are those who use the secret; each is told what and how long, and says whether it does", async () => {
    const asked: Request<"hold">[] = [];
    await someone((request) => {
      asked.push(request);
      return { accepted: true, holds: true, since: "2027-01-15T08:00:00.000Z" };
    }, 1);
    await someone(() => ({ accepted: true, holds: false, reason: "it is ending" }), 2);
    await room.serve(3, {
      status: () => ({ status: statusOf(3, { secrets: [secretOf("vault:other")] }) }),
      acknowledge: () => ({ pid: 3, host: "here", generation: 1, isChanging: false, secrets: [] }),
      hold: () => {
        throw new Error("it is asked for nothing");
      },
    });

    const holders = await hold();

    expect(holders).toMatchObject([
      { pid: 1, profile: "p", holds: true },
      { pid: 2, holds: false, reason: "it is ending" },
    ]);
    expect(holders[0]).not.toHaveProperty("reason");
    expect(asked).toEqual([
      { v: 1, type: "hold", rotation: "r1", refs: [REF], places: [PLACE], forMs: 45_000 },
    ]);
  });

  it.each<[why: string, hold: ControlHandlers["hold"], ref: string, reason: string]>([
    ["of an earlier version", undefined, REF, "it is of an earlier version of mcp-run"],
    [
      "busy",
      () => {
        throw new BusyError("Cannot hold: it has only just looked", "again");
      },
      REF,
      "Cannot hold: it has only just looked",
    ],
    [
      "with a copy of the value",
      () => ({ accepted: false, holds: false }),
      "vault:copy",
      "it has the value by another ref, beside which there is no new one",
    ],
  ])("say that they don't: one %s", async (_what, handler, ref, reason) => {
    await someone(handler, 4, ref);

    expect(await hold()).toMatchObject([{ pid: 4, holds: false, reason }]);
  });

  it("are nobody where none runs", async () => {
    expect(await hold()).toEqual([]);
  });
});
