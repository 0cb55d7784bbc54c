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
import { realmOf } from "../../src/control/bus/realm.ts";
import { BusFleet } from "../../src/rotation/fleet/bus-fleet.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { describeBackend } from "../helpers/backends.ts";
import { closeAll } from "../helpers/closings.ts";
import { FaultyWay } from "../helpers/faulty-way.ts";
import { accountOf, NatsServer, OPERATOR } from "../helpers/nats-server.ts";
import { until } from "../helpers/server-process.ts";

const REF = "vault:mcp/github#token";
const KEY = busKey({ from: REF });
const WINDOW = { forMs: 3_000, quietMs: 1_000 };
const PATIENCE_MS = 120_000;
const signal = AbortSignal.timeout(600_000);

/** What is to be undone after a test, the last first. */
const ends: (() => Promise<unknown>)[] = [];
afterEach(() => closeAll(ends));

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

describeBackend("a bus that takes short messages only", ["nats-server"], () => {
  const lackOf = ({ state }: BusMember) => (state.id === "connected" ? state.lacks : undefined);
  const limited = async (server: NatsServer, maxPayload: number) => {
    await server.configure({ maxPayload });
    await server.reload();
  };
  /** Long pauses are short; nobody who answers is too slow for it. */
  const impatient: Clock = {
    ...systemClock,
    after: (ms, ...more) => systemClock.after(ms > 40_000 ? ms / 60 : ms, ...more),
  };

  it("is named by a supervisor, which is heard as soon as it takes longer ones, and says when it no longer does", async () => {
    const server = await natsServer();
    const operator = await operatorAt(server.url);
    await operator.setUp({ replicas: 1 }, signal);
    await server.pause();
    await server.configure({ maxPayload: 200 });
    await server.resume();
    const reasons: (string | undefined)[] = [];
    const member = await memberAt(server.url, {
      clock: impatient,
      onState: (state) => reasons.push(state.id === "connected" ? state.lacks?.reason : state.id),
    });

    expect(lackOf(member)).toEqual({
      reason:
        "the server takes messages of at most 200 bytes (max_payload), and its reports are longer: a fleet needs 65536",
      hint: expect.stringContaining("`max_payload: 64KB`"),
    });

    await limited(server, 65_536);
    await until("it is heard", async () => lackOf(member) === undefined, PATIENCE_MS);
    expect(reasons).toEqual([expect.stringContaining("at most 200 bytes"), undefined]);
    await until("that is seen", async () => (await operator.call(WINDOW, signal)).length === 1, PATIENCE_MS);

    await limited(server, 200);
    member.changed();
    await until("it says so again", async () => lackOf(member) !== undefined, PATIENCE_MS);
    expect(reasons[2]).toBe("reconnecting");
  });

  it("is refused by whoever sets it up, or has an entry that is longer", async () => {
    const { server, operator } = await room();
    const entry = {
      ...{ rotation: "r1", ref: REF, key: "k".repeat(43), upTo: 1, overMs: 0 },
      oldLeases: "abcd".repeat(10_000),
    };
    await expect(operator.put(KEY, entry, signal)).resolves.toEqual({ generation: 1 });
    await limited(server, 32_768);
    const later = await operatorAt(server.url);
    const refusal = { code: "access-denied", hint: expect.stringContaining("`max_payload: 64KB`") };

    await expect(later.setUp({}, signal)).rejects.toMatchObject({
      ...refusal,
      message: expect.stringMatching(/^Cannot set up .*at most 32768 bytes .*a fleet needs 65536$/),
    });
    await expect(later.put(KEY, entry, signal)).rejects.toMatchObject({
      ...refusal,
      message: expect.stringMatching(/^Cannot put an entry .*at most 32768 bytes .*this one has 4\d{4}: /),
    });
    // One who has not been told of the limit is hung up on first.
    await expect(operator.put(KEY, entry, signal)).rejects.toMatchObject(refusal);
    const { oldLeases: _long, ...short } = entry;
    await expect(later.put(KEY, short, signal)).resolves.toEqual({ generation: 2 });
  });
});

describeBackend("two environments that have a secret of one path", ["nats-server"], () => {
  const FROM = "aws:prod/app#key";
  const nameIn = (account: string) => ({
    from: FROM,
    place: `arn:aws:secretsmanager:eu-west-1:${account}:secret:prod/app-AbC123`,
  });
  const [ours, theirs] = [nameIn("111122223333"), nameIn("444455556666")];
  const having = (host: string, name: { from: string; place: string }, isSaid = true) => ({
    ...{ host, fingerprint: () => undefined },
    secrets: () => [{ key: busKey(name), ref: name.from, realm: isSaid ? realmOf(name.place) : undefined }],
  });

  it("hold each other up only where nobody can tell them apart", async () => {
    const { operator, server } = await room();
    await memberAt(server.url, having("prod-1", ours));
    await memberAt(server.url, having("staging-1", theirs));
    await memberAt(server.url, having("staging-2", theirs, false));
    const fleet = new BusFleet({
      ...{ bus: operator, clock: systemClock, rotation: "r1", inventory: [], met: new Set<string>() },
      ...{ pace: "few-first", backendOf: () => "aws-secrets-manager", rateOf: () => 1_000 },
    });
    const hosts = async () => (await fleet.list([ours], signal)).map(({ host }) => host).sort();

    await until("all are heard", async () => (await hosts()).length > 1, PATIENCE_MS);
    expect(await hosts()).toEqual(["prod-1", "staging-2"]);
  });

  it("hear nothing of each other with an account each", async () => {
    const users = (name: string) => `${name} { jetstream: enabled, users: [{ user: ${name}, password: x }] }`;
    const server = await natsServer({ accounts: `accounts { ${users("PROD")}, ${users("STAGING")} }` });
    const [prod, staging] = await Promise.all(
      ["PROD", "STAGING"].map(async (name) => {
        const credentials = new Secret(`${name}:x`);
        const options = { servers: [server.url], credentials, host: "ops", clock: systemClock };
        const operator = await BusOperator.connect(options, signal);
        ends.push(() => operator.close());
        await operator.setUp({ replicas: 1 }, signal);
        await memberAt(server.url, { credentials, host: `${name}-1` });
        return operator;
      }),
    );

    for (const [operator, host] of [
      [prod, "PROD-1"],
      [staging, "STAGING-1"],
    ] as const) {
      let heard: readonly { host: string }[] = [];
      const isHeard = async () => {
        heard = (await operator?.call(WINDOW, signal)) ?? [];
        return heard.length > 0;
      };
      await until(`${host} is heard`, isHeard, PATIENCE_MS);
      expect(heard.map((one) => one.host)).toEqual([host]);
    }
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
    await server.reload();

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
