import { describe, expect, it } from "vitest";
import { McpRunError } from "../../../src/errors.ts";
import type { Acknowledgement, Fleet, Holder, LeaseHolder } from "../../../src/rotation/contract.ts";
import { WholeFleet } from "../../../src/rotation/fleet/whole-fleet.ts";
import { VirtualClock } from "../../helpers/virtual-clock.ts";

const signal = new AbortController().signal;
const one = (facts: Partial<Acknowledgement>): Acknowledgement => ({
  ...{ host: "here", pid: 1, profile: "p", generation: 1, canSwap: true, state: "acknowledged" },
  pidSpace: "ours",
  ...facts,
});

function fleetOf(all: readonly Acknowledgement[]): Fleet {
  return {
    list: async () => all,
    spread: async (_wanted, _key, _timeoutMs, _signal, onProgress) => {
      onProgress(all);
      return all;
    },
  };
}

function wholeOf(
  local: readonly Acknowledgement[],
  bus: () => Promise<Fleet>,
  running: readonly number[] = [],
) {
  const isRunning = (pid: number) => running.includes(pid);
  return new WholeFleet({
    local: fleetOf(local),
    bus,
    host: "here",
    pidSpace: "ours",
    isRunning,
    clock: new VirtualClock(),
  });
}

async function spread(fleet: Fleet) {
  const progress: number[] = [];
  const all = await fleet.spread([], Buffer.alloc(32), 1, signal, (known) => progress.push(known.length));
  const brief = all.map(({ host, pid, profile, state, reason }) => [host, pid, profile, state, reason]);
  return { brief, progress };
}

describe("this machine and all others together", () => {
  it("count one that is heard in both ways once, as what it has proven", async () => {
    const local = [
      one({ pid: 1, instance: "1-a", state: "pending" }),
      one({ pid: 2, instance: "2-b", state: "acknowledged" }),
    ];
    const bus = [
      one({ pid: 1, instance: "1-a", state: "acknowledged" }),
      one({ pid: 2, instance: "2-b", state: "pending" }),
      one({ host: "there", pid: 1, instance: "1-c", state: "failed", reason: "denied" }),
    ];

    const { brief, progress } = await spread(wholeOf(local, async () => fleetOf(bus)));

    expect(brief).toEqual([
      ["here", 1, "p", "acknowledged", undefined],
      ["here", 2, "p", "acknowledged", undefined],
      ["there", 1, "p", "failed", "denied"],
    ]);
    expect(progress.at(-1)).toBe(3);
  });

  it("know one that says nothing by its process, and wait for it", async () => {
    const local = [
      one({ host: "its-own-name", pid: 1, profile: "?", state: "pending", reason: "no answer" }),
    ];
    const bus = [one({ pid: 1, instance: "1-a", state: "unknown", reason: "last heard yesterday" })];

    expect((await spread(wholeOf(local, async () => fleetOf(bus), [1]))).brief).toEqual([
      ["its-own-name", 1, "?", "pending", "no answer"],
    ]);
  });

  it("know that one of this machine has gone, if there is no such process", async () => {
    const silent = [
      one({ pid: 1, instance: "1-a", state: "unknown" }),
      one({ pid: 2, instance: "2-b", state: "unknown" }),
      one({ host: "there", pid: 1, instance: "1-c", state: "unknown" }),
    ];

    expect((await spread(wholeOf([], async () => fleetOf(silent), [2]))).brief).toEqual([
      ["here", 1, "p", "gone", "there is no such process"],
      ["here", 2, "p", "unknown", undefined],
      ["there", 1, "p", "unknown", undefined],
    ]);
  });

  it("take nobody of another machine or a container with this one's name for one of their own", async () => {
    const local = [one({ pid: 1, profile: "?", state: "pending", reason: "no answer" })];
    const bus = [
      one({ pid: 1, instance: "1-c", pidSpace: "of a container" }),
      one({ pid: 2, instance: "2-d", pidSpace: "of a container", state: "unknown" }),
    ];

    expect((await spread(wholeOf(local, async () => fleetOf(bus)))).brief).toEqual([
      ["here", 1, "?", "pending", "no answer"],
      ["here", 1, "p", "acknowledged", undefined],
      ["here", 2, "p", "unknown", undefined],
    ]);
  });

  it("tell those on this machine also when nobody else can be told, and are not done then", async () => {
    const down = new McpRunError("backend-unavailable", "Cannot reach the fleet's bus: nobody answers");

    const { brief } = await spread(wholeOf([one({})], () => Promise.reject(down)));

    expect(brief).toEqual([
      ["here", 1, "p", "acknowledged", undefined],
      ["the fleet's bus", 0, "?", "failed", "Cannot reach the fleet's bus: nobody answers"],
    ]);
  });

  it("say whose leases are in use, each once, and where nobody can be asked that all may be", async () => {
    const wanted = [{ from: "vault:a", oldLeases: ["one", "two"] }];
    const holding = (facts: Partial<Acknowledgement>, ...leases: readonly string[]) => {
      const { state: _state, ...member } = one(facts);
      return { ...member, leases };
    };
    const having = (all: readonly LeaseHolder[]): Fleet => ({
      ...fleetOf([]),
      leaseHolders: async () => all,
    });
    const local = having([holding({ pid: 1, instance: "1-a" }, "one")]);
    const bus = having([
      holding({ pid: 1, instance: "1-a" }, "one"),
      holding({ host: "there", pid: 9, instance: "9-z" }, "two"),
    ]);
    const whole = (of: () => Promise<Fleet>) =>
      new WholeFleet({
        local,
        bus: of,
        host: "here",
        pidSpace: "ours",
        isRunning: () => true,
        clock: new VirtualClock(),
      });
    const ask = async (of: () => Promise<Fleet>) =>
      (await whole(of).leaseHolders(wanted, Buffer.alloc(32), signal)).map(
        ({ host, leases, reason }) => [host, leases, reason] as const,
      );
    const down = new McpRunError("backend-unavailable", "Cannot reach the fleet's bus: nobody answers");

    expect(await ask(async () => bus)).toEqual([
      ["here", ["one"], undefined],
      ["there", ["two"], undefined],
    ]);
    expect(await ask(() => Promise.reject(down))).toEqual([
      ["here", ["one"], undefined],
      ["the fleet's bus", ["one", "two"], "Cannot reach the fleet's bus: nobody answers"],
    ]);
  });

  it("list everybody once, and nobody of this machine who has gone", async () => {
    const local = [one({ pid: 1, instance: "1-a" })];
    const bus = [
      one({ pid: 1, instance: "1-a" }),
      one({ pid: 3, instance: "3-gone", isSilent: true }),
      one({ pid: 4, instance: "4-b", isSilent: true, pidSpace: "of a container" }),
      one({ pid: 5, instance: "5-c", pidSpace: "of a container" }),
      one({ host: "there", pid: 9, instance: "9-z" }),
    ];

    const members = await wholeOf(local, async () => fleetOf(bus)).list([], signal, Buffer.alloc(32));

    expect(members.map(({ host, pid }) => [host, pid])).toEqual([
      ["here", 1],
      ["here", 4],
      ["here", 5],
      ["there", 9],
    ]);
  });
});

