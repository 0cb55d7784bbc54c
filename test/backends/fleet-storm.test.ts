/**
 * Rotations while connections are cut at any byte, fall silent and come back, and the server is restarted: at random,
 * from a seed. Whatever is lost, nobody passes for done or for away who is there with the old value.
 */
import { createHmac, randomBytes } from "node:crypto";
import { afterEach, expect, it } from "vitest";
import { type Clock, systemClock } from "../../src/clock.ts";
import { BusMember } from "../../src/control/bus/member.ts";
import { busKey } from "../../src/control/bus/names.ts";
import { BusOperator } from "../../src/control/bus/operator.ts";
import { McpRunError } from "../../src/errors.ts";
import type { Acknowledgement } from "../../src/rotation/contract.ts";
import { BusFleet } from "../../src/rotation/fleet/bus-fleet.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { describeBackend } from "../helpers/backends.ts";
import { closeAll } from "../helpers/closings.ts";
import { FaultyWay } from "../helpers/faulty-way.ts";
import { NatsServer, OPERATOR } from "../helpers/nats-server.ts";
import { below, type Random, randomFrom } from "../helpers/random.ts";
import { until } from "../helpers/server-process.ts";
import { together } from "../helpers/together.ts";

const SEED = 20261121;
const ROUNDS = 5;
const MEMBERS = 4;
const REF = "vault:mcp/github#token";
const KEY = busKey({ from: REF });
/** Ms by the hurried clock that the operator waits for those who are there. */
const ACK_MS = 20_000;
const PATIENCE_MS = 120_000;
const signal = AbortSignal.timeout(24 * 3_600_000);

/** A clock on which everything goes so many times faster. */
const TIMES = 10;
const clock: Clock = {
  now: () => systemClock.now(),
  monotonic: () => systemClock.monotonic() * TIMES,
  after: (ms, ...more) => systemClock.after(ms / TIMES, ...more),
};

/** What is to be undone after a test, the last first. */
const ends: (() => Promise<unknown>)[] = [];
afterEach(() => closeAll(ends));

/** A supervisor on a way of its own, whose looks take their time and may fail. */
class Someone {
  value = "canary-0";
  backend = "canary-0";
  lookMs = 0;
  failure: string | undefined;
  lastFailure: { at: number; reason: string } | undefined;
  wasDisturbed = false;
  readonly host: string;
  readonly way: FaultyWay;
  readonly member: BusMember;

  constructor(host: string, way: FaultyWay) {
    this.host = host;
    this.way = way;
    this.member = BusMember.join({
      servers: [way.url],
      credentials: new Secret(OPERATOR),
      host,
      clock,
      pid: 4711,
      profile: "p",
      secrets: () => [{ key: KEY, ref: REF }],
      fingerprint: (_busKey, key) => fingerprintOf(this.value, key),
      standing: () => ({
        ...{ generation: 1, era: "handshake", mode: "overlap", isLooking: false },
        lastFailure: this.lastFailure,
      }),
      look: async () => {
        await new Promise<void>((resolve) => clock.after(this.lookMs, resolve));
        if (this.failure === undefined) this.value = this.backend;
        else this.lastFailure = { at: clock.now(), reason: this.failure };
      },
      onState: () => undefined,
    });
  }

  get isConnected(): boolean {
    return this.member.state.id === "connected" && this.member.state.lacks === undefined;
  }
}

function fingerprintOf(value: string, key: Buffer): string {
  return createHmac("sha256", key).update(value).digest("hex");
}

class Storm {
  readonly #random: Random;
  readonly #server: NatsServer;
  readonly #everybody: readonly Someone[];
  readonly #way: FaultyWay;

  constructor(random: Random, server: NatsServer, everybody: readonly Someone[], way: FaultyWay) {
    this.#random = random;
    this.#server = server;
    this.#everybody = everybody;
    this.#way = way;
  }

