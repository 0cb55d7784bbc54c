/** The fleet over a bus in memory, whose supervisors say what the test has them say. */
import { createHmac } from "node:crypto";
import { beforeEach, describe, expect, it } from "vitest";
import type { ReportedSecret } from "../../../src/control/bus/messages.ts";
import { busKey } from "../../../src/control/bus/names.ts";
import type { HeardReport, NewEntry } from "../../../src/control/bus/operator.ts";
import { realmOf } from "../../../src/control/bus/realm.ts";
import { McpRunError } from "../../../src/errors.ts";
import type { Acknowledgement } from "../../../src/rotation/contract.ts";
import { BusFleet } from "../../../src/rotation/fleet/bus-fleet.ts";
import type { Bus } from "../../../src/rotation/fleet/census.ts";
import { isInWave, type Pace } from "../../../src/rotation/fleet/waves.ts";
import { VirtualClock } from "../../helpers/virtual-clock.ts";

const ROTATION = "20261121-093015-k3x9ab";
const REF = "vault:mcp/github#token";
const KEY = busKey({ from: REF });
const WHOLE = busKey({ from: "vault:mcp/github" });
const NEW = "a".repeat(64);
const WANTED = [{ from: REF, fingerprint: NEW }];
const UNDER = Buffer.alloc(32, 7);
const signal = new AbortController().signal;

let clock: VirtualClock;
let bus: MemoryBus;

beforeEach(() => {
  clock = new VirtualClock();
  bus = new MemoryBus();
});

/** What a supervisor does when it hears of an entry; undefined for one that is asleep. */
type Reaction = (entry: NewEntry) => Partial<ReportedSecret> | undefined;

const takes: Reaction = () => ({ state: "has", fingerprint: NEW });
const fails: Reaction = () => ({ state: "failed", reason: "permission denied (403)" });

class Someone {
  report: HeardReport;
  readonly reaction: Reaction;
  isAsleep = false;

  constructor(facts: Partial<HeardReport>, reaction: Reaction) {
    const secrets = [{ key: KEY, ref: REF, state: "idle" as const }];
    this.report = {
      ...{ v: 1, host: "web-1", pid: 1, instance: "1-a", profile: "p", state: "serving" },
      ...{ generation: 1, era: "legacy", mode: "overlap", secrets, heardAt: clock.now() },
      ...facts,
    } as HeardReport;
    this.reaction = reaction;
  }
}

class MemoryBus implements Bus {
  readonly everybody: Someone[] = [];
  readonly entries: NewEntry[] = [];
  /** Those for who has the whole document. */
  readonly around: NewEntry[] = [];
  readonly #listeners = new Set<(report: HeardReport) => void>();
  trouble: McpRunError | undefined;
  /** Of the wall clock. */
  aheadMs = 0;
  /** Fails only what is put. */
  isReadOnly = false;

  add(facts: Partial<HeardReport> = {}, reaction: Reaction = takes): Someone {
    const number = this.everybody.length + 1;
    const someone = new Someone(
      { pid: number, instance: `${number}-x`, host: `web-${number}`, ...facts },
      reaction,
    );
    this.everybody.push(someone);
    return someone;
  }

