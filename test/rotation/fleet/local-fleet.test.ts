/** Supervisors in this process that answer as each test wants, on real sockets. */
import { createHmac } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Clock, systemClock } from "../../../src/clock.ts";
import type { SecretStatus, SupervisorStatus } from "../../../src/control/protocol.ts";
import type { ControlHandlers, ControlServer } from "../../../src/control/server.ts";
import type { Acknowledgement, Wanted } from "../../../src/rotation/contract.ts";
import { LocalFleet } from "../../../src/rotation/fleet/local-fleet.ts";
import { ControlRoom } from "../../control/room.ts";
import { statusOf } from "../../control/status.ts";

const REF = "vault:mcp/github#token";
const KEY = Buffer.alloc(32, 7);
const signal = new AbortController().signal;
const fingerprint = (value: string, key = KEY) => createHmac("sha256", key).update(value).digest("hex");
const WANTED = [{ from: REF, fingerprint: fingerprint("canary-new") }];

let room: ControlRoom;
let fleet: LocalFleet;

beforeEach(() => {
  room = new ControlRoom();
  fleet = new LocalFleet({ place: room.place, clock: systemClock });
});
afterEach(() => room.close());

/** A supervisor that says what the test puts into it. */
class Someone {
  readonly #facts: Partial<SupervisorStatus>;
  value = "canary-old";
  isChanging = false;
  isDraining = false;
  toldBy: string | undefined;
  refs = [REF];
  refresh: SupervisorStatus["refresh"] = { mode: "overlap", isLooking: false };
  refreshes = 0;
  acknowledgements = 0;
  /** What comes of being told. */
  onRefresh: (times: number) => void = () => undefined;
  onAcknowledge: () => void = () => undefined;

  constructor(facts: Partial<SupervisorStatus> = {}) {
    this.#facts = facts;
  }

  handlers(pid: number): ControlHandlers {
    return {
      status: () => ({
        status: statusOf(pid, {
          secrets: [secretOf(REF)],
          era: "legacy",
          ...this.#facts,
          refresh: this.refresh,
        }),
      }),
      refresh: ({ refs, values, key, rotation }) => {
        this.toldBy = rotation;
        const accepted =
          refs?.some((ref) => this.refs.includes(ref) || this.#hasOneOf(values, key) !== undefined) ?? true;
        if (accepted) this.onRefresh(++this.refreshes);
        return { accepted, generation: 1 };
      },
      acknowledge: ({ refs, values, key }) => {
        this.acknowledgements++;
        this.onAcknowledge();
        const named = refs.filter((ref) => this.refs.includes(ref));
        const meant = this.#hasOneOf(values, key);
        const isCopy = named.length === 0 && meant !== undefined;
        const secrets = [...named, ...(isCopy ? [meant] : [])].map((ref) => ({
          ref,
          name: "T",
          fingerprint: fingerprint(this.value, Buffer.from(key, "base64url")),
          ...(isCopy && { isCopy: true as const }),
        }));
        return {
          pid,
          host: "here",
          generation: 2,
          isChanging: this.isChanging,
          isDraining: this.isDraining,
          secrets,
        };
      },
    };
  }

  /** Its own ref, if its value is one of these. */
  #hasOneOf(values: readonly string[] = [], key = ""): string | undefined {
    const own = fingerprint(this.value, Buffer.from(key, "base64url"));
    return values.includes(own) ? this.refs[0] : undefined;
  }
}

function secretOf(ref: string): SecretStatus {
  return { name: "T", ref, provider: "vault", fetchedAt: "2027-01-15T08:00:00.000Z" };
}

function enter(pid: number, someone: Someone): Promise<ControlServer> {
  return room.serve(pid, someone.handlers(pid));
}

/** Somebody who takes on the new value as soon as he is told. */
function quick(facts: Partial<SupervisorStatus> = {}): Someone {
  const someone = new Someone(facts);
  someone.onRefresh = () => {
    someone.value = "canary-new";
  };
  return someone;
}

const NEVER_MS = 120_000;

/** Spreads until this has been said of them, and lets the time be over then. */
function spreadUntil(
  isSaid: (all: readonly Acknowledgement[]) => boolean,
  wanted: readonly Wanted[] = WANTED,
  changes: Partial<Clock> = {},
) {
  let passed = 0;
  const monotonic = () => systemClock.monotonic() + passed;
  const local = new LocalFleet({ place: room.place, clock: { ...systemClock, ...changes, monotonic } });
  return local.spread(wanted, KEY, NEVER_MS, signal, (all) => {
    if (isSaid(all)) passed = NEVER_MS;
  });
}

function spread(timeoutMs = 60_000, onProgress: (all: readonly Acknowledgement[]) => void = () => undefined) {
  return fleet.spread(WANTED, KEY, timeoutMs, signal, onProgress);
}

