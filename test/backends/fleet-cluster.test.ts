/**
 * Rotations while one of three servers of the bus is killed and comes back, at random, from a seed. Whatever is lost,
 * nobody passes for done or for away who is not, and in the end everybody has the new value.
 */
import { createHmac, randomBytes } from "node:crypto";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { afterEach, expect, it } from "vitest";
import { systemClock } from "../../src/clock.ts";
import { BusMember } from "../../src/control/bus/member.ts";
import { busKey } from "../../src/control/bus/names.ts";
import { BusOperator } from "../../src/control/bus/operator.ts";
import { McpRunError } from "../../src/errors.ts";
import type { Acknowledgement } from "../../src/rotation/contract.ts";
import { BusFleet } from "../../src/rotation/fleet/bus-fleet.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { describeBackend } from "../helpers/backends.ts";
import { closeAll } from "../helpers/closings.ts";
import { Installation } from "../helpers/installation.ts";
import { NAMES, NatsCluster } from "../helpers/nats-cluster.ts";
import { OPERATOR } from "../helpers/nats-server.ts";
import { privateCa } from "../helpers/private-ca.ts";
import { below, type Random, randomFrom } from "../helpers/random.ts";
import { until } from "../helpers/server-process.ts";
import { together } from "../helpers/together.ts";

const SEED = Number(process.env.STORM_SEED ?? 20261121);
const ROUNDS = Number(process.env.STORM_ROUNDS ?? 1);
const HOSTS = ["web-0", "web-1", "web-2", "web-3"];
const REF = "vault:mcp/github#token";
const KEY = busKey({ from: REF });
const ACK_MS = 60_000;
const PATIENCE_MS = 180_000;
/** Ms after which somebody who is connected must have been heard. */
const HEARD_MS = 10_000;
const WINDOW = { forMs: 15_000, quietMs: 4_000 };
const signal = AbortSignal.timeout(24 * 3_600_000);

/** What is to be undone after a test, the last first. */
const ends: (() => Promise<unknown>)[] = [];
afterEach(() => closeAll(ends));

function fingerprintOf(value: string, key: Buffer): string {
  return createHmac("sha256", key).update(value).digest("hex");
}

interface Bus {
  readonly servers: readonly string[];
  readonly ca: string;
  readonly credentials: Secret;
  readonly clock: typeof systemClock;
}

/** A supervisor whose looks take their time. */
class Someone {
  value = "canary-0";
  backend = "canary-0";
  lookMs = 0;
  readonly host: string;
  readonly member: BusMember;

  constructor(host: string, bus: Bus) {
    this.host = host;
    this.member = BusMember.join({
      ...bus,
      host,
      pid: 4711,
      profile: "p",
      secrets: () => [{ key: KEY, ref: REF }],
      fingerprint: (_busKey, key) => fingerprintOf(this.value, key),
      standing: () => ({ generation: 1, era: "handshake", mode: "overlap", isLooking: false }),
      look: async () => {
        await new Promise((resolve) => setTimeout(resolve, this.lookMs));
        this.value = this.backend;
      },
      onState: () => undefined,
    });
  }

  /** Wall-clock ms; undefined while it is not. */
  get connectedSince(): number | undefined {
    const { state } = this.member;
    return state.id === "connected" && state.lacks === undefined ? state.since : undefined;
  }
}

async function clusterOf() {
  const { ca, ...tls } = await privateCa();
  const cluster = await NatsCluster.start({ ca, ...tls }, ["{ user: op, password: canary-operator }"]);
  ends.push(() => cluster.stop());
  const bus = { servers: cluster.urls, ca, credentials: new Secret(OPERATOR), clock: systemClock };
  const operator = await BusOperator.connect({ ...bus, host: "ops" }, signal);
  ends.push(() => operator.close());
  const isSetUp = () => operator.setUp({ replicas: 3 }, signal).then(() => true, refusedOnly(false));
  await until("the servers have found each other", isSetUp, PATIENCE_MS);
  return { cluster, bus, operator };
}

