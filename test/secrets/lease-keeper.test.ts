import { describe, expect, it } from "vitest";
import { ProviderError } from "../../src/errors.ts";
import type { McpRunEvent } from "../../src/events.ts";
import { type LeaseEnding, LeaseKeeper } from "../../src/secrets/lease-keeper.ts";
import type { Lease, LeaseTerm } from "../../src/secrets/provider.ts";
import { settle, VirtualClock } from "../helpers/virtual-clock.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

interface Room {
  readonly clock: VirtualClock;
  readonly keeper: LeaseKeeper;
  /** All that is said. */
  readonly messages: string[];
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
    /** False: nobody listens for endings. */
    readonly isHeard?: boolean;
  } = {},
): Room {
  const { term = lasting(HOUR), revoke = async () => undefined, random = () => 0.5 } = options;
  const clock = new VirtualClock();
  const start = clock.now();
  const [warnings, messages]: [string[], string[]] = [[], []];
  const [endings, renewals, revocations]: [LeaseEnding[], number[], number[]] = [[], [], []];
  const emit = (event: McpRunEvent) => {
    if ("message" in event) messages.push(event.message);
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
  const onEnding =
    options.isHeard === false ? {} : { onEnding: (ending: LeaseEnding) => endings.push(ending) };
  const origin = { from: "vault:database/creds/app", names: ["PGUSER", "PGPASSWORD"], since: start };
  const keeper = new LeaseKeeper(lease, origin, { clock, emit, random, ...onEnding });
  return { clock, keeper, warnings, messages, endings, renewals, revocations, lease };
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
    const { clock, renewals, messages, endings, lease } = room(unavailable, { random: () => 0.999_999 });

    await clock.advance(50 * MINUTE);
    expect(messages).toEqual([]);
    const waits = renewals.slice(1).map((ms, index) => ms - (renewals[index] as number));
    expect(Math.max(...waits)).toBeLessThanOrEqual(MINUTE);

    await clock.advance(3 * MINUTE);
    expect(messages).toEqual([
      "the lease of PGUSER, PGPASSWORD from vault:database/creds/app ends at 2027-01-15T09:00:00Z and can't be renewed: connection refused",
    ]);
    expect(endings).toEqual([
      {
        lease,
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
    const { clock, renewals, messages, endings } = room(renew, options);

    await clock.advance(2 * HOUR);

    if (reason !== undefined) {
      expect(renewals).toHaveLength(calls);
      expect(messages).toEqual([
        expect.stringMatching(`and can't be renewed: ${reason.replace(/[()]/g, "\\$&")}$`),
      ]);
    }
    expect(endings).toHaveLength(1);
    expect(messages.join()).not.toContain("canary");
    expect(clock.pending).toBe(0);
  });

  it("is followed by a successor when 85 % of the last term are over, not of what was left at the last answer", async () => {
    const { clock, endings } = room((call) => lasting(call === 1 ? 40 * MINUTE : (40 * MINUTE) / 3));
    const start = clock.now();

    await clock.advance(67 * MINUTE);

    expect(endings.map(({ refetchAt }) => refetchAt.getTime() - start)).toEqual([(40 + 0.85 * 40) * MINUTE]);
  });

  it("that somebody has revoked needs a successor at once", async () => {
    const missing = () => Promise.reject(new ProviderError("missing", "the lease has ended (400)"));
    const { clock, keeper, endings, revocations } = room(missing);

    await clock.advance(40 * MINUTE);
    await keeper.revoke();

    expect(endings).toHaveLength(1);
    expect(endings[0]?.refetchAt.getTime()).toBeLessThanOrEqual(clock.now());
    expect(endings[0]?.endsAt.getTime()).toBe(clock.now());
    expect(revocations).toEqual([]);
  });

  it("is a warning where nobody listens, since nobody fetches a successor", () => {
    const term = lasting(HOUR, false);

    const [heard, unheard] = [room(undefined, { term }), room(undefined, { term, isHeard: false })];

    expect([heard.messages.length, heard.warnings]).toEqual([1, []]);
    expect(unheard.warnings).toEqual([expect.stringMatching(/PGPASSWORD .* it is not renewable$/)]);
  });
});

describe("the end", () => {
  it("revokes the lease, and asks for nothing afterwards", async () => {
    const { clock, keeper, renewals, revocations } = room();
    await clock.advance(MINUTE);

    await keeper.revoke();
    await clock.advance(DAY);

    expect(revocations).toEqual([MINUTE]);
    expect(renewals).toEqual([]);
    expect(clock.pending).toBe(0);
  });

  it("does not wait for a renewal that is under way", async () => {
    const { clock, keeper, messages, revocations } = room(() => new Promise(() => undefined));
    await clock.advance(40 * MINUTE);

    await keeper.revoke();

    expect(revocations).toHaveLength(1);
    expect(clock.pending).toBe(0);
    expect(messages).toEqual([]);
  });

  it("takes no notice of a renewal that succeeds too late", async () => {
    const answers: ((term: LeaseTerm) => void)[] = [];
    const { clock, keeper } = room(() => new Promise((resolve) => answers.push(resolve)));
    await clock.advance(40 * MINUTE);

    await keeper.revoke();
    for (const answer of answers) answer(lasting(HOUR));
    await settle();

    expect(answers).toHaveLength(1);
    expect(clock.pending).toBe(0);
  });

  it("names the lease that could not be revoked", async () => {
    const { keeper, warnings } = room(undefined, { revoke: unavailable });

    await keeper.revoke();

    expect(warnings).toEqual([
      "the lease of PGUSER, PGPASSWORD from vault:database/creds/app could not be revoked: connection refused; it was given at 2027-01-15T08:00:00Z and ends by itself",
    ]);
  });

  it("takes at most five seconds, however silent the backend is", async () => {
    const { clock, keeper, warnings } = room(undefined, { revoke: () => new Promise(() => undefined) });
    let isRevoked = false;
    const revoking = keeper.revoke().then(() => {
      isRevoked = true;
    });

    await clock.advance(5_000);

    expect(isRevoked).toBe(true);
    await revoking;
    expect(warnings).toEqual([expect.stringContaining("no answer within 5 s")]);
  });

  it("leaves alone what has ended, and what the backend no longer knows", async () => {
    const ended = room(undefined, { term: lasting(HOUR, false) });
    await ended.clock.advance(HOUR);
    const gone = room(() => Promise.reject(new ProviderError("missing", "lease not found")));
    await gone.clock.advance(41 * MINUTE);

    await ended.keeper.revoke();
    await gone.keeper.revoke();

    expect([...ended.revocations, ...gone.revocations]).toEqual([]);
  });
});