describe("who uses a secret", () => {
  it("is known by the place of the secret, whatever a profile calls its backend", async () => {
    const at = (place: string, ref = REF) => new Someone({ secrets: [{ ...secretOf(ref), place }] });
    await enter(11, at("https://vault.example/mcp", "prod-vault:mcp/github#token"));
    await enter(12, at("https://other.example/mcp"));
    await enter(13, at("https://vault.example/mcp", "prod-vault:mcp/github#user"));
    await enter(14, new Someone());

    const members = await fleet.list([{ from: REF, place: "https://vault.example/mcp" }], signal, KEY);

    // The last one does not say where his lies, so his word is taken for it.
    expect(members.map(({ pid }) => pid)).toEqual([11, 14]);
  });

  it("is everybody with that ref, of whichever profile, and who can't swap is marked", async () => {
    await enter(11, new Someone());
    await enter(12, new Someone({ profile: "q", host: "there", generation: 4 }));
    await enter(13, new Someone({ secrets: [secretOf("vault:other")] }));
    const never = new Someone();
    never.refresh = { mode: "never", isLooking: false };
    await enter(14, never);

    expect(await fleet.list([{ from: REF }, { from: "vault:more" }], signal, KEY)).toEqual([
      { host: "here", pid: 11, profile: "p", generation: 1, canSwap: true },
      { host: "there", pid: 12, profile: "q", generation: 4, canSwap: true },
      { host: "here", pid: 14, profile: "p", generation: 1, canSwap: false },
    ]);
  });

  it("is asked of one whose secrets do not fit into its status", async () => {
    const hasIt = new Someone({ secrets: [], secretsLeftOut: 900 });
    const hasNot = new Someone({ secrets: [], secretsLeftOut: 900 });
    hasNot.refs = [];
    await enter(21, hasIt);
    await enter(22, hasNot);

    expect((await fleet.list([{ from: REF }], signal, KEY)).map(({ pid }) => pid)).toEqual([21]);
    expect([hasIt.acknowledgements, hasNot.acknowledgements]).toEqual([1, 1]);
  });

  it("may be one that does not say", async () => {
    await room.serve(31, {});
    expect(await fleet.list([{ from: REF }], signal, KEY)).toMatchObject([{ pid: 31, profile: "?" }]);
  });
});