function operatorsMachine(ca: string, server: string): Installation {
  const here = new Installation();
  ends.push(async () => here.remove());
  here.write("config/ca.pem", ca);
  const fleet = `{ servers: ["${server}"], ca: ${here.home}/config/ca.pem, credentials: "local:nats" }`;
  here.write("config/mcp-run.yaml", `version: 1\nfleet: ${fleet}\nprofiles: {}\n`);
  here.set("local:nats", OPERATOR);
  return here;
}

describeBackend("a server that is cut off from the others of its cluster", ["nats-server"], () => {
  it("is no silence of those who are not on it, and status and setup say what it is", async () => {
    const { cluster, bus } = await clusterOf();
    const raw = await connect({
      ...{ servers: cluster.urls.map((url) => url.replace("tls://", "")), tls: { ca: bus.ca } },
      ...{ user: "op", pass: "canary-operator" },
    });
    ends.push(() => raw.close());
    const { streams } = await jetstreamManager(raw);
    const { cluster: known } = await streams.info("mcp-run-hosts");
    const others = NAMES.filter((name) => name !== known?.leader);
    const [alone = "", other = ""] = others;
    // By this clock he loses his patience four times sooner.
    const clock = { ...systemClock, monotonic: () => 4 * systemClock.monotonic() };
    const options = { ...bus, clock, servers: [cluster.urlOf(alone)], host: "ops" };
    const operator = await BusOperator.connect(options, signal);
    ends.push(() => operator.close());
    for (const [host, name] of [
      ["web-0", alone],
      ["web-1", other],
    ] as const) {
      const { member } = new Someone(host, { ...bus, servers: [cluster.urlOf(name)] });
      ends.push(() => member.close());
    }
    let refusal: unknown;
    const count = async () => {
      const heard = await operator.call(WINDOW, signal).catch((error: unknown) => {
        refusal = error;
        return [];
      });
      return heard.length;
    };
    await until("both are heard", async () => (await count()) === 2, PATIENCE_MS);
    refusal = undefined;

    // One that has just come to speak for the others takes some seconds to see that it has lost them.
    for (const name of NAMES) if (name !== alone) cluster.hold(name);
    const isSaid = async () => (await count()) === 0 && refusal !== undefined;
    const here = operatorsMachine(bus.ca, cluster.urlOf(alone));
    const setup = async () => here.run(["fleet", "setup"]);
    const isRefused = async () => (await setup()).status === 69;
    const isShown = async () => /can't be seen: .* too few of its servers/.test(here.run(["status"]).stdout);
    try {
      await until("that is said", isSaid, PATIENCE_MS);
      await until("that is shown", isShown, PATIENCE_MS);
      await until("setup is refused", isRefused, PATIENCE_MS);
      const { stdout, stderr } = await setup();
      expect(stdout).toBe("");
      expect(stderr).toMatch(
        /Cannot set up the bucket and the stream on the fleet's bus: .* too few of its servers for a leader. Try .* a look at the cluster/,
      );
    } finally {
      for (const name of NAMES) if (name !== alone) cluster.release(name);
    }
    expect(refusal).toMatchObject({
      code: "backend-unavailable",
      message: expect.stringMatching(/^Cannot call for reports on the fleet.s bus: /),
    });
  }, 600_000);
});

