/** What is lost between a nats-server and whoever hears it: nobody is ever taken for away because we could not hear. */
import { createHmac } from "node:crypto";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { afterEach, expect, it } from "vitest";
import { type Clock, systemClock } from "../../src/clock.ts";
import { BusMember, type BusMemberOptions } from "../../src/control/bus/member.ts";
import { busKey } from "../../src/control/bus/names.ts";
import { BusOperator } from "../../src/control/bus/operator.ts";
import { operatorPermissions, permissionsBlock } from "../../src/control/bus/permissions.ts";
import { BusFleet } from "../../src/rotation/fleet/bus-fleet.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { describeBackend } from "../helpers/backends.ts";
import { FaultyWay } from "../helpers/faulty-way.ts";
import { accountOf, NatsServer, OPERATOR } from "../helpers/nats-server.ts";
import { until } from "../helpers/server-process.ts";

const REF = "vault:mcp/github#token";
const KEY = busKey({ from: REF });
const WINDOW = { forMs: 3_000, quietMs: 1_000 };
const PATIENCE_MS = 60_000;
const signal = AbortSignal.timeout(600_000);

/** What is to be undone after a test, the last first. */
const ends: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** A clock by which everything is due so many times sooner. */
function hurried(times: number): Clock {
  return { ...systemClock, after: (ms, ...more) => systemClock.after(ms / times, ...more) };
}

async function natsServer(...options: Parameters<typeof NatsServer.start>): Promise<NatsServer> {
  const server = await NatsServer.start(...options);
  ends.push(() => server.stop());
  return server;
}

async function operatorAt(url: string, clock: Clock = systemClock): Promise<BusOperator> {
  const options = { servers: [url], credentials: new Secret(OPERATOR), host: "ops", clock };
  const operator = await BusOperator.connect(options, signal);
  ends.push(() => operator.close());
  return operator;
}

async function rawAt({ port }: NatsServer): Promise<NatsConnection> {
  const raw = await connect({ servers: `127.0.0.1:${port}`, user: "op", pass: "canary-operator" });
  ends.push(() => raw.close());
  return raw;
}

async function memberAt(url: string, more: Partial<BusMemberOptions> = {}): Promise<BusMember> {
  const member = BusMember.join({
    servers: [url],
    credentials: new Secret(OPERATOR),
    host: "web-1",
    clock: systemClock,
    pid: 4711,
    profile: "p",
    secrets: () => [{ key: KEY, ref: REF }],
    fingerprint: (_busKey, key) => createHmac("sha256", key).update("canary-old").digest("hex"),
    standing: () => ({ generation: 1, era: "handshake", mode: "overlap", isLooking: false }),
    look: async () => undefined,
    onState: () => undefined,
    ...more,
  });
  ends.push(() => member.close());
  await until("it is connected", async () => member.state.id === "connected", PATIENCE_MS);
  return member;
}

/** A server that is set up, one supervisor, and an operator by a way that can be lost. */
async function room(clock?: Clock) {
  const server = await natsServer();
  await (await operatorAt(server.url)).setUp({ replicas: 1 }, signal);
  await memberAt(server.url);
  const way = await FaultyWay.to(server);
  ends.push(() => way.close());
  const operator = await operatorAt(way.url, clock);
  return { server, way, operator, raw: await rawAt(server) };
}

/** Does it as soon as the server has had the call. */
async function atNextCall(raw: NatsConnection, work: () => void): Promise<void> {
  raw.subscribe(`mcp-run.call.>`, { max: 1, callback: work });
  await raw.flush();
}

describeBackend("a supervisor", ["nats-server"], () => {
  it("is missed as long as it comes back with other credentials, and is the same one afterwards", async () => {
    const { server, operator } = await room();
    const member = await memberAt(server.url, { host: "web-2" });
    const states = async () =>
      (await operator.history(signal)).filter(({ host }) => host === "web-2").map(({ state }) => state);
    await until("it has been heard", async () => (await states()).length > 0, PATIENCE_MS);

    await member.leave();
    expect(await states()).toEqual(["serving"]);

    const { instance } = member;
    const again = await memberAt(server.url, { host: "web-2", instance });
    await again.close();
    expect(await states()).toEqual(["ended"]);
  });
});

describeBackend("a bus that is full", ["nats-server"], () => {
  it("is named, as who has begun since is known to nobody unless he is connected", async () => {
    const { operator, raw } = await room();
    const fleet = new BusFleet({
      ...{ bus: operator, clock: systemClock, rotation: "r1", inventory: [], met: new Set<string>() },
      ...{ pace: "few-first", backendOf: () => "vault", rateOf: () => 1_000 },
    });
    await until(
      "web-1 has been kept",
      async () => (await operator.history(signal)).length === 1,
      PATIENCE_MS,
    );
    const hosts = async () => (await fleet.list([{ from: REF }], signal)).map(({ host }) => host);
    expect(await hosts()).toEqual(["web-1"]);

    const { streams } = await jetstreamManager(raw);
    await streams.update("mcp-run-hosts", { max_msgs: 1 });

    expect(await hosts()).toEqual(["web-1", "the fleet's bus"]);
  });
});

describeBackend("a bus that is lost is lost for a while", ["nats-server"], () => {
  it("is called again where the answers could not come", async () => {
    const { way, operator, raw } = await room();
    await atNextCall(raw, () => {
      way.cut();
      way.mend();
    });

    const heard = await operator.call(WINDOW, signal);

    expect(heard).toMatchObject([{ host: "web-1" }]);
  });

  it("is no silence of others where it says nothing any more", async () => {
    const { way, operator, raw } = await room(hurried(5));
    await atNextCall(raw, () => way.hold());

    await expect(operator.call(WINDOW, signal)).rejects.toMatchObject({ code: "backend-unavailable" });
  });

  it("is no silence of others where the server does not let us hear any more", async () => {
    const publish = operatorPermissions();
    const account = (isDeaf: boolean) => {
      const { allow } = publish.subscribe;
      const subscribe = { allow: isDeaf ? allow.filter((subject) => subject.includes("INBOX")) : allow };
      const user = `{ user: op, password: canary-operator, ${permissionsBlock({ ...publish, subscribe })} }`;
      return accountOf([user, "{ user: all, password: canary-all }"]);
    };
    const server = await natsServer({ accounts: account(false) });
    const operator = await operatorAt(server.url);
    await operator.setUp({ replicas: 1 }, signal);
    await memberAt(server.url, { credentials: new Secret("all:canary-all") });
    expect(await operator.call(WINDOW, signal)).toHaveLength(1);

    await server.configure({ accounts: account(true) });
    process.kill(server.pid ?? 0, "SIGHUP");

    await until(
      "that is told",
      async () =>
        operator.call(WINDOW, signal).then(
          () => false,
          ({ code }) => code === "access-denied",
        ),
      PATIENCE_MS,
    );
  });
});
