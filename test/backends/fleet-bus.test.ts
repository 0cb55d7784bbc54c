/** The bus against a real nats-server: what an operator puts reaches supervisors, and what they report reaches him. */
import { createHmac, randomBytes } from "node:crypto";
import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../../src/clock.ts";
import { BusMember, type BusMemberOptions } from "../../src/control/bus/member.ts";
import { busKey } from "../../src/control/bus/names.ts";
import { BusOperator, type HeardReport, type NewEntry } from "../../src/control/bus/operator.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { describeBackend } from "../helpers/backends.ts";
import { NatsServer, OPERATOR } from "../helpers/nats-server.ts";
import { until } from "../helpers/server-process.ts";

const KEY = busKey({ from: "vault:mcp/github#token" });
const FINGERPRINT_KEY = randomBytes(32);
const signal = AbortSignal.timeout(60_000);

function fingerprintOf(value: string, key: Buffer = FINGERPRINT_KEY): string {
  return createHmac("sha256", key).update(value).digest("hex");
}

/** What is to be undone after a test, the last first. */
const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function natsServer(...options: Parameters<typeof NatsServer.start>): Promise<NatsServer> {
  const server = await NatsServer.start(...options);
  ends.push(() => server.stop());
  return server;
}

async function operatorAt(server: NatsServer, credentials = OPERATOR): Promise<BusOperator> {
  const options = {
    servers: [server.url],
    credentials: new Secret(credentials),
    host: "ops",
    clock: systemClock,
  };
  const operator = await BusOperator.connect(options, signal);
  ends.push(() => operator.close());
  return operator;
}

/** A supervisor whose server has `value`, and gets what the backend has when it looks. */
class FakeSupervisor {
  value = "canary-old";
  backend = "canary-old";
  looks = 0;
  mode = "overlap";
  lastFailure: { at: number; reason: string } | undefined;
  readonly states: string[] = [];
  readonly member: BusMember;

  constructor(server: Pick<NatsServer, "url">, options: Partial<BusMemberOptions> = {}) {
    this.member = BusMember.join({
      servers: [server.url],
      credentials: new Secret(OPERATOR),
      host: "web.example",
      clock: systemClock,
      pid: 4711,
      profile: "github",
      secrets: () => [{ key: KEY, ref: "vault:mcp/github#token" }],
      fingerprint: (_busKey, key) => fingerprintOf(this.value, key),
      standing: () => ({
        generation: 1,
        era: "handshake",
        mode: this.mode,
        isLooking: false,
        lastFailure: this.lastFailure,
      }),
      look: async () => {
        this.looks += 1;
        this.value = this.backend;
      },
      onState: (state) => this.states.push(state.id),
      ...options,
    });
    ends.push(() => this.member.close());
  }
}

function entryFor(value: string, more: Partial<NewEntry> = {}): NewEntry {
  return {
    rotation: "r1",
    ref: "vault:mcp/github#token",
    key: FINGERPRINT_KEY.toString("base64url"),
    fingerprint: fingerprintOf(value),
    upTo: 1,
    overMs: 0,
    ...more,
  };
}

/** The last report of each that is heard. */
function listenTo(operator: BusOperator): Map<string, HeardReport> {
  const heard = new Map<string, HeardReport>();
  operator.onReport((report) => heard.set(report.instance, report));
  return heard;
}

describeBackend("the bus of a fleet", ["nats-server"], () => {
  describe("a supervisor", () => {
    it("looks when an entry for its secret is put, and reports that it has it", async () => {
      const server = await natsServer();
      const operator = await operatorAt(server);
      await operator.setUp({ replicas: 1 }, signal);
      const heard = listenTo(operator);
      const supervisor = new FakeSupervisor(server);
      await until("it has come", async () => heard.size === 1);

      supervisor.backend = "canary-new";
      const { generation } = await operator.put(KEY, entryFor("canary-new"), signal);
      const report = () => heard.get(supervisor.member.instance);
      await until("it has it", async () => report()?.secrets[0]?.state === "has");

      expect(generation).toBe(1);
      expect(supervisor.looks).toBe(1);
      expect(report()).toMatchObject({
        host: "web.example",
        pid: 4711,
        profile: "github",
        state: "serving",
        secrets: [{ key: KEY, rotation: "r1", fingerprint: fingerprintOf("canary-new") }],
      });
    });
  });
});
