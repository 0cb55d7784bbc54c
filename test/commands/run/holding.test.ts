/** A supervisor that is asked to hold requests for a rotation: the store in memory, the time of the test. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createMemoryKind, type MemoryBehaviour, type MemoryKind } from "../../../providers/memory.ts";
import { Holding } from "../../../src/commands/run/holding.ts";
import type { Supervised } from "../../../src/commands/run/supervisor-status.ts";
import { SecretsInUse } from "../../../src/commands/start/secrets-in-use.ts";
import { ProviderError } from "../../../src/errors.ts";
import type { McpRunEvent } from "../../../src/events.ts";
import type { Profile } from "../../../src/profile/profile.ts";
import { NeedleSet } from "../../../src/scrub/needle-set.ts";
import { resolveSecrets } from "../../../src/secrets/resolve.ts";
import { Secret } from "../../../src/secrets/secret.ts";
import { Installation } from "../../helpers/installation.ts";
import { until } from "../../helpers/processes.ts";
import { testContext } from "../../helpers/provider-context.ts";
import { VirtualClock } from "../../helpers/virtual-clock.ts";
import { contextOf, OLD_VALUES, profileOf } from "../../rotation/canary/canary-room.ts";

const ROTATION = "20270115-080000-abcdef";
const HOLD = { v: 1, type: "hold", rotation: ROTATION, refs: ["memory:key"], forMs: 45_000 } as const;
const NEVER = new AbortController().signal;

let home: Installation;
let behaviour: MemoryBehaviour;
let kind: MemoryKind;
let clock: VirtualClock;
/** What was read of candidates. */
let fetches: number;

beforeEach(() => {
  home = new Installation();
  fetches = 0;
  behaviour = {
    failure: (operation) => {
      if (operation === "fetchCandidate") fetches++;
      return undefined;
    },
  };
  kind = createMemoryKind({ ...OLD_VALUES, doc: '{"token":"canary-old"}' }, behaviour);
  clock = new VirtualClock();
});
afterEach(() => home.remove());

const store = () => kind.open({}, testContext());

async function candidate(rotationId: string = ROTATION, path = "key"): Promise<void> {
  const mark = { rotationId, operator: "alice@laptop", createdAt: new Date(0) };
  await (await store()).putCandidate({ path }, new Secret("canary-new"), mark, NEVER);
}

/** A supervisor whose server has the old values, and whose looks find what is in the store. */
class Room {
  readonly events: McpRunEvent[] = [];
  isHeld = false;
  isBusy = false;
  obstacle: string | undefined;
  looks = 0;
  lookFails = false;
  holding!: Holding;
  #inUse!: SecretsInUse;
  #listeners: (() => void)[] = [];
  #lastLookAt: number | undefined;

