import { describe, expect, it } from "vitest";
import { ProviderError } from "../../src/errors.ts";
import type { McpRunEvent } from "../../src/events.ts";
import { type LeaseEnding, LeaseKeeper } from "../../src/secrets/lease-keeper.ts";
import type { Lease, LeaseTerm } from "../../src/secrets/provider.ts";
import { VirtualClock } from "../helpers/virtual-clock.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

interface Room {
  readonly clock: VirtualClock;
  readonly keeper: LeaseKeeper;
  readonly warnings: string[];
  readonly endings: LeaseEnding[];
  /** Ms since the start of each call. */
  readonly renewals: number[];
  readonly revocations: number[];
  readonly lease: Lease;
}

/** A lease of one hour whose renewals do as they are told. */
function room(
  renew: (call: number, signal: AbortSignal) => LeaseTerm | Promise<LeaseTerm> = () => lasting(HOUR),
  options: {
    readonly term?: LeaseTerm;
    readonly revoke?: () => Promise<void>;
    readonly random?: () => number;
  } = {},
): Room {
  const { term = lasting(HOUR), revoke = async () => undefined, random = () => 0.5 } = options;
  const clock = new VirtualClock();
  const start = clock.now();
  const [warnings, endings, renewals, revocations]: [string[], LeaseEnding[], number[], number[]] = [
    [],
    [],
    [],
    [],
  ];
  const emit = (event: McpRunEvent) => {
    if (event.type === "warning") warnings.push(event.message);
  };
  const lease: Lease = {
    term,
    async renew(signal) {
      renewals.push(clock.now() - start);
      return renew(renewals.length, signal);
    },
    async revoke() {
      revocations.push(clock.now() - start);
      return revoke();
    },
  };
  const keeper = new LeaseKeeper({ clock, emit, random, onEnding: (ending) => endings.push(ending) });
  keeper.keep(lease, { from: "vault:database/creds/app", names: ["PGUSER", "PGPASSWORD"], since: start });
  return { clock, keeper, warnings, endings, renewals, revocations, lease };
}

function lasting(durationMs: number, renewable = true): LeaseTerm {
  return { durationMs, renewable };
}

const unavailable = () => Promise.reject(new ProviderError("unavailable", "connection refused"));

describe("a lease that is kept", () => {
  it("is renewed when two thirds of what is left are over, each time anew", async () => {
    const { clock, renewals, warnings } = room((call) => lasting(call === 1 ? 2 * HOUR : HOUR));

    await clock.advance(40 * MINUTE + 80 * MINUTE + 40 * MINUTE);

    expect(renewals.map((ms) => ms / MINUTE)).toEqual([40, 120, 160]);
    expect(warnings).toEqual([]);
  });

  it("may be longer than one timer can wait", async () => {
    const { clock, renewals } = room(() => lasting(90 * DAY), { term: lasting(90 * DAY) });

    await clock.advance(60 * DAY - 1);
    expect(renewals).toEqual([]);
    await clock.advance(1);
    expect(renewals).toEqual([60 * DAY]);
  });

  it("is not kept twice, however many secrets come from it", async () => {
    const { clock, keeper, lease, renewals } = room();

    keeper.keep(lease, { from: "vault:database/creds/app", names: ["OTHER"], since: clock.now() });
    await clock.advance(40 * MINUTE);

    expect(keeper.size).toBe(1);
    expect(renewals).toHaveLength(1);
  });
});

describe("a renewal that gets no answer", () => {
  it("is tried again after a random wait that grows, and says nothing if one succeeds in time", async () => {
    const { clock, renewals, warnings } = room((call) => (call < 4 ? unavailable() : lasting(HOUR)));

    await clock.advance(41 * MINUTE);

    expect(renewals.map((ms) => ms - 40 * MINUTE)).toEqual([0, 500, 1_500, 3_500]);
    expect(warnings).toEqual([]);
    await clock.advance(40 * MINUTE);
    expect(renewals).toHaveLength(5);
  });

  it("waits a minute at most, and is reported once when 85 % are over, with the time of the end", async () => {
    const { clock, renewals, warnings, endings } = room(unavailable, { random: () => 0.999_999 });

    await clock.advance(50 * MINUTE);
    expect(warnings).toEqual([]);
    const waits = renewals.slice(1).map((ms, index) => ms - (renewals[index] as number));
    expect(Math.max(...waits)).toBeLessThanOrEqual(MINUTE);

    await clock.advance(3 * MINUTE);
    expect(warnings).toEqual([
      "the lease of PGUSER, PGPASSWORD from vault:database/creds/app ends at 2027-01-15T09:00:00Z and can't be renewed: connection refused",
    ]);
    expect(endings).toEqual([
      {
        names: ["PGUSER", "PGPASSWORD"],
        from: "vault:database/creds/app",
        endsAt: new Date("2027-01-15T09:00:00Z"),
        refetchAt: new Date("2027-01-15T08:51:00Z"),
      },
    ]);

    await clock.advance(2 * HOUR);
    expect(renewals.at(-1)).toBeGreaterThan(59 * MINUTE);
    expect(renewals.at(-1)).toBeLessThanOrEqual(HOUR);
    expect(endings).toHaveLength(1);
    expect(clock.pending).toBe(0);
  });

  it("is given up after ten seconds", async () => {
    const { clock, renewals } = room((call) => (call === 1 ? new Promise(() => undefined) : lasting(HOUR)));

    await clock.advance(40 * MINUTE + 10_500);

    expect(renewals.map((ms) => ms - 40 * MINUTE)).toEqual([0, 10_500]);
  });

  it("may recover after it was reported, and is reported again the next time", async () => {
    let isDown = true;
    const { clock, endings } = room(() => (isDown ? unavailable() : lasting(HOUR)));

    await clock.advance(55 * MINUTE);
    isDown = false;
    await clock.advance(HOUR);
    expect(endings).toHaveLength(1);

    isDown = true;
    await clock.advance(2 * HOUR);
    expect(endings).toHaveLength(2);
  });
});