  /** Some faults, one after the other; then all is well again, but perhaps for the operator. */
  async blow(): Promise<void> {
    const random = this.#random;
    const isForGood = random() < 0.5;
    let isRestarted = false;
    for (let left = 1 + below(random, 5); left > 0; left--) {
      const someone = this.#everybody[below(random, 2 * MEMBERS)];
      const way = someone?.way ?? this.#way;
      if (someone) someone.wasDisturbed = true;
      const kind = random();
      if (kind < 0.4) way.cutAfter(below(random, 6_000));
      else if (kind < 0.6) way.cut();
      else if (kind < 0.85) way.hold();
      else if (!isRestarted) {
        isRestarted = true;
        for (const one of this.#everybody) one.wasDisturbed = true;
        await this.#server.pause();
        await this.#server.resume();
      }
      await new Promise((resolve) => setTimeout(resolve, below(random, 800)));
      if (random() < 0.4) this.#mend();
    }
    this.#mend();
    if (isForGood) this.#way.hold();
  }

  #mend(): void {
    for (const { way } of [...this.#everybody, { way: this.#way }]) way.mend();
  }
}

describeBackend("rotations in a storm", ["nats-server"], () => {
  it("take nobody for done or for away who is there with the old value", async () => {
    const random = randomFrom(SEED);
    const server = await NatsServer.start();
    ends.push(() => server.stop());
    const calm = await BusOperator.connect(optionsAt(server.url), signal);
    await calm.setUp({ replicas: 1 }, signal);
    ends.push(() => calm.close());
    const everybody: Someone[] = [];
    for (let number = 0; number < MEMBERS; number++) {
      const way = await FaultyWay.to(server);
      ends.push(() => way.close());
      const someone = new Someone(`web-${number}`, way);
      ends.push(() => someone.member.close());
      everybody.push(someone);
    }
    const way = await FaultyWay.to(server);
    ends.push(() => way.close());
    const storm = new Storm(random, server, everybody, way);

    for (let round = 1; round <= ROUNDS; round++) {
      const where = `seed ${SEED}, round ${round}`;
      await untilAllAreHeard(calm, everybody, where);
      for (const someone of everybody) {
        someone.wasDisturbed = false;
        someone.backend = `canary-${round}`;
        someone.lookMs = below(random, 4_000);
        someone.failure = random() < 0.15 ? "permission denied (403)" : undefined;
      }
      const operator = await BusOperator.connect(optionsAt(way.url), signal);
      const key = randomBytes(32);
      const spreading = spread(operator, `r${round}`, `canary-${round}`, key);
      const [told] = await together(spreading, storm.blow());
      way.mend();
      await operator.close();
      for (const someone of everybody) expectNoLoss(someone, told, `canary-${round}`, where);
    }
  }, 600_000);
});

function optionsAt(url: string) {
  return { servers: [url], credentials: new Secret(OPERATOR), host: "ops", clock };
}

async function untilAllAreHeard(
  operator: BusOperator,
  everybody: readonly Someone[],
  where: string,
): Promise<void> {
  const hosts = async () => {
    const all = await operator.call({ forMs: 20_000, quietMs: 10_000 }, signal).catch((error: unknown) => {
      if (!(error instanceof McpRunError)) throw error;
      return [];
    });
    return new Set(all.map(({ host }) => host)).size;
  };
  await until(
    `everybody is heard: ${where}`,
    async () => everybody.every(({ isConnected }) => isConnected) && (await hosts()) === everybody.length,
    PATIENCE_MS,
  );
}

/** Ends within its time, or the test does not. */
async function spread(bus: BusOperator, rotation: string, value: string, key: Buffer) {
  const fleet = new BusFleet({
    ...{ bus, clock, rotation, inventory: [], pace: "few-first", met: new Set<string>() },
    backendOf: () => "vault",
    rateOf: () => 1_000,
  });
  const wanted = [{ from: REF, fingerprint: fingerprintOf(value, key) }];
  const spreading = fleet.spread(wanted, key, ACK_MS, signal, () => undefined);
  let hasEnded = false;
  const ended = spreading.finally(() => {
    hasEnded = true;
  });
  ended.catch(() => undefined);
  await until("it has ended", async () => hasEnded, PATIENCE_MS);
  return ended;
}

function expectNoLoss(
  { host, value, wasDisturbed }: Someone,
  told: readonly Acknowledgement[],
  wanted: string,
  where: string,
): void {
  const said = told.filter((one) => one.host === host).map(({ state }) => state);
  const isHeld = told.some(({ state, pid }) => pid === 0 && state === "failed");
  const about = `${where}: ${host} ${wasDisturbed ? "was" : "was not"} disturbed; ${JSON.stringify(told)}`;
  if (isHeld) {
    expect(value === wanted || !said.includes("acknowledged"), about).toBe(true);
    return;
  }
  expect(said, about).toHaveLength(1);
  expect(said[0], about).not.toBe("gone");
  if (value !== wanted) expect(said[0], about).not.toBe("acknowledged");
  if (!wasDisturbed) expect(said[0], about).not.toBe("unknown");
}