  onReport(listener: (report: HeardReport) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** What it says now, and when it is called again. */
  say(someone: Someone, more: Partial<HeardReport> = {}): void {
    someone.report = { ...someone.report, ...more, heardAt: clock.now() + this.aheadMs };
    for (const listener of this.#listeners) listener(someone.report);
  }

  async call(..._asked: Parameters<Bus["call"]>): Promise<readonly HeardReport[]> {
    if (this.trouble) throw this.trouble;
    for (const someone of this.everybody) if (!someone.isAsleep) this.say(someone);
    return [];
  }

  async history(): Promise<readonly HeardReport[]> {
    if (this.trouble) throw this.trouble;
    return this.everybody.map(({ report }) => report);
  }

  async put(key: string, entry: NewEntry): Promise<{ generation: number }> {
    if (this.trouble || this.isReadOnly)
      throw this.trouble ?? new McpRunError("access-denied", "Cannot put an entry on the fleet's bus: no");
    if (key === WHOLE) this.around.push(entry);
    if (key !== KEY) return { generation: 1 };
    this.entries.push(entry);
    for (const someone of this.everybody) this.react(someone, entry);
    return { generation: this.entries.length };
  }

  react(someone: Someone, entry: NewEntry): void {
    if (someone.isAsleep) return;
    const isTurn = isInWave(ROTATION, someone.report.instance, entry);
    const said = isTurn ? someone.reaction(entry) : { state: "waiting" as const };
    if (!said) return;
    const secret = { key: KEY, ref: REF, rotation: ROTATION, state: "idle" as const, ...said };
    // Later than the entry was put: it takes a while to look.
    clock.after(100, () => this.say(someone, { secrets: [secret] }));
  }
}

function fleetWith(
  inventory: readonly string[] = [],
  pace: Pace = "few-first",
  met = new Set<string>(),
): BusFleet {
  return new BusFleet({
    ...{ bus, clock, inventory, pace, met, rotation: ROTATION },
    backendOf: (from) => (from.startsWith("local:") ? undefined : "vault"),
    rateOf: () => 1_000,
  });
}

/** Runs it to its end while time goes by. */
async function spread(
  fleet = fleetWith(),
  wanted: Parameters<BusFleet["spread"]>[0] = WANTED,
  onProgress: (all: readonly Acknowledgement[]) => void = () => undefined,
) {
  const begun = clock.monotonic();
  let ended: readonly Acknowledgement[] | undefined;
  const work = fleet.spread(wanted, UNDER, 60_000, signal, onProgress).then((all) => {
    ended = all;
  });
  for (let steps = 0; ended === undefined && steps < 5_000; steps++) await clock.advance(50);
  await work;
  return { all: ended ?? [], ms: clock.monotonic() - begun };
}

const brief = (all: readonly Acknowledgement[]) =>
  all.map(({ host, state, reason }) => `${host} ${state}${reason === undefined ? "" : `: ${reason}`}`).sort();

describe("a fleet over the bus", () => {
  it("is told what to have, and is done when all have it", async () => {
    for (let count = 0; count < 3; count++) bus.add();

    const { all, ms } = await spread();

    expect(brief(all)).toEqual(["web-1 acknowledged", "web-2 acknowledged", "web-3 acknowledged"]);
    expect(bus.entries).toEqual([
      {
        rotation: ROTATION,
        ref: REF,
        key: UNDER.toString("base64url"),
        fingerprint: NEW,
        upTo: 1,
        overMs: 3,
      },
    ]);
    expect(ms).toBeLessThan(1_000);
  });

  it("also tells who has the whole document, and waits until its fields are proven", async () => {
    const has = { key: WHOLE, ref: "vault:mcp/github", state: "idle" as const };
    const nothing = () => undefined;
    const [quick, slow] = [bus.add({ secrets: [has] }, nothing), bus.add({ secrets: [has] }, nothing)];
    const wanted = [
      { from: "vault:mcp/github#token", fingerprint: NEW },
      { from: "vault:mcp/github#app.id", fingerprint: "b".repeat(64) },
    ];
    const joint = createHmac("sha256", UNDER)
      .update(`${NEW} ${"b".repeat(64)}`)
      .digest("hex");
    const proof = [{ ...has, rotation: ROTATION, fingerprint: joint, state: "has" as const }];
    clock.after(2_500, () => bus.say(quick, { secrets: proof }));
    clock.after(2_500, () => bus.say(slow, { secrets: [{ ...has, rotation: ROTATION, fingerprint: NEW }] }));

    const { all } = await spread(fleetWith(), wanted);

    expect(bus.around).toMatchObject([{ fingerprint: joint, ways: [["token"], ["app", "id"]], upTo: 1 }]);
    expect(brief(all)).toEqual(["web-1 acknowledged", expect.stringMatching(/^web-2 pending/)]);
  });

  it("holds the old key where somebody may have it by another address of its backend", async () => {
    const elsewhere = {
      key: busKey({ from: "v:mcp/github", place: "http://127.0.0.1:8200" }),
      state: "idle" as const,
    };
    const nothing = () => undefined;
    bus.add({ secrets: [{ ...elsewhere, ref: "v:mcp/github#token" }] }, nothing);
    bus.add({ secrets: [{ ...elsewhere, ref: "v:mcp/github" }] }, nothing);
    bus.add({ secrets: [{ ...elsewhere, ref: "v:mcp/github#other" }] }, nothing);
    const proven = { ...{ key: KEY, ref: REF, fingerprint: NEW, rotation: ROTATION }, state: "has" as const };
    bus.add({ secrets: [proven, { ...elsewhere, ref: "v:mcp/github#token" }] }, nothing);

    const { all } = await spread();

    const why =
      "cannot-swap: it has a secret of this path by another address, and can't be told: have it by one address everywhere, or give another environment an account of its own on the bus";
    expect(brief(all)).toEqual([`web-1 ${why}`, `web-2 ${why}`, `web-4 ${why}`]);
  });

  it("passes over a secret of the same path that is certainly of another account", async () => {
    const arn = (account: string) => `arn:aws:secretsmanager:eu-west-1:${account}:secret:prod/app-AbC123`;
    const [ours, theirs] = ["111122223333", "444455556666"].map((account) => {
      const name = { from: "aws:prod/app#key", place: arn(account) };
      return { name, secret: { key: busKey(name), ref: name.from, realm: realmOf(name.place) } };
    });
    const idle = { state: "idle" as const };
    bus.add({ secrets: [{ ...theirs?.secret, ...idle } as ReportedSecret] }, () => undefined);
    const { realm: _unsaid, ...unsaid } = { ...theirs?.secret, ...idle } as ReportedSecret;
    bus.add({ secrets: [unsaid] }, () => undefined);
    const proven = { ...ours?.secret, fingerprint: NEW, rotation: ROTATION, state: "has" };
    bus.add({ secrets: [proven as ReportedSecret, { ...theirs?.secret, ...idle } as ReportedSecret] });

    const { all } = await spread(fleetWith(), [{ from: "", ...ours?.name, fingerprint: NEW }]);

    expect(brief(all)).toEqual([
      expect.stringMatching(/^web-2 cannot-swap: it has a secret of this path by another address/),
      "web-3 acknowledged",
    ]);
  });

  it("hears nothing of secrets that only this machine has", async () => {
    bus.add();

    expect(await spread(fleetWith(), [{ from: "local:token", fingerprint: NEW }])).toMatchObject({ all: [] });
    expect(await fleetWith().list([{ from: "local:token" }], signal)).toEqual([]);
    expect(bus.entries).toEqual([]);
  });

  it("takes a first part, and the rest only when all of that have it", async () => {
    for (let count = 0; count < 40; count++) bus.add();

    const { all } = await spread();

    expect(all.every(({ state }) => state === "acknowledged")).toBe(true);
    expect(bus.entries.map(({ upTo }) => upTo < 1)).toEqual([true, false]);
  });

  it("does not go beyond a first part that fails", async () => {
    for (let count = 0; count < 40; count++) bus.add({}, fails);

    const { all } = await spread();

    expect(bus.entries).toHaveLength(1);
    expect(all.filter(({ state }) => state === "failed")).toHaveLength(2);
    const waiting = all.filter(({ state }) => state === "pending");
    expect(waiting).toHaveLength(38);
    expect(new Set(waiting.map(({ reason }) => reason))).toEqual(
      new Set(["it has not been told: the first wave did not succeed"]),
    );
  });

  it("is told at once where somebody wants that", async () => {
    for (let count = 0; count < 40; count++) bus.add({}, count === 0 ? fails : takes);

    const { all } = await spread(fleetWith([], "at-once"));

    expect(bus.entries.map(({ upTo, overMs }) => [upTo, overMs])).toEqual([[1, 0]]);
    expect(all.filter(({ state }) => state === "acknowledged")).toHaveLength(39);
  });

  it("names those who are silent, and takes none of them for done", async () => {
    bus.add();
    bus.add().isAsleep = true;
    bus.add({ state: "ended" }).isAsleep = true;

    const { all } = await spread(fleetWith(["web-1", "web-2", "web-9"]));

    const since = new Date(clock.now()).getUTCFullYear();
    expect(brief(all)).toEqual([
      "web-1 acknowledged",
      expect.stringMatching(`web-2 unknown: last heard ${since}-`),
      "web-9 unknown: never heard",
    ]);
  });

  it("waits for one who is slow to answer, and for those who were heard before", async () => {
    const met = new Set<string>();
    bus.add();
    const [slow, gone] = [bus.add(), bus.add()];
    await fleetWith([], "few-first", met).list([{ from: REF }], signal);
    slow.isAsleep = true;
    gone.isAsleep = true;
    clock.after(4_000, () => {
      slow.isAsleep = false;
      const [entry] = bus.entries;
      if (entry) bus.react(slow, entry);
    });

    const { all, ms } = await spread(fleetWith([], "few-first", met));

    expect(brief(all)).toEqual([
      "web-1 acknowledged",
      "web-2 acknowledged",
      "web-3 pending: it was heard before, and says nothing now",
    ]);
    expect(ms).toBeGreaterThan(60_000);
  });

  it("gives everybody time to come back where nobody is heard", async () => {
    const sleeper = bus.add();
    sleeper.isAsleep = true;
    clock.after(30_000, () => {
      sleeper.isAsleep = false;
      const [entry] = bus.entries;
      if (entry) bus.react(sleeper, entry);
    });

    expect(brief((await spread()).all)).toEqual(["web-1 acknowledged"]);
  });

  it("says who fails, who can't, who has gone, and who has another value, until the time is over", async () => {
    bus.add();
    bus.add({}, fails);
    bus.add({ mode: "never" }, () => ({ state: "cannot-swap", reason: "its profile has `restart: never`" }));
    const leaving = bus.add({}, () => undefined);
    clock.after(2_000, () => bus.say(leaving, { state: "ended" }));
    bus.add({}, () => ({ state: "other", reason: "it has looked, and found another value" }));
    bus.add({}, () => ({ state: "has", fingerprint: "b".repeat(64) }));

    const { all, ms } = await spread();

    expect(brief(all)).toEqual([
      "web-1 acknowledged",
      "web-2 failed: permission denied (403)",
      "web-3 cannot-swap: its profile has `restart: never`",
      "web-4 gone: it has ended",
      "web-5 pending: it has looked, and found another value",
      "web-6 pending: it is looking",
    ]);
    expect(ms).toBeGreaterThanOrEqual(60_000);
  });

  it("is not done where the bus fails: before anybody is heard, and after that", async () => {
    bus.add();
    bus.isReadOnly = true;
    const later = await spread();
    bus.trouble = new McpRunError("backend-unavailable", "Cannot read the reports on the fleet's bus: lost");
    const before = await spread();

    expect(brief(later.all)).toEqual([
      "the fleet's bus failed: Cannot put an entry on the fleet's bus: no",
      "web-1 pending: it has not heard of the new value yet",
    ]);
    expect(brief(before.all)).toEqual([
      "the fleet's bus failed: Cannot read the reports on the fleet's bus: lost",
    ]);
    expect(before.ms).toBeLessThan(30_000);
  });

  it("is not done where somebody is silent, and nobody could be heard any more", async () => {
    bus.add();
    bus.add().isAsleep = true;
    const put = bus.put.bind(bus);
    bus.put = async (...entry) => {
      const result = await put(...entry);
      bus.trouble = new McpRunError(
        "backend-unavailable",
        "Cannot call for reports on the fleet's bus: away",
      );
      return result;
    };

    const { all, ms } = await spread();

    expect(brief(all)).toEqual([
      "the fleet's bus failed: Cannot call for reports on the fleet's bus: away",
      "web-1 acknowledged",
      expect.stringContaining("web-2 unknown"),
    ]);
    expect(ms).toBeLessThan(60_000);
  });

  it("waits for one that is heard only when everybody is called for the last time", async () => {
    bus.add();
    const late = bus.add();
    late.isAsleep = true;
    const call = bus.call.bind(bus);
    let calls = 0;
    bus.call = async (...asked) => {
      // The census, and the last one.
      if (++calls === 2) {
        late.isAsleep = false;
        for (const entry of bus.entries) bus.react(late, entry);
      }
      return call(...asked);
    };

    const { all } = await spread();

    expect(brief(all)).toEqual(["web-1 acknowledged", "web-2 acknowledged"]);
  });

  it("calls for many secrets a few at a time, and for each of them in turn", async () => {
    const wanted = Array.from({ length: 10 }, (_, index) => ({
      from: `vault:mcp/app${index}#key`,
      fingerprint: NEW,
    }));
    // It has one of them, and never says that it is the new one.
    bus.add({
      secrets: [{ key: busKey({ from: "vault:mcp/app7#key" }), ref: "vault:mcp/app7#key", state: "idle" }],
    });
    const call = bus.call.bind(bus);
    const called = new Map<number, string[]>();
    bus.call = async (...asked: Parameters<Bus["call"]>) => {
      const at = clock.monotonic();
      const key = asked[2];
      if (key !== undefined) called.set(at, [...(called.get(at) ?? []), key]);
      return call(...asked);
    };

    await spread(fleetWith(), wanted);

    for (const keys of called.values()) expect(keys.length).toBeLessThanOrEqual(4);
    const all = new Set([...called.values()].flat());
    for (const { from } of wanted) expect(all, from).toContain(busKey({ from }));
  });

  it("forgets a life whose process number somebody else has by now", async () => {
    const facts = { host: "web-1", pid: 7, pidSpace: "web-1's" };
    bus.add({ ...facts, instance: "7-old", heardAt: clock.now() - 1_000 }).isAsleep = true;
    bus.add({ ...facts, instance: "7-new" });

    expect(brief((await spread()).all)).toEqual(["web-1 acknowledged"]);
  });

  it.each([
    ["of another machine or container with the same name", "one's", "another's"],
    ["of which nobody knows where its number counts", undefined, undefined],
  ])("does not forget one with the same process number %s", async (_what, ...[sleeper, other]) => {
    const facts = (pidSpace: string | undefined) => ({
      host: "web-1",
      pid: 7,
      ...(pidSpace && { pidSpace }),
    });
    bus.add({ ...facts(sleeper), instance: "7-a" }).isAsleep = true;
    bus.add({ ...facts(other), instance: "7-b" });

    expect(brief((await spread()).all)).toEqual([
      "web-1 acknowledged",
      expect.stringMatching("web-1 unknown: last heard "),
    ]);
  });

  it("waits for one that was heard first while others were waited for, when it is asked again", async () => {
    const met = new Set<string>();
    bus.add({}, fails);
    const later = bus.add({}, () => undefined);
    later.isAsleep = true;
    clock.after(500, () => {
      later.isAsleep = false;
      bus.say(later);
    });
    const first = await spread(fleetWith([], "few-first", met));
    later.isAsleep = true;

    const second = await spread(fleetWith([], "few-first", met));

    expect(brief(first.all)[1]).toBe("web-2 pending: it has not heard of the new value yet");
    expect(brief(second.all)[1]).toBe("web-2 pending: it was heard before, and says nothing now");
  });

  it("does not pass over who can't be understood, and tells the others all the same", async () => {
    for (let count = 0; count < 30; count++) bus.add();
    const strange = { secrets: [], profile: "?", mode: "?", isUnreadable: true as const };
    for (let count = 0; count < 30; count++) bus.add({ ...strange, host: "odd" }, () => undefined);

    const { all } = await spread();

    expect(brief(all.filter(({ host }) => host !== "odd"))).toEqual(
      bus.everybody
        .slice(0, 30)
        .map(({ report }) => `${report.host} acknowledged`)
        .sort(),
    );
    expect(new Set(brief(all.filter(({ host }) => host === "odd")))).toEqual(
      new Set(["odd cannot-swap: what it says can't be read: is it another version of mcp-run?"]),
    );
  });

  it("does not pass over one that has more secrets than it can report", async () => {
    const has = [{ key: busKey({ from: "vault:other" }), ref: "vault:other", state: "idle" as const }];
    bus.add({ secrets: has, more: [KEY] }, () => undefined);
    bus.add({ secrets: has, secretsLeftOut: 3 }, () => undefined);
    bus.add({ secrets: has, more: has.map(({ key }) => key) }, () => undefined);

    expect(brief((await spread()).all)).toEqual([
      "web-1 pending: it has more secrets than it can say something of",
      "web-2 pending: it has more secrets than it can say something of",
    ]);
  });

  it("hears who has it although the clock has gone back meanwhile", async () => {
    bus.add();
    clock.after(50, () => {
      bus.aheadMs = -3_600_000;
    });

    expect(brief((await spread()).all)).toEqual(["web-1 acknowledged"]);
  });

  it("names a host that invents supervisors without an end, and keeps no more of them than some", async () => {
    bus.add();
    for (let count = 0; count < 5_000; count++) bus.add({ host: "liar", secrets: [] }, () => undefined);

    const { all } = await spread();

    expect(brief(all)).toEqual([
      "liar cannot-swap: it names more than 4096 supervisors, and not all of them were looked at",
      "web-1 acknowledged",
    ]);
  });

  it("tells of its progress a few times a second, however many report", async () => {
    for (let count = 0; count < 500; count++) bus.add();
    let told = 0;

    const { ms } = await spread(fleetWith([], "at-once"), WANTED, () => told++);

    expect(told).toBeLessThanOrEqual(Math.ceil(ms / 250) + 2);
  });
});

describe("leases over the bus", () => {
  const OLD = ["database/creds/app/one", "database/creds/app/two"];
  const LENT = [{ from: REF, oldLeases: OLD }];
  const underIts = (entry: NewEntry, text: string) =>
    createHmac("sha256", Buffer.from(entry.key, "base64url")).update(text).digest("hex");
  /** What a supervisor says whose server has values of these leases. */
  const having =
    (state: ReportedSecret["state"], ...ids: readonly string[]): Reaction =>
    (entry) => ({
      state,
      leases: ids.map((id) => underIts(entry, id)),
      under: underIts(entry, ""),
      fingerprint: NEW,
    });
  const never = having("cannot-swap", "database/creds/app/two");

  it("are named by beginnings of fingerprints, and done with when everybody has others", async () => {
    bus.add({}, having("has", "new-1"));
    bus.add({}, having("has", "new-2", "new-3"));

    const { all, ms } = await spread(fleetWith(), LENT);

    expect(brief(all)).toEqual(["web-1 acknowledged", "web-2 acknowledged"]);
    const oldLeases = OLD.map((id) =>
      createHmac("sha256", UNDER).update(id).digest("base64url").slice(0, 4),
    ).join("");
    const about = { rotation: ROTATION, ref: REF, key: UNDER.toString("base64url") };
    expect(bus.entries).toEqual([{ ...about, oldLeases, upTo: 1, overMs: 20 }]);
    expect(bus.around).toEqual([{ ...about, ref: "vault:mcp/github", oldLeases, upTo: 1, overMs: 20 }]);
    expect(ms).toBeLessThan(1_000);
  });

  it("are done with only where the fingerprints say so, whatever else is said", async () => {
    bus.add({}, having("has", "new", "database/creds/app/one"));
    bus.add({}, (entry) => ({ ...having("has", "new")(entry), under: underIts(entry, "forged") }));
    bus.add({}, (entry) => ({ ...having("has", "new")(entry), under: undefined }));
    bus.add({}, () => ({ state: "other", fingerprint: NEW }));
    bus.add({}, () => ({ state: "failed", reason: "it has it by no lease that it knows the name of" }));
    bus.add({}, () => ({ state: "looking", reason: "its old server finishes its work" }));
    bus.add({ mode: "never" }, never);
    bus.add({ mode: "never" }, having("cannot-swap", "new"));

    const { all } = await spread(fleetWith(), LENT);

    expect(brief(all)).toEqual([
      "web-1 pending: it is looking",
      "web-2 pending: it is looking",
      "web-3 pending: it is looking",
      "web-4 cannot-swap: it does not say which lease it has: is it an older mcp-run?",
      "web-5 failed: it has it by no lease that it knows the name of",
      "web-6 pending: its old server finishes its work",
      "web-7 cannot-swap: it can't change its server",
      "web-8 acknowledged",
    ]);
  });

  it("are waited for where somebody has only another field of the document, or the whole of it", async () => {
    const has = (ref: string) => [{ key: busKey({ from: ref }), ref, state: "idle" as const }];
    const other = bus.add({ secrets: has("vault:mcp/github#user") }, () => undefined);
    bus.add({ secrets: has("vault:mcp/gitlab#user") }, () => undefined);
    const whole = bus.add({ secrets: has("vault:mcp/github") }, () => undefined);
    clock.after(2_500, () => {
      const said = bus.around.map(having("has", "new"));
      for (const one of [whole, other])
        bus.say(one, {
          secrets: one.report.secrets.map((secret) => ({ ...secret, rotation: ROTATION, ...said[0] })),
        });
    });

    expect(brief((await spread(fleetWith(), LENT)).all)).toEqual([
      "web-1 cannot-swap: it has another field of this document, or has it by another address, and can't be told: have it by one address everywhere, or give another environment an account of its own on the bus",
      "web-3 acknowledged",
    ]);
  });

  it("take their time: for each of them an account is made", async () => {
    for (let count = 0; count < 40; count++) bus.add({}, having("has", "new"));

    await spread(fleetWith(), LENT);

    expect(bus.entries.map(({ overMs }) => overMs)).toEqual([20, 400]);
  });

  it("can be so many that they can't be named, and then everybody keeps his", async () => {
    bus.add();
    const many = Array.from({ length: 10_001 }, (_, number) => `lease-${number}`);

    const { all } = await spread(fleetWith(), [{ from: REF, oldLeases: many }]);

    expect(bus.entries).toEqual([]);
    expect(brief(all)).toEqual(["web-1 failed: the bus has no room to say what it is to have"]);
  });

  it("are known to be in use by whoever has said so, also where he has fallen silent since", async () => {
    const met = new Set<string>();
    bus.add({}, having("has", "new"));
    bus.add({ mode: "never" }, never);
    const silent = bus.add({ mode: "exec" }, having("cannot-swap", "new", ...OLD));
    const ended = bus.add({}, never);
    bus.add({}, (entry) => ({ ...never(entry), under: underIts(entry, "forged") }));
    await spread(fleetWith([], "few-first", met), LENT);
    silent.isAsleep = true;
    bus.say(ended, { state: "ended" });

    const asking = fleetWith([], "few-first", met).leaseHolders(LENT, UNDER, signal);
    const holders = await asking;

    expect(holders).toMatchObject([
      { host: "web-2", pid: 2, canSwap: false, leases: [OLD[1]] },
      { host: "web-3", pid: 3, canSwap: false, leases: OLD },
    ]);
    expect(holders).toHaveLength(2);
    expect(await fleetWith().leaseHolders([{ from: "local:a", oldLeases: OLD }], UNDER, signal)).toEqual([]);
  });

  it("are not said to be in nobody's hands where the bus fails", async () => {
    bus.add({ mode: "never" }, never);
    bus.trouble = new McpRunError("access-denied", "Cannot read the reports on the fleet's bus: no");

    await expect(fleetWith().leaseHolders(LENT, UNDER, signal)).rejects.toBe(bus.trouble);
  });
});

describe("who is on the bus", () => {
  it("is listed, and so are those who should be there and are silent", async () => {
    bus.add({ mode: "never" });
    bus.add().isAsleep = true;
    bus.add({ secrets: [] });

    const members = await fleetWith(["web-9"]).list([{ from: REF }], signal);

    expect(members.map(({ host, canSwap, isSilent }) => [host, canSwap, isSilent])).toEqual([
      ["web-1", false, undefined],
      ["web-2", true, true],
      ["web-9", true, true],
    ]);
  });
});