describeBackend("rotations over a cluster that loses one server after the other", ["nats-server"], () => {
  it("take nobody for done or for away who is not, and reach everybody in the end", async () => {
    const random = randomFrom(SEED);
    const { cluster, bus, operator } = await clusterOf();
    const everybody = HOSTS.map((host) => new Someone(host, bus));
    for (const { member } of everybody) ends.push(() => member.close());

    for (let round = 1; round <= ROUNDS; round++) {
      const where = `seed ${SEED}, round ${round}`;
      const [wanted, key] = [`canary-${round}`, randomBytes(32)];
      await until(`everybody is heard: ${where}`, () => areAllHeard(operator), PATIENCE_MS);
      for (const someone of everybody) {
        someone.backend = wanted;
        someone.lookMs = below(random, 3_000);
      }
      const rotation = { operator, everybody, wanted, key, where };

      await together(spread(rotation, `r${round}`), call(rotation), blow(cluster, random));

      const isDone = async () => (await spread(rotation, `r${round}`)).every(isAcknowledged);
      await until(`everybody has it: ${where}`, isDone, PATIENCE_MS);
      expect(everybody.map(({ value }) => value)).toEqual(HOSTS.map(() => wanted));
    }
  }, 900_000);
});

interface Rotation {
  readonly operator: BusOperator;
  readonly everybody: readonly Someone[];
  readonly wanted: string;
  readonly key: Buffer;
  readonly where: string;
}

/** One of them is lost at some moment, and comes back after a while. */
async function blow(cluster: NatsCluster, random: Random): Promise<void> {
  const name = NAMES[below(random, NAMES.length)] ?? "";
  await new Promise((resolve) => setTimeout(resolve, below(random, 4_000)));
  cluster.kill(name);
  await new Promise((resolve) => setTimeout(resolve, below(random, 6_000)));
  await cluster.revive(name);
}

/** Everybody who was connected all the time has answered. */
async function call({ operator, everybody, where }: Rotation): Promise<void> {
  for (let times = 0; times < 2; times++) {
    const wasThere = connectedBefore(Date.now() - HEARD_MS);
    const heard = await bounded(operator.call(WINDOW, signal)).catch(refusedOnly(undefined));
    const hosts = heard?.map(({ host }) => host);
    for (const { host } of everybody.filter(wasThere))
      if (hosts) expect(hosts, `${where}: ${host}, of ${hosts}`).toContain(host);
  }
}

function connectedBefore(ms: number): (someone: Someone) => boolean {
  return ({ connectedSince = Number.POSITIVE_INFINITY }) => connectedSince < ms;
}

async function areAllHeard(operator: BusOperator): Promise<boolean> {
  const all = await operator.call(WINDOW, signal).catch(refusedOnly([]));
  return all.length === HOSTS.length;
}

/** Whatever comes of it, nothing that is told is wrong. */
async function spread(
  { operator, everybody, wanted, key, where }: Rotation,
  rotation: string,
): Promise<readonly Acknowledgement[]> {
  const fleet = new BusFleet({
    ...{ bus: operator, clock: systemClock, rotation, inventory: HOSTS, pace: "few-first" },
    met: new Set<string>(),
    backendOf: () => "vault",
    rateOf: () => 1_000,
  });
  const goal = [{ from: REF, fingerprint: fingerprintOf(wanted, key) }];
  const told = await bounded(fleet.spread(goal, key, ACK_MS, signal, () => undefined));
  const wasThere = connectedBefore(Date.now() - HEARD_MS);
  const isLost = told.some(({ state, pid }) => pid === 0 && state === "failed");
  for (const someone of everybody) {
    const { host, value } = someone;
    const said = told.filter((one) => one.host === host).map(({ state }) => state);
    const about = `${where}: ${host}; ${JSON.stringify(told)}`;
    if (value !== wanted) expect(said, about).not.toContain("acknowledged");
    expect(said, about).not.toContain("gone");
    if (isLost) continue;
    expect(said, about).toHaveLength(1);
    if (wasThere(someone)) expect(said, about).not.toContain("unknown");
  }
  return told;
}

/** It ends within its time, or the test does not. */
function bounded<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error("it hangs")), PATIENCE_MS);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

function refusedOnly<T>(instead: T): (error: unknown) => T {
  return (error) => {
    if (!(error instanceof McpRunError)) throw error;
    return instead;
  };
}

function isAcknowledged({ state }: Acknowledgement): boolean {
  return state === "acknowledged";
}