describe("servers that are asked to hold requests on this machine and all others", () => {
  const { state: _state, ...member } = one({});
  const holder = (facts: Partial<Holder>): Holder => ({ ...member, holds: true, ...facts });
  const wholeWith = (here: readonly Holder[], bus: (signal: AbortSignal) => Promise<Fleet>) =>
    new WholeFleet({
      local: { ...fleetOf([]), hold: async () => here },
      bus,
      host: "here",
      pidSpace: "ours",
      isRunning: () => false,
      clock,
    });
  const clock = new VirtualClock();
  const KEY = Buffer.alloc(32);

  it("are one each, and hold if they say so in one of two ways", async () => {
    const here = [
      holder({ pid: 1, instance: "1-a", holds: false, reason: "no answer in time" }),
      holder({ pid: 2, instance: "2-b", holds: false, reason: "it is ending" }),
    ];
    const everywhere = [
      holder({ pid: 1, instance: "1-a" }),
      holder({ pid: 2, instance: "2-b", holds: false, reason: "it has only just looked" }),
      holder({ pid: 3, instance: "3-gone", holds: false, isSilent: true }),
      holder({ host: "there", pid: 1, instance: "1-c" }),
    ];

    const all = await wholeWith(here, async () => ({ ...fleetOf([]), hold: async () => everywhere })).hold(
      [],
      KEY,
      signal,
    );

    expect(all.map(({ host, pid, holds, reason }) => [host, pid, holds, reason])).toEqual([
      ["here", 1, true, undefined],
      ["here", 2, false, "it is ending"],
      ["there", 1, true, undefined],
    ]);
  });

  it.each<[how: string, bus: (signal: AbortSignal) => Promise<Fleet>, reason: string]>([
    [
      "is down",
      async () => {
        throw new McpRunError("backend-unavailable", "Cannot reach the fleet's bus: down");
      },
      "Cannot reach the fleet's bus: down",
    ],
    ["never answers", () => new Promise<never>(() => undefined), "no answer within 21 s"],
  ])("are those of this machine where the bus %s, which is said", async (_how, bus, reason) => {
    const asked = wholeWith([holder({})], bus).hold([], KEY, signal);
    await clock.advance(21_000);

    expect(await asked).toEqual([
      holder({}),
      expect.objectContaining({ host: "the fleet's bus", pid: 0, holds: false, reason }),
    ]);
  });
});