describe("a lease that can't be kept", () => {
  it.each([
    ["that is not renewable", () => lasting(HOUR), { term: lasting(HOUR, false) }, 0, "it is not renewable"],
    ["that is no longer renewable", () => lasting(HOUR, false), {}, 1, "it is no longer renewable"],
    [
      "that has reached its longest time",
      (call: number) => lasting(call === 1 ? 40 * MINUTE : (40 * MINUTE) / 3),
      {},
      2,
      "the backend does not lengthen it any more",
    ],
    [
      "that the backend refuses to renew",
      () => Promise.reject(new ProviderError("denied", "permission denied (403)")),
      {},
      1,
      "permission denied (403)",
    ],
    [
      "whose renewal fails by a bug",
      () => Promise.reject(new TypeError("canary-in-a-message")),
      {},
      1,
      undefined,
    ],
  ])("%s is reported, and asked for no more", async (_which, renew, options, calls, reason) => {
    const { clock, renewals, warnings, endings } = room(renew, options);

    await clock.advance(2 * HOUR);

    if (reason !== undefined) {
      expect(renewals).toHaveLength(calls);
      expect(warnings).toEqual([
        expect.stringMatching(`and can't be renewed: ${reason.replace(/[()]/g, "\\$&")}$`),
      ]);
    }
    expect(endings).toHaveLength(1);
    expect(warnings.join()).not.toContain("canary");
    expect(clock.pending).toBe(0);
  });
});

describe("the end", () => {
  it("revokes every lease once, and asks for nothing afterwards", async () => {
    const { clock, keeper, renewals, revocations } = room();
    await clock.advance(MINUTE);

    await keeper.close();
    await keeper.close();
    await clock.advance(DAY);

    expect(revocations).toEqual([MINUTE]);
    expect(renewals).toEqual([]);
    expect(clock.pending).toBe(0);
  });

  it("does not wait for a renewal that is under way", async () => {
    const { clock, keeper, warnings } = room(() => new Promise(() => undefined));
    await clock.advance(40 * MINUTE);

    await keeper.close();

    expect(clock.pending).toBe(0);
    expect(warnings).toEqual([]);
  });

  it("names the lease that could not be revoked, each once", async () => {
    const { clock, keeper, lease, warnings } = room(undefined, { revoke: unavailable });
    keeper.keep({ ...lease }, { from: "vault:aws/creds/deploy", names: ["AWS_KEY"], since: clock.now() });

    await keeper.close();

    expect(warnings).toEqual([
      "the lease of PGUSER, PGPASSWORD from vault:database/creds/app could not be revoked: connection refused; it was given at 2027-01-15T08:00:00Z and ends by itself",
      "the lease of AWS_KEY from vault:aws/creds/deploy could not be revoked: connection refused; it was given at 2027-01-15T08:00:00Z and ends by itself",
    ]);
  });

  it("takes at most five seconds, however many backends are silent", async () => {
    const { clock, keeper, lease, warnings } = room(undefined, {
      revoke: () => new Promise(() => undefined),
    });
    keeper.keep({ ...lease }, { from: "vault:aws/creds/deploy", names: ["AWS_KEY"], since: clock.now() });
    let isClosed = false;
    const closing = keeper.close().then(() => {
      isClosed = true;
    });

    await clock.advance(5_000);

    expect(isClosed).toBe(true);
    await closing;
    expect(warnings).toHaveLength(2);
    expect(warnings[0]).toContain("no answer within 5 s");
  });

  it("leaves alone what has ended, and what the backend no longer knows", async () => {
    const ended = room(undefined, { term: lasting(HOUR, false) });
    await ended.clock.advance(HOUR);
    const gone = room(() => Promise.reject(new ProviderError("missing", "lease not found")));
    await gone.clock.advance(41 * MINUTE);

    await ended.keeper.close();
    await gone.keeper.close();

    expect([...ended.revocations, ...gone.revocations]).toEqual([]);
  });
});