describe("spreading a new value", () => {
  it("is over when everybody who uses it has it, and leaves the others alone", async () => {
    const users = [quick(), quick({ profile: "q" })];
    const other = quick();
    other.refs = ["vault:other"];
    await enter(11, users[0] as Someone);
    await enter(12, users[1] as Someone);
    await enter(13, other);
    const progress: string[][] = [];

    const told = await spread(10_000, (all) => progress.push(all.map(({ state }) => state)));

    const member = { host: "here", generation: 2, canSwap: true, state: "acknowledged" };
    expect(told).toEqual([
      { ...member, pid: 11, profile: "p" },
      { ...member, pid: 12, profile: "q" },
    ]);
    expect(progress[0]).toContain("pending");
    expect(progress.at(-1)).toEqual(["acknowledged", "acknowledged"]);
    expect([users[0]?.refreshes, users[1]?.refreshes, other.refreshes, other.acknowledgements]).toEqual([
      1, 1, 0, 0,
    ]);
  });

  it("waits for one that still looks", async () => {
    const someone = new Someone();
    someone.onRefresh = () => {
      someone.isChanging = true;
    };
    someone.onAcknowledge = () => {
      if (someone.acknowledgements < 4) return;
      someone.value = "canary-new";
    };
    await enter(11, someone);
    const reasons = new Set<string | undefined>();

    const told = await spread(10_000, (all) => reasons.add(all[0]?.reason));

    expect(told).toMatchObject([{ state: "acknowledged" }]);
    expect(told[0]).not.toHaveProperty("reason");
    expect([...reasons]).toEqual([undefined, "it is still looking"]);
    expect(someone.acknowledgements).toBe(4);
  });

  it("says why one has failed, and takes no failure for it that was there before", async () => {
    const before = { at: "2027-01-15T08:00:00.000Z", reason: "long ago" };
    const [fails, recovers] = [new Someone(), new Someone()];
    for (const someone of [fails, recovers])
      someone.refresh = { mode: "overlap", isLooking: false, lastFailure: before };
    fails.onRefresh = () => {
      // The clock has gone back meanwhile.
      const lastFailure = { at: "2027-01-14T08:00:00.000Z", reason: "its probe failed" };
      fails.refresh = { ...fails.refresh, lastFailure };
    };
    recovers.onAcknowledge = () => {
      if (recovers.acknowledgements > 3) recovers.value = "canary-new";
    };
    await enter(11, fails);
    await enter(12, recovers);

    expect(await spread()).toMatchObject([
      { pid: 11, state: "failed", reason: "its probe failed" },
      { pid: 12, state: "acknowledged" },
    ]);
  });

  it("waits for one whose backend gave no answer, says so, and has it look again", async () => {
    const someone = new Someone();
    const reason = "vault did not answer (503)";
    someone.onRefresh = (times) => {
      if (times > 1) someone.value = "canary-new";
      const lastFailure = { at: "2027-01-15T08:00:00.000Z", reason, mayPass: true };
      someone.refresh = { ...someone.refresh, lastFailure };
    };
    await enter(11, someone);
    const said = new Set<string>();

    const told = await spread(20_000, (all) => said.add(`${all[0]?.state}: ${all[0]?.reason}`));

    expect(told).toMatchObject([{ state: "acknowledged" }]);
    expect([...said]).toEqual([
      "pending: undefined",
      `pending: it could not look, and tries again: ${reason}`,
      "acknowledged: undefined",
    ]);
  });

  it("says in the end that a backend has given no answer all the time", async () => {
    const someone = new Someone();
    someone.onRefresh = () => {
      const lastFailure = { at: "2027-01-15T08:00:00.000Z", reason: "503", mayPass: true };
      someone.refresh = { ...someone.refresh, lastFailure };
    };
    await enter(11, someone);

    expect(await spreadUntil(([one]) => one?.reason !== undefined)).toMatchObject([
      { state: "pending", reason: "it could not look, and tries again: 503" },
    ]);
  });

  it("does not wait for one that can't swap, once it has looked", async () => {
    const never = new Someone();
    never.refresh = { mode: "never", isLooking: false };
    never.onRefresh = () => {
      never.refresh = { ...never.refresh, lastLookAt: "2027-01-15T08:00:00.000Z" };
    };
    await enter(11, never);

    expect(await spread()).toEqual([
      {
        host: "here",
        pid: 11,
        profile: "p",
        generation: 1,
        canSwap: false,
        state: "cannot-swap",
        reason: "its profile has `restart: never`",
      },
    ]);
  });

  it("waits for no program under exec: it has what it was started with, be that old or new", async () => {
    const [old, fresh] = [new Someone(), new Someone()];
    for (const someone of [old, fresh]) someone.refresh = { mode: "exec", isLooking: false };
    fresh.value = "canary-new";
    await enter(11, old);
    await enter(12, fresh);

    expect(await spread()).toMatchObject([
      { pid: 11, canSwap: false, state: "cannot-swap", reason: "it runs under exec" },
      { pid: 12, canSwap: false, state: "acknowledged" },
    ]);
  });

  it("knows one under `never` that has the new value all the same", async () => {
    const never = quick();
    never.refresh = { mode: "never", isLooking: false };
    await enter(11, never);
    expect(await spread()).toMatchObject([{ canSwap: false, state: "acknowledged" }]);
  });

  it("finds one that comes to its socket only now", async () => {
    const first = quick();
    let later: Promise<unknown> | undefined;
    first.onAcknowledge = () => {
      later ??= enter(12, quick());
    };
    await enter(11, first);

    const told = await spread();

    await later;
    expect(told.map(({ pid, state }) => [pid, state])).toEqual([
      [11, "acknowledged"],
      [12, "acknowledged"],
    ]);
  });

  it("reminds one that has found the old value", async () => {
    const someone = new Someone();
    someone.onRefresh = (times) => {
      if (times === 2) someone.value = "canary-new";
      someone.refresh = { ...someone.refresh, lastLookAt: `2027-01-15T08:00:0${times}.000Z` };
    };
    await enter(11, someone);

    expect(await spread()).toMatchObject([{ state: "acknowledged" }]);
    expect(someone.refreshes).toBe(2);
  });

  it("finds who has the value that is about to end by another ref, and waits until he has it no more", async () => {
    const elsewhere = new Someone({ secrets: [secretOf("agent:mcp/github#token")] });
    elsewhere.refs = ["agent:mcp/github#token"];
    elsewhere.onRefresh = () => {
      elsewhere.value = "canary-new";
    };
    const bystander = new Someone({ secrets: [secretOf("agent:other")] });
    bystander.refs = ["agent:other"];
    bystander.value = "canary-of-somebody-else";
    await enter(11, elsewhere);
    await enter(12, bystander);
    const wanted = [
      { from: REF, fingerprint: fingerprint("canary-new"), replaces: fingerprint("canary-old") },
    ];

    const members = await fleet.list([{ from: REF, fingerprint: fingerprint("canary-old") }], signal, KEY);
    const told = await fleet.spread(wanted, KEY, 60_000, signal, () => undefined);

    expect(members.map(({ pid }) => pid)).toEqual([11]);
    expect(told).toMatchObject([{ pid: 11, state: "acknowledged" }]);
    expect(bystander.refreshes).toBe(0);
  });

  it("names the copy of the old value that somebody finds again and again", async () => {
    const someone = new Someone({ secrets: [secretOf("keychain:copy")] });
    someone.refs = ["keychain:copy"];
    someone.onRefresh = (times) => {
      someone.refresh = { ...someone.refresh, lastLookAt: `2027-01-15T08:00:0${times}.000Z` };
    };
    await enter(11, someone);
    const wanted = [{ ...WANTED[0], from: REF, replaces: fingerprint("canary-old") }];

    const told = await spreadUntil(([one]) => one?.reason !== undefined, wanted);

    expect(told).toMatchObject([
      {
        pid: 11,
        state: "pending",
        reason: "it has looked, and found the old value, a copy of it at keychain:copy",
      },
    ]);
  });

  it("waits for an old server that still finishes its work, and says whose word it is", async () => {
    const someone = quick();
    someone.isDraining = true;
    someone.onAcknowledge = () => {
      someone.isDraining = someone.acknowledgements < 3;
    };
    await enter(11, someone);
    const reasons = new Set<string | undefined>();
    const local = new LocalFleet({
      place: room.place,
      clock: systemClock,
      rotation: "20270115-080000-abc123",
    });

    const told = await local.spread(WANTED, KEY, 60_000, signal, (all) => reasons.add(all[0]?.reason));

    expect(told).toMatchObject([{ pid: 11, state: "acknowledged" }]);
    expect([...reasons]).toContain("its old server finishes its work");
    expect(someone.acknowledgements).toBe(3);
    expect(someone.toldBy).toBe("20270115-080000-abc123");
  });

  it("takes any other value than before where none is named, such as that of a new lease", async () => {
    const someone = new Someone();
    someone.onRefresh = () => {
      someone.value = "canary-of-another-lease";
    };
    await enter(11, someone);

    const told = await fleet.spread([{ from: REF }], KEY, 60_000, signal, () => undefined);

    expect(told).toMatchObject([{ state: "acknowledged" }]);
    expect(someone.refreshes).toBe(1);
  });

  it("names one that has ended meanwhile", async () => {
    const server: { is?: ControlServer } = {};
    const ends = new Someone();
    ends.isChanging = true;
    ends.onAcknowledge = () => void server.is?.close();
    server.is = await enter(11, ends);

    expect(await spread()).toMatchObject([{ pid: 11, state: "gone", reason: "it has ended" }]);
  });

  it("ends when the time is over, and says what is still to come", async () => {
    const slow = new Someone();
    slow.isChanging = true;
    const unintroduced = new Someone({ era: "undecided" });
    unintroduced.refresh = { mode: "overlap", isLooking: true };
    await enter(11, slow);
    await enter(12, unintroduced);
    await room.serve(13, {
      status: () => ({ status: statusOf(13) }),
      refresh: () => new Promise(() => undefined),
    });
    await room.serve(14, {});

    const reasons = (all: readonly Acknowledgement[]) => all.flatMap(({ reason }) => reason ?? []);
    // One that says nothing is not given up meanwhile.
    const told = await spreadUntil((all) => reasons(all).length === 3, WANTED, {
      after: (ms, callback) => systemClock.after(ms < 1_000 ? ms : NEVER_MS, callback),
    });

    expect(told.map(({ pid, state, reason }) => [pid, state, reason])).toEqual([
      [11, "pending", "it is still looking"],
      [12, "pending", "it waits for its client's handshake"],
      [13, "pending", "it has not answered yet"],
      [14, "failed", "it refuses: refresh is not to be had here"],
    ]);
  });

  it("names one that listens and says nothing", async () => {
    await room.serve(11, {
      status: () => new Promise(() => undefined),
      refresh: () => new Promise(() => undefined),
    });

    expect(await spreadUntil(([one]) => one?.reason !== undefined)).toMatchObject([
      { pid: 11, profile: "?", state: "pending", reason: "no answer within 2 s" },
    ]);
  });

  it("ends at once when nobody wants to know any more", async () => {
    const stop = new AbortController();
    const someone = new Someone();
    someone.isChanging = true;
    someone.onAcknowledge = () => stop.abort(new Error("enough"));
    await enter(11, someone);

    const told = fleet.spread(WANTED, KEY, 60_000, stop.signal, () => undefined);

    await expect(told).rejects.toThrow("enough");
  });

  it("has nobody to tell where nothing runs", async () => {
    expect(await spread()).toEqual([]);
  });
});
