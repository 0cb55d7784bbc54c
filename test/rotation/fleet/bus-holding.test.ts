/** Supervisors of other machines that are asked to hold requests, over a bus in memory and in the test's time. */
import { beforeEach, describe, expect, it } from "vitest";
import type { HoldAsked, HoldSaid } from "../../../src/control/bus/messages.ts";
import { busKey } from "../../../src/control/bus/names.ts";
import type { HeardReport } from "../../../src/control/bus/operator.ts";
import { McpRunError } from "../../../src/errors.ts";
import { BusFleet } from "../../../src/rotation/fleet/bus-fleet.ts";
import type { Bus } from "../../../src/rotation/fleet/census.ts";
import { isInWave, type Pace } from "../../../src/rotation/fleet/waves.ts";
import { VirtualClock } from "../../helpers/virtual-clock.ts";

const ROTATION = "20261121-093015-k3x9ab";
const REF = "vault:mcp/github#token";
const KEY = busKey({ from: REF });
const WHOLE = busKey({ from: "vault:mcp/github" });
const UNDER = Buffer.alloc(32, 7);
const signal = new AbortController().signal;

let clock: VirtualClock;
let bus: MemoryBus;

beforeEach(() => {
  clock = new VirtualClock();
  bus = new MemoryBus();
});

/** What it reports when it is asked, a moment later; undefined for one that says nothing. */
type Reaction = (id: string, asked: HoldAsked) => Partial<HeardReport> | undefined;

const says =
  (said: Pick<HoldSaid, "holds" | "reason">, of?: string): Reaction =>
  (call) => ({ hold: { call: of ?? call, rotation: ROTATION, ...said } });
const holds = says({ holds: true });
const isOlder: Reaction = (id) => ({ call: id });
const isSilent: Reaction = () => undefined;

class MemoryBus implements Bus {
  readonly everybody: { report: HeardReport; readonly reaction: Reaction; readonly isAway: boolean }[] = [];
  readonly asked: { readonly keys: readonly string[]; readonly id: string; readonly hold: HoldAsked }[] = [];
  readonly #listeners = new Set<(report: HeardReport) => void>();
  /** What each of them fails with. */
  trouble: { census?: McpRunError; ask?: McpRunError } = {};
  /** Askings that nobody hears. */
  lost = 0;

  add(reaction: Reaction, facts: Partial<HeardReport> = {}, isAway = false): void {
    const pid = this.everybody.length + 1;
    const report: HeardReport = {
      ...{ v: 1, host: `web-${pid}`, pid, instance: `${pid}-x`, profile: "p", state: "serving" },
      ...{ generation: 1, era: "legacy", mode: "overlap", heardAt: clock.now() },
      secrets: [{ key: KEY, ref: REF, state: "idle" }],
      ...facts,
    };
    this.everybody.push({ report, reaction, isAway });
  }