  async open(given: Partial<Profile> = {}, mode?: "exec"): Promise<this> {
    const context = contextOf(home, kind, clock);
    const emit = (event: McpRunEvent) => void this.events.push(event);
    const profile = profileOf(home, "true", given);
    this.#inUse = new SecretsInUse({ context, profile, purpose: "server" }, new NeedleSet());
    await this.#inUse.fetch(NEVER);
    this.#inUse.runs(this.#inUse.start());
    const room = this;
    this.holding = new Holding(
      {
        context: { ...context, printer: { ...context.printer, emit } },
        profile,
        inUse: this.#inUse,
        refreshing: {
          server: { pid: 4711, generation: 1 },
          get outlook() {
            return {
              isLooking: false,
              ...(room.#lastLookAt !== undefined && { lastLookAt: room.#lastLookAt }),
            };
          },
          onNews: (listener: () => void) => void this.#listeners.push(listener),
        },
        control: { withhold: () => this.#withhold() },
        ...(mode && { mode }),
      } as unknown as Supervised,
      { ask: () => this.look() },
    );
    return this;
  }

  /** Another server takes over where there are other values. */
  async look(): Promise<void> {
    this.looks++;
    if (!this.lookFails) {
      const found = await resolveSecrets(this.#inUse.request(NEVER));
      const start = this.#inUse.start(found);
      this.#inUse.adopt(found);
      this.#inUse.runs(start);
      this.#lastLookAt = clock.now();
    }
    for (const listener of this.#listeners) listener();
  }

  ask(change: object = {}, signal = NEVER) {
    return this.holding.ask({ ...HOLD, refs: [...HOLD.refs], ...change }, signal);
  }

  get ends(): readonly string[] {
    return this.events.flatMap((event) => (event.type === "let-go" ? [event.reason] : []));
  }

  #withhold() {
    if (this.obstacle !== undefined) return this.obstacle;
    this.isHeld = true;
    return {
      isBusy: () => this.isBusy,
      letGo: () => {
        this.isHeld = false;
      },
    };
  }
}

/** There is a candidate, and the backend takes a second for each answer. */
async function slowRoom(): Promise<Room> {
  await candidate();
  behaviour.delayMs = 1_000;
  const opened = new Room().open();
  await clock.advance(1_000);
  return opened;
}

describe("a supervisor that is asked to hold requests", () => {
  it("does so where the rotation has put a candidate beside a secret in use, and tells of it", async () => {
    await candidate();
    const room = await new Room().open();

    const answer = await room.ask();

    const since = new Date(clock.now()).toISOString();
    expect(answer).toEqual({ accepted: true, holds: true, since });
    expect(room.isHeld).toBe(true);
    const end = new Date(clock.now() + 45_000).toISOString();
    expect(room.holding.status).toEqual({ rotation: ROTATION, since, until: end });
    expect(room.events).toEqual([
      {
        type: "holding",
        profile: "p",
        rotation: ROTATION,
        secrets: ["KEY"],
        longestMs: 45_000,
        pid: 4711,
        generation: 1,
      },
    ]);
  });

  it("looks once where the same rotation asks by its socket and over the bus at the same time", async () => {
    await candidate();
    const room = await new Room().open();

    const answers = await Promise.all([room.ask(), room.ask()]);

    expect(answers.map(({ holds }) => holds)).toEqual([true, true]);
    expect(fetches).toBe(1);
    expect(room.events).toHaveLength(1);
  });

  it("does not without a candidate, and not for that of another rotation", async () => {
    const room = await new Room().open();
    await expect(room.ask()).rejects.toThrow(`Cannot fetch the candidate of ${ROTATION}: `);
    await candidate("20270115-080000-other0");
    await clock.advance(10_000);

    await expect(room.ask()).rejects.toThrow("alice@laptop");

    expect(room.isHeld).toBe(false);
    expect(room.events).toEqual([]);
  });

  it("does not where it may not read the candidate, or nobody answers in 8 s", async () => {
    await candidate();
    const room = await new Room().open();
    behaviour.failure = (operation) =>
      operation === "fetchCandidate" ? new ProviderError("denied", "permission denied (403)") : undefined;
    await expect(room.ask()).rejects.toMatchObject({ code: "access-denied" });
    behaviour.failure = () => undefined;
    behaviour.delayMs = 60_000;
    await clock.advance(10_000);

    const slow = room.ask();
    slow.catch(() => undefined);
    await clock.advance(8_000);

    await expect(slow).rejects.toThrow("no answer within 8 s");
    expect(room.isHeld).toBe(false);
  });

  it.each<[why: string, given: Partial<Profile>, mode: "exec" | undefined]>([
    ["a program of exec is no server", {}, "exec"],
    [
      "its server can't be replaced (refresh.restart is never)",
      { refresh: { restart: "never", drainMs: 1 } },
      undefined,
    ],
    [
      "its server is told of new values by SIGHUP, and none takes its place",
      { refresh: { restart: "overlap", drainMs: 1, signal: "SIGHUP" } },
      undefined,
    ],
  ])("says that it does not, and reads nothing: %s", async (reason, given, mode) => {
    await candidate();
    const room = await new Room().open(given, mode);

    expect(await room.ask()).toEqual({ accepted: true, holds: false, reason });
    expect(fetches).toBe(0);
  });

  it("says why its server can't have requests wait", async () => {
    await candidate();
    const room = await new Room().open();
    room.obstacle = "the client has not introduced itself yet";

    expect(await room.ask()).toEqual({ accepted: true, holds: false, reason: room.obstacle });
    expect(room.holding.status).toBeUndefined();
  });

  it("has nothing to do with secrets that it does not use", async () => {
    await candidate();
    const room = await new Room().open();

    expect(await room.ask({ refs: ["memory:strange"] })).toEqual({ accepted: false, holds: false });
    expect(fetches).toBe(0);
  });

  it("waits a little for what is under way before it says so", async () => {
    await candidate();
    const room = await new Room().open();
    room.isBusy = true;
    let isAnswered = false;
    const asked = room.ask().finally(() => {
      isAnswered = true;
    });
    await until("it holds", () => room.isHeld);
    await clock.advance(1_900);
    expect(isAnswered).toBe(false);

    await clock.advance(200);

    expect(await asked).toMatchObject({ holds: true });
  });

  it("lets go at once when a server with other values serves, and not before", async () => {
    await candidate();
    const room = await new Room().open();
    await room.ask();
    await (await store()).put({ path: "other" }, new Secret("canary-other-2"), NEVER);
    await room.look();
    expect(room.isHeld).toBe(true);
    await (await store()).promote({ path: "key" }, ROTATION, "v1", NEVER);

    await room.look();

    expect(room.isHeld).toBe(false);
    expect(room.ends).toEqual(["a server with other values serves"]);
    expect(room.holding.status).toBeUndefined();
    await until("no timer is left", () => clock.pending === 0);
  });

  it("holds until each of several has another value", async () => {
    await candidate();
    await candidate(ROTATION, "other");
    const room = await new Room().open();
    await room.ask({ refs: ["memory:key", "memory:other"] });
    await (await store()).promote({ path: "key" }, ROTATION, "v1", NEVER);
    await room.look();
    expect(room.isHeld).toBe(true);
    await (await store()).promote({ path: "other" }, ROTATION, "v1", NEVER);

    await room.look();

    expect(room.isHeld).toBe(false);
  });

  it("lets go when the candidate is gone and nothing new has come of it", async () => {
    await candidate();
    const room = await new Room().open();
    await room.ask();
    await clock.advance(3_000);
    expect(room.isHeld).toBe(true);
    await (await store()).discard({ path: "key" }, ROTATION, NEVER);

    await clock.advance(3_000);

    await until("it lets go", () => !room.isHeld);
    expect(room.ends).toEqual(["the candidate is gone, and nothing new has come of it"]);
  });

  it("finds a promotion that nobody has told it of", async () => {
    await candidate();
    const room = await new Room().open();
    await room.ask();
    await (await store()).promote({ path: "key" }, ROTATION, "v1", NEVER);

    await clock.advance(3_000);

    await until("it lets go", () => !room.isHeld);
    expect(room.ends).toEqual(["a server with other values serves"]);
  });

  it("holds on while its backend can't say whether the candidate is there, or what is new", async () => {
    await candidate();
    const room = await new Room().open();
    await room.ask();
    let failed = 0;
    behaviour.failure = (operation) => {
      if (operation !== "fetchCandidate") return undefined;
      failed++;
      return new ProviderError("unavailable", "it is down");
    };
    await clock.advance(3_000);
    await until("it has looked for it", () => failed === 1);
    await until("it will look again", () => clock.nextIn === 3_000);
    expect([room.isHeld, room.looks]).toEqual([true, 0]);
    behaviour.failure = () => undefined;
    await (await store()).discard({ path: "key" }, ROTATION, NEVER);
    room.lookFails = true;

    await clock.advance(3_000);

    await until("it has looked for what is new", () => room.looks === 1);
    await until("it will look again", () => clock.nextIn === 3_000);
    expect(room.isHeld).toBe(true);
  });

  it.each([
    { forMs: 60_000, ms: 45_000 },
    { forMs: 5_000, ms: 5_000 },
  ])("lets go after $ms ms where it was asked for $forMs", async ({ forMs, ms }) => {
    await candidate();
    const room = await new Room().open();
    await room.ask({ forMs });
    await clock.advance(ms - 1);
    expect(room.isHeld).toBe(true);

    await clock.advance(1);

    expect(room.isHeld).toBe(false);
    expect(room.ends).toEqual([`its ${ms / 1000} s are over`]);
    await until("no timer is left", () => clock.pending === 0);
  });

  it("holds once for each rotation", async () => {
    await candidate();
    const room = await new Room().open();
    const first = await room.ask({ forMs: 5_000 });
    await clock.advance(1_000);
    expect(await room.ask()).toEqual(first);
    await clock.advance(60_000);

    expect(await room.ask()).toEqual({
      accepted: true,
      holds: false,
      reason: "it has held them for this rotation, and let them go",
    });
    expect(room.events.filter(({ type }) => type === "holding")).toHaveLength(1);
  });

  it("reads one candidate in 10 s, however often it is asked", async () => {
    const room = await new Room().open();

    const flood = (count: number) =>
      Promise.allSettled(
        Array.from({ length: count }, (_, index) => room.ask({ rotation: `20270115-080000-x${index}` })),
      );
    const first = await flood(500);
    await clock.advance(9_999);
    await flood(500);
    expect(fetches).toBe(1);
    await clock.advance(1);
    await flood(500);

    expect(fetches).toBe(2);
    expect(room.isHeld).toBe(false);
    expect(first.every(({ status }) => status === "rejected")).toBe(true);
    expect(first[1]).toMatchObject({ reason: { name: "BusyError" } });
  });

  it("does not when whoever asks has gone by then", async () => {
    const room = await slowRoom();
    const gone = new AbortController();
    const asked = room.ask({}, gone.signal);
    asked.catch(() => undefined);

    gone.abort(new Error("the peer has gone"));

    await expect(asked).rejects.toThrow("the peer has gone");
    expect(room.isHeld).toBe(false);
  });

  it("holds for whoever has joined when the first one who asked has gone", async () => {
    const room = await slowRoom();
    const gone = new AbortController();
    const both = Promise.allSettled([room.ask({}, gone.signal), room.ask()]);

    gone.abort(new Error("the peer has gone"));
    await clock.advance(1_000);

    expect(await both).toMatchObject([
      { reason: { message: "the peer has gone" } },
      { value: { holds: true } },
    ]);
    expect(fetches).toBe(1);
    expect(room.isHeld).toBe(true);
  });

  it("says that it is ending to all who wait at the end of the session", async () => {
    const room = await slowRoom();
    const asked = Promise.all([room.ask(), room.ask()]);

    room.holding.stop();

    const no = { accepted: true, holds: false, reason: "it is ending" };
    expect(await asked).toEqual([no, no]);
  });

  it("lets go at the end of the session, and holds nothing any more", async () => {
    await candidate();
    const room = await new Room().open();
    await room.ask();

    room.holding.stop();

    expect(room.isHeld).toBe(false);
    expect(room.ends).toEqual(["the session ends"]);
    expect(await room.ask({ rotation: "20270115-080000-other0" })).toMatchObject({
      holds: false,
      reason: "it is ending",
    });
  });
});