  onReport(listener: (report: HeardReport) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async call(): Promise<readonly HeardReport[]> {
    if (this.trouble.census) throw this.trouble.census;
    for (const { report, isAway } of this.everybody) if (!isAway) this.#say(report);
    return [];
  }

  async history(): Promise<readonly HeardReport[]> {
    return this.everybody.map(({ report }) => report);
  }

  async put(): Promise<never> {
    throw new Error("nothing is put to ask for it: who was away must not hear of it later");
  }

  async askToHold(keys: readonly string[], id: string, hold: HoldAsked): Promise<void> {
    if (this.trouble.ask) throw this.trouble.ask;
    this.asked.push({ keys, id, hold });
    if (this.asked.length <= this.lost) return;
    for (const { report, reaction } of this.everybody) {
      const said = isInWave(ROTATION, report.instance, hold) ? reaction(id, hold) : undefined;
      if (said) clock.after(200, () => this.#say({ ...report, ...said }));
    }
  }

  #say(report: HeardReport): void {
    for (const listener of this.#listeners) listener(report);
  }
}

function fleetWith(met: readonly string[] = [], pace: Pace = "all", rate = 1_000): BusFleet {
  return new BusFleet({
    ...{ bus, clock, pace, inventory: ["web-99"], met: new Set(met), rotation: ROTATION },
    backendOf: (from) => (from.startsWith("local:") ? undefined : "vault"),
    rateOf: () => rate,
  });
}

/** Runs it to its end while time goes by; how long that was, in ms. */
async function hold(fleet = fleetWith(), from = REF) {
  const begun = clock.monotonic();
  let isOver = false;
  const work = fleet.hold([{ from }], UNDER, signal).finally(() => {
    isOver = true;
  });
  for (let turn = 0; !isOver && turn < 1_000; turn++) await clock.advance(100);
  const all = await work;
  const brief = all.map((one) => [one.host, one.holds, one.reason]);
  return { all, brief, ms: clock.monotonic() - begun };
}

describe("supervisors of other machines that are asked to hold requests", () => {
  it("say whether they do, and are waited for no longer than that", async () => {
    bus.add(holds);
    bus.add(says({ holds: false, reason: "permission denied (403)" }));
    bus.add(says({ holds: false }));

    const { all, brief, ms } = await hold();

    expect(brief).toEqual([
      ["web-1", true, undefined],
      ["web-2", false, "permission denied (403)"],
      ["web-3", false, "it does not say why"],
    ]);
    expect(all[0]).toMatchObject({ pid: 1, profile: "p", instance: "1-x", canSwap: true });
    expect(ms).toBeLessThan(4_000);
    expect(bus.asked).toHaveLength(1);
    expect(bus.asked[0]?.keys).toEqual(expect.arrayContaining([KEY, WHOLE]));
    expect(bus.asked[0]?.hold).toMatchObject({ rotation: ROTATION, forMs: 45_000, upTo: 1 });
  });

  it("do not, where they are silent, or of an earlier version, or answer what was asked before", async () => {
    bus.add(isSilent);
    bus.add(isOlder);
    bus.add(says({ holds: true }, "earlier"));

    const { brief, ms } = await hold();

    expect(brief).toEqual([
      ["web-1", false, "it has not said so in time"],
      ["web-2", false, "it is of an earlier version of mcp-run"],
      ["web-3", false, "it has not said so in time"],
    ]);
    expect(ms).toBeLessThanOrEqual(20_000);
  });

  it("are waited for no longer when they end, or come to lose the secret", async () => {
    bus.add(() => ({ state: "ended" }));
    bus.add(() => ({ secrets: [] }));
    bus.add(holds);

    const { brief, ms } = await hold();

    expect(brief).toEqual([["web-3", true, undefined]]);
    expect(ms).toBeLessThan(4_000);
  });

  it("do not, where they can't be told, or nothing of them can be read", async () => {
    bus.add(isSilent, { secrets: [{ key: busKey({ from: "other" }), ref: REF, state: "idle" }] });
    bus.add(isSilent, { isUnreadable: true, secrets: [] });
    bus.add(isSilent, {
      secrets: [{ key: busKey({ from: "vault:other" }), ref: "vault:other", state: "idle" }],
    });

    const { brief } = await hold();

    expect(brief).toEqual([
      ["web-1", false, "it has it by another address, and can't be told"],
      ["web-2", false, "what it says can't be read: is it another version of mcp-run?"],
    ]);
  });

  it("are asked again, as part of the same asking, where a message was lost", async () => {
    bus.add(holds);
    bus.lost = 1;

    const { brief } = await hold();

    expect(brief).toEqual([["web-1", true, undefined]]);
    expect(new Set(bus.asked.map(({ id }) => id)).size).toBe(1);
  });

  it("are waited for where they answered at the plan; the others who are away are only counted", async () => {
    bus.add(holds, {}, true);
    bus.add(isSilent, {}, true);
    bus.add(isSilent, {}, true);

    const { all, brief } = await hold(fleetWith(["web-1 1-x", "web-2 2-x"]));

    expect(brief).toEqual([
      ["web-1", true, undefined],
      ["web-2", false, "it was heard before, and says nothing now"],
      ["web-3", false, undefined],
    ]);
    expect(all.map(({ isSilent: away }) => away)).toEqual([undefined, undefined, true]);
  });

  it("are as many as their backend can answer, spread over 3 s; the others are told of", async () => {
    for (let count = 0; count < 100; count++) bus.add(holds);

    const { all } = await hold(fleetWith([], "all", 10));

    expect(bus.asked[0]?.hold).toMatchObject({ upTo: 0.3, overMs: 3_000 });
    const others = all.filter((one) => !one.holds);
    expect(others.length).toBeGreaterThan(30);
    expect(others.length).toBeLessThan(95);
    expect(new Set(others.map(({ reason }) => reason))).toEqual(
      new Set(["it was not asked: its backend could not answer so many"]),
    );
  });

  it("are all asked at the same time where somebody wants it", async () => {
    for (let count = 0; count < 100; count++) bus.add(holds);

    const { all } = await hold(fleetWith([], "at-once", 10));

    expect(bus.asked[0]?.hold).toMatchObject({ upTo: 1, overMs: 0 });
    expect(all.every((one) => one.holds)).toBe(true);
  });

  it.each(["census", "ask"] as const)("are not known where the bus fails at the %s", async (when) => {
    bus.add(holds);
    bus.trouble = { [when]: new McpRunError("backend-unavailable", "Cannot reach the fleet's bus: down") };

    const { brief } = await hold();

    expect(brief.at(-1)).toEqual(["the fleet's bus", false, "Cannot reach the fleet's bus: down"]);
    expect(brief.some(([, holdsIt]) => holdsIt)).toBe(false);
  });

  it("are none for a secret of this machine alone", async () => {
    bus.add(holds);

    const { brief } = await hold(fleetWith(), "local:key");

    expect(brief).toEqual([]);
    expect(bus.asked).toEqual([]);
  });
});
