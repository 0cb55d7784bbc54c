/** The bus against a real nats-server: what an operator puts reaches supervisors, and what they report reaches him. */
import { createHmac, randomBytes } from "node:crypto";
import { rm } from "node:fs/promises";
import { inspect } from "node:util";
import { jetstreamManager } from "@nats-io/jetstream";
import * as jwt from "@nats-io/jwt";
import { connect, errors, type NatsConnection, nkeys } from "@nats-io/transport-node";
import { afterEach, describe, expect, it } from "vitest";
import { type Clock, systemClock } from "../../src/clock.ts";
import { authenticatorOf } from "../../src/control/bus/credentials.ts";
import type { Lack } from "../../src/control/bus/lack.ts";
import { BusMember, type BusMemberOptions, type BusState } from "../../src/control/bus/member.ts";
import { readEntry } from "../../src/control/bus/messages.ts";
import { busKey, hostInbox, OPERATOR_INBOX, subjects } from "../../src/control/bus/names.ts";
import { writeOldLeases } from "../../src/control/bus/old-leases.ts";
import { BusOperator, type HeardReport, type NewEntry } from "../../src/control/bus/operator.ts";
import {
  hostPermissions,
  operatorPermissions,
  type Permissions,
  permissionsBlock,
} from "../../src/control/bus/permissions.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { describeBackend } from "../helpers/backends.ts";
import { closeAll } from "../helpers/closings.ts";
import { FaultyWay } from "../helpers/faulty-way.ts";
import { heard as listenedTo } from "../helpers/heard.ts";
import { accountOf, NatsServer, OPERATOR } from "../helpers/nats-server.ts";
import { privateCa } from "../helpers/private-ca.ts";
import { until } from "../helpers/server-process.ts";

const KEY = busKey({ from: "vault:mcp/github#token" });
const OTHER_KEY = busKey({ from: "vault:other" });
const FINGERPRINT_KEY = randomBytes(32);
const signal = AbortSignal.timeout(600_000);

function fingerprintOf(value: string, key: Buffer = FINGERPRINT_KEY): string {
  return createHmac("sha256", key).update(value).digest("hex");
}

/** What is to be undone after a test, the last first. */
const ends: (() => Promise<void>)[] = [];
afterEach(() => closeAll(ends));

async function natsServer(...options: Parameters<typeof NatsServer.start>): Promise<NatsServer> {
  const server = await NatsServer.start(...options);
  ends.push(() => server.stop());
  return server;
}

async function operatorAt(
  server: Pick<NatsServer, "url">,
  credentials = OPERATOR,
  ca?: string,
  clock = systemClock,
): Promise<BusOperator> {
  const options = {
    ...(ca !== undefined && { ca }),
    servers: [server.url],
    credentials: new Secret(credentials),
    host: "ops",
    clock,
  };
  const operator = await BusOperator.connect(options, signal);
  ends.push(() => operator.close());
  return operator;
}

/** Somebody with all rights who keeps to no form. */
async function rawAt({ url }: NatsServer): Promise<NatsConnection> {
  const connection = await connect({
    servers: url.slice("nats://".length),
    user: "op",
    pass: "canary-operator",
  });
  ends.push(() => connection.close());
  return connection;
}

/** A clock that is so many ms ahead. */
function shifted(ms: number): Clock {
  return { ...systemClock, now: () => systemClock.now() + ms };
}

/** Ms that a server may take to let somebody in. */
const LONGEST_ANSWER_MS = 8_000;

/** A clock by which what is done now and then is due so many times sooner, and answers have as long as ever. */
function hurried(times: number): Clock {
  const shorter = (ms: number) => (ms > LONGEST_ANSWER_MS ? ms / times : ms);
  return { ...systemClock, after: (ms, ...more) => systemClock.after(shorter(ms), ...more) };
}

/** A server that is set up, an operator, and what he hears. */
async function fleet(clock?: Clock) {
  const server = await natsServer();
  const operator = await operatorAt(server, OPERATOR, undefined, clock);
  await operator.setUp({ replicas: 1 }, signal);
  return { server, operator, heard: listenTo(operator) };
}

/** So many that the client asks for them several times. */
const MANY = 3_000;

async function manyReports(raw: NatsConnection): Promise<void> {
  for (let count = 0; count < MANY; count++) raw.publish(subjects.report(`host-${count}`, "1-aa"), "{}");
  await raw.flush();
  const { streams } = await jetstreamManager(raw);
  await until("they are kept", async () => (await streams.info("mcp-run-hosts")).state.messages === MANY);
}

async function wayTo(server: NatsServer): Promise<FaultyWay> {
  const way = await FaultyWay.to(server);
  ends.push(() => way.close());
  return way;
}

type KeyPair = ReturnType<typeof nkeys.createUser>;

interface Credentials {
  readonly operator: string;
  readonly a: string;
  readonly b: string;
}

const OF_A = hostPermissions("a.example", [KEY]);
const OF_B = hostPermissions("b.example", [OTHER_KEY]);

function hostA(credentials: string): Partial<BusMemberOptions> {
  return { host: "a.example", credentials: new Secret(credentials) };
}

async function passwordFleet(): Promise<{ server: NatsServer; credentials: Credentials }> {
  const user = (name: string, permissions: Permissions) =>
    `{ user: ${name}, password: canary-${name}, ${permissionsBlock(permissions)} }`;
  const users = [user("operator", operatorPermissions()), user("a", OF_A), user("b", OF_B)];
  const server = await natsServer({ accounts: accountOf(users) });
  return { server, credentials: { operator: "operator:canary-operator", a: "a:canary-a", b: "b:canary-b" } };
}

async function nkeyFleet(): Promise<{ server: NatsServer; credentials: Credentials }> {
  const [operator, a, b] = [nkeys.createUser(), nkeys.createUser(), nkeys.createUser()];
  const user = (key: KeyPair, permissions: Permissions) =>
    `{ nkey: ${key.getPublicKey()}, ${permissionsBlock(permissions)} }`;
  const users = [user(operator, operatorPermissions()), user(a, OF_A), user(b, OF_B)];
  const server = await natsServer({ accounts: accountOf(users) });
  const seed = (key: KeyPair) => Buffer.from(key.getSeed()).toString();
  return { server, credentials: { operator: seed(operator), a: seed(a), b: seed(b) } };
}

/** As `nsc` makes them: an operator that signs accounts, and an account that signs its users. */
async function jwtFleet(): Promise<{ server: NatsServer; credentials: Credentials }> {
  const [root, system, account] = [jwt.createOperator(), jwt.createAccount(), jwt.createAccount()];
  const limits = { conn: -1, subs: -1, data: -1, payload: -1, imports: -1, exports: -1, wildcards: true };
  const stores = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };
  const accounts = {
    system: await jwt.encodeAccount("SYS", system, { limits }, { signer: root }),
    fleet: await jwt.encodeAccount("FLEET", account, { limits: { ...limits, ...stores } }, { signer: root }),
  };
  const rootJwt = await jwt.encodeOperator("mcp-run", root, { system_account: system.getPublicKey() });
  const server = await natsServer({
    accounts: `operator: ${rootJwt}
resolver: MEMORY
resolver_preload: {
  ${system.getPublicKey()}: ${accounts.system}
  ${account.getPublicKey()}: ${accounts.fleet}
}`,
  });
  const creds = async (name: string, { publish, subscribe }: Permissions) => {
    const key = jwt.createUser();
    const claims = { pub: { allow: [...publish.allow] }, sub: { allow: [...subscribe.allow] } };
    const token = await jwt.encodeUser(name, key, account, { ...claims, subs: -1, data: -1, payload: -1 });
    return Buffer.from(jwt.fmtCreds(token, key)).toString();
  };
  const [operator, a, b] = [
    await creds("operator", operatorPermissions()),
    await creds("a", OF_A),
    await creds("b", OF_B),
  ];
  return { server, credentials: { operator, a, b } };
}

/** Somebody with the credentials of a host, who tries what he is not allowed. */
class Intruder {
  readonly #connection: NatsConnection;
  readonly #refused = { publish: [] as string[], subscribe: [] as string[] };

  static async as({ url }: NatsServer, credentials: string): Promise<Intruder> {
    const authenticator = authenticatorOf(new Secret(credentials));
    const connection = await connect({ servers: url.slice("nats://".length), authenticator });
    ends.push(() => connection.close());
    return new Intruder(connection);
  }

  private constructor(connection: NatsConnection) {
    this.#connection = connection;
    void this.#follow();
  }

  /** What the server has refused, each in the order in which it was tried. */
  async tryAll(listen: readonly string[], say: readonly string[], what: string) {
    for (const subject of listen) this.#connection.subscribe(subject, { callback: () => undefined });
    for (const subject of say) this.#connection.publish(subject, what);
    await this.#connection.flush();
    const { publish, subscribe } = this.#refused;
    // The errors have come before the answer, and are told one by one.
    await until(
      "all is refused",
      async () => publish.length + subscribe.length >= listen.length + say.length,
      30_000,
    ).catch(() => undefined);
    return this.#refused;
  }

  async #follow(): Promise<void> {
    for await (const status of this.#connection.status()) {
      if (status.type !== "error" || !(status.error instanceof errors.PermissionViolationError)) continue;
      const { operation, subject } = status.error;
      this.#refused[operation === "publish" ? "publish" : "subscribe"].push(subject);
    }
  }
}

/** A supervisor whose server has `value`, and gets what the backend has when it looks. */
class FakeSupervisor {
  value = "canary-old";
  backend = "canary-old";
  looks = 0;
  mode = "overlap";
  lastFailure: { at: number; reason: string } | undefined;
  readonly states: BusState[] = [];
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
      onState: (state) => this.states.push(state),
      ...options,
    });
    ends.push(() => this.member.close());
  }

  get isConnected(): boolean {
    return this.member.state.id === "connected";
  }

  get lack(): Lack | undefined {
    return this.member.state.id === "connected" ? this.member.state.lacks : undefined;
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
  it("carries an entry to a supervisor, which looks and reports that it has it", async () => {
    const { operator, heard, server } = await fleet();
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

  describe("leases", () => {
    const lease = (number: number) => `database/creds/app/${number}`;
    const most = Array.from({ length: 10_000 }, (_, number) => lease(number));
    const { fingerprint: _none, ...about } = entryFor("");
    const oldOf = (ids: readonly string[]) => ({
      ...about,
      oldLeases: writeOldLeases(ids.map((id) => fingerprintOf(id))),
    });

    it("of a supervisor are replaced if they are among as many as a provider lists, and only then", async () => {
      const { operator, heard, server } = await fleet();
      const had = [lease(9_999)];
      const taken: string[] = [];
      const supervisor = new FakeSupervisor(server, {
        leases: () => had,
        look: async (key, isOld) => {
          taken.push(key);
          if (isOld?.(had[0] ?? "")) had[0] = "new";
        },
      });
      const later = new FakeSupervisor(server, { leases: () => ["another"], pid: 4712 });
      await until("both have come", async () => heard.size === 2);

      await operator.put(KEY, oldOf(most), signal);
      const report = ({ member }: FakeSupervisor) => heard.get(member.instance)?.secrets[0];
      await until("both have said so", async () =>
        [supervisor, later].every((one) => report(one)?.state === "has"),
      );
      await operator.put(KEY, oldOf(most), signal);
      await operator.call({ forMs: 2_000, quietMs: 500 }, signal, KEY);

      expect(taken).toEqual([KEY]);
      expect(later.looks).toBe(0);
      const under = fingerprintOf("");
      expect(report(supervisor)).toMatchObject({ state: "has", leases: [fingerprintOf("new")], under });
      expect(report(later)).toMatchObject({ state: "has", leases: [fingerprintOf("another")], under });
    });

    it("that are too many for a bucket of before are told with the mend", async () => {
      const { operator, server } = await fleet();
      const { streams } = await jetstreamManager(await rawAt(server));
      await streams.update("KV_mcp-run", { max_msg_size: 4_096 });

      const refused = operator.put(KEY, oldOf(most), signal);
      await expect(refused).rejects.toMatchObject({ hint: "mcp-run fleet setup" });
      await operator.setUp({}, signal);

      expect(await operator.put(KEY, oldOf(most), signal)).toEqual({ generation: 1 });
    });
  });

  describe("an operator", () => {
    it("makes what is kept on the server, finds it as it was, and mends what somebody has changed", async () => {
      const server = await natsServer();
      const operator = await operatorAt(server);
      const raw = await rawAt(server);

      const made = await operator.setUp({ replicas: 1 }, signal);
      const again = await operator.setUp({ replicas: 1 }, signal);
      const { streams } = await jetstreamManager(raw);
      await streams.update("KV_mcp-run", { allow_direct: false });
      const mended = await operator.setUp({ replicas: 1 }, signal);

      expect(made.map(({ done }) => done)).toEqual(["made", "made"]);
      expect(again.map(({ done }) => done)).toEqual(["unchanged", "unchanged"]);
      expect(mended).toEqual([
        { name: "bucket mcp-run", done: "changed" },
        { name: "stream mcp-run-hosts", done: "unchanged" },
      ]);
    });

    it("keeps what is known of others, however many supervisors a host invents", async () => {
      const { operator, server } = await fleet();
      const raw = await rawAt(server);
      const { streams } = await jetstreamManager(raw);
      const { config } = await streams.info("mcp-run-hosts");
      await streams.update("mcp-run-hosts", { ...config, max_msgs: 20 });
      const supervisor = new FakeSupervisor(server, { host: "asleep" });
      const hosts = async () => (await operator.history(signal)).map(({ host }) => host);
      await until("it is kept", async () => (await hosts()).includes("asleep"));

      for (let count = 0; count < 100; count++) raw.publish(subjects.report("liar", `1-${count}`), "{}");
      await raw.flush();
      supervisor.member.changed();

      await until("there is no more room", async () => (await hosts()).length === 20);
      expect(await hosts()).toContain("asleep");
    });

    it("is told to set it up where nobody has", async () => {
      const server = await natsServer();
      const operator = await operatorAt(server);
      const missing = { code: "backend-unavailable", hint: "mcp-run fleet setup" };

      await expect(operator.put(KEY, entryFor("canary-new"), signal)).rejects.toMatchObject(missing);
      await expect(operator.history(signal)).rejects.toMatchObject(missing);
    });

    it("is told soon that the reports have gone while they were read", async () => {
      const { server } = await fleet();
      const raw = await rawAt(server);
      await manyReports(raw);
      const way = await wayTo(server);
      const operator = await operatorAt(way);

      const held = way.heldAfter(50_000);
      const missing = { code: "backend-unavailable", hint: "mcp-run fleet setup" };
      const refused = listenedTo(expect(operator.history(signal)).rejects.toMatchObject(missing));
      await held;
      const { streams } = await jetstreamManager(raw);
      await streams.delete("mcp-run-hosts");
      way.mend();

      await refused;
    });

    it("reads every report also when the connection is lost meanwhile", async () => {
      const { server } = await fleet();
      await manyReports(await rawAt(server));
      const way = await wayTo(server);
      const operator = await operatorAt(way);

      const held = way.heldAfter(50_000);
      const reading = listenedTo(operator.history(signal));
      await held;
      way.cut();
      way.mend();

      expect(await reading).toHaveLength(MANY);
    });

    it("reads to the end also where the newest report was removed", async () => {
      const { operator, server } = await fleet();
      const raw = await rawAt(server);
      await manyReports(raw);
      const { streams } = await jetstreamManager(raw);
      const { state } = await streams.info("mcp-run-hosts");
      await streams.deleteMessage("mcp-run-hosts", state.last_seq);

      expect(await operator.history(signal)).toHaveLength(MANY - 1);
    });

    it("is told that JetStream is off", async () => {
      const server = await natsServer({ hasJetStream: false });
      const operator = await operatorAt(server);

      await expect(operator.setUp({ replicas: 1 }, signal)).rejects.toMatchObject({
        code: "backend-unavailable",
        message: expect.stringContaining("JetStream is off"),
      });
    });

    it("is told why no server lets it in", async () => {
      const server = await natsServer();
      const wrong = operatorAt(server, "op:canary-wrong");

      await expect(wrong).rejects.toMatchObject({
        code: "access-denied",
        message: `Cannot reach the fleet's bus: 127.0.0.1:${server.port} does not accept the credentials`,
      });
      await server.pause();
      await expect(operatorAt(server)).rejects.toMatchObject({
        code: "backend-unavailable",
        message: `Cannot reach the fleet's bus: 127.0.0.1:${server.port}: ECONNREFUSED`,
      });
    });

    it("puts after another one who was quicker, and nobody hears what was refused", async () => {
      const { operator, server } = await fleet();
      const others = await Promise.all(Array.from({ length: 4 }, () => operatorAt(server)));
      const raw = await rawAt(server);
      const generations: number[] = [];
      raw.subscribe(subjects.entry(KEY), {
        callback: (_error, message) => {
          generations.push(readEntry(message.data)?.generation ?? 0);
        },
      });
      await raw.flush();

      const puts = await Promise.all(
        [operator, ...others].map((one, index) =>
          one.put(KEY, entryFor("canary-new", { rotation: `r${index}` }), signal),
        ),
      );
      await until("all are heard", async () => generations.length === 5);

      expect(puts.map(({ generation }) => generation).sort()).toEqual([1, 2, 3, 4, 5]);
      expect(generations).toEqual([1, 2, 3, 4, 5]);
      expect((await operator.stored(KEY, signal))?.generation).toBe(5);
    });

    it("calls, and everybody who is there answers within the window, or those with a secret", async () => {
      const { operator, server } = await fleet();
      const one = new FakeSupervisor(server, { host: "one" });
      const other = new FakeSupervisor(server, {
        host: "other",
        secrets: () => [{ key: OTHER_KEY, ref: "vault:other" }],
      });
      await until("both are there", async () => one.isConnected && other.isConnected);
      const window = { forMs: 10_000, quietMs: 4_000 };

      const all = await operator.call(window, signal);
      const some = await operator.call(window, signal, OTHER_KEY);

      expect(all.map(({ host }) => host).sort()).toEqual(["one", "other"]);
      expect(some.map(({ host }) => host)).toEqual(["other"]);
    });

    it("ends a call when it is interrupted", async () => {
      const { operator } = await fleet();
      const interrupt = new AbortController();

      const calling = operator.call({ forMs: 60_000, quietMs: 60_000 }, interrupt.signal);
      interrupt.abort(new Error("enough"));

      await expect(calling).rejects.toThrow("enough");
    });

    it("reads in the history who has gone, and who has ended by himself", async () => {
      const { operator, server, heard } = await fleet();
      expect(await operator.history(signal)).toEqual([]);
      const ended = new FakeSupervisor(server, { host: "ended" });
      const asleep = new FakeSupervisor(server, { host: "asleep" });
      await until("both are heard", async () => heard.size === 2);

      await ended.member.close();
      await until("it has said so", async () => heard.get(ended.member.instance)?.state === "ended");
      const history = await operator.history(signal);

      const told = history.map(({ host, state }) => [host, state]).sort();
      expect(told).toEqual([
        ["asleep", "serving"],
        ["ended", "ended"],
      ]);
      expect(history.every(({ heardAt }) => Math.abs(heardAt - Date.now()) < 60_000)).toBe(true);
      expect(asleep.isConnected).toBe(true);
    });

    it("tells of who reports rubbish, too much, or as another host than that of his subject", async () => {
      const { operator, server, heard } = await fleet();
      const raw = await rawAt(server);
      const supervisor = new FakeSupervisor(server, { host: "good" });
      await until("it is heard", async () => heard.size === 1);
      const honest = JSON.stringify(heard.get(supervisor.member.instance));

      raw.publish(subjects.report("evil", "1-aa"), "{");
      raw.publish(subjects.report("evil", "1-aa"), Buffer.alloc(500_000, 0x20));
      raw.publish(subjects.report("evil", "1-aa"), honest);
      raw.publish(subjects.report("good", "1-aa"), honest);
      await until("they are dropped", async () => operator.dropped === 4);
      const history = await operator.history(signal);

      const brief = (all: Iterable<HeardReport>) =>
        [...all].map(({ host, instance, isUnreadable }) => [host, instance, isUnreadable]);
      const { instance } = supervisor.member;
      expect(heard.get("1-aa")).toMatchObject({ isUnreadable: true, pid: 1, secrets: [] });
      expect(brief(history)).toEqual([
        ["good", instance, undefined],
        ["evil", "1-aa", true],
        ["good", "1-aa", true],
      ]);
    });

    it("goes on when the server comes back", async () => {
      const { operator, server, heard } = await fleet();
      await server.pause();
      const supervisor = new FakeSupervisor(server);
      const putting = listenedTo(operator.put(KEY, entryFor("canary-old"), signal));
      await server.resume();

      expect(await putting).toEqual({ generation: 1 });
      await until("it hears reports again", async () => heard.has(supervisor.member.instance));
    });
  });

  describe("a supervisor", () => {
    it("that was not there catches up as soon as it comes", async () => {
      const { operator, server, heard } = await fleet();
      await operator.put(KEY, entryFor("canary-new"), signal);

      const supervisor = new FakeSupervisor(server);
      supervisor.backend = "canary-new";
      const report = () => heard.get(supervisor.member.instance)?.secrets[0];
      await until("it has it", async () => report()?.state === "has");

      expect(supervisor.looks).toBe(1);
    });

    it("starts without a bus, serves, and catches up when there is one", async () => {
      const { operator, server, heard } = await fleet();
      await operator.put(KEY, entryFor("canary-new"), signal);
      await server.pause();

      const supervisor = new FakeSupervisor(server);
      supervisor.backend = "canary-new";
      await until("it says so", async () => supervisor.member.state.id === "reconnecting");
      expect(supervisor.member.state).toMatchObject({ reason: `127.0.0.1:${server.port}: ECONNREFUSED` });
      await server.resume();
      await until(
        "it has it",
        async () => heard.get(supervisor.member.instance)?.secrets[0]?.state === "has",
      );

      expect(supervisor.states.map(({ id }) => id)).toEqual(["reconnecting", "connected"]);
    });

    it("catches up with what was put while it had lost the bus", async () => {
      const { operator, server, heard } = await fleet();
      const cut = await wayTo(server);
      const supervisor = new FakeSupervisor(cut);
      await until("it is there", async () => heard.size === 1);

      cut.cut();
      await until("it has noticed", async () => supervisor.member.state.id === "reconnecting");
      supervisor.backend = "canary-new";
      await operator.put(KEY, entryFor("canary-new"), signal);
      cut.mend();
      await until(
        "it has it",
        async () => heard.get(supervisor.member.instance)?.secrets[0]?.state === "has",
      );

      expect(supervisor.looks).toBe(1);
    });

    it("goes on through a restart of the server, which keeps what was put and reported", async () => {
      const { operator, server, heard } = await fleet();
      const supervisor = new FakeSupervisor(server);
      supervisor.backend = "canary-new";
      await operator.put(KEY, entryFor("canary-new"), signal);
      const state = () => heard.get(supervisor.member.instance)?.secrets[0];
      await until("it has it", async () => state()?.state === "has");

      await server.pause();
      await until("it has noticed", async () => !supervisor.isConnected);
      await server.resume();
      await until("it is back", async () => supervisor.isConnected);
      supervisor.backend = "canary-newer";
      await operator.put(KEY, entryFor("canary-newer", { rotation: "r2" }), signal);
      await until("it has that", async () => state()?.rotation === "r2" && state()?.state === "has");

      expect(supervisor.looks).toBe(2);
      expect((await operator.history(signal)).map(({ host }) => host)).toEqual(["web.example"]);
    });

    it("takes what is put into a bucket that was made anew, whatever the clocks of the operators say", async () => {
      const { operator: ahead, server, heard } = await fleet(shifted(86_400_000));
      const supervisor = new FakeSupervisor(server, { clock: hurried(20) });
      await until("it has come", async () => heard.size === 1);
      for (const rotation of ["r0", "r1"]) await ahead.put(KEY, entryFor("canary-old", { rotation }), signal);
      const state = () => heard.get(supervisor.member.instance)?.secrets[0];
      await until("it has heard it", async () => state()?.rotation === "r1");

      await server.pause();
      await rm(server.store, { recursive: true });
      await server.resume();
      await until("it is back", async () => supervisor.isConnected);
      const operator = await operatorAt(server);
      await operator.setUp({ replicas: 1 }, signal);
      supervisor.backend = "canary-new";
      const again = listenTo(operator);
      await operator.put(KEY, entryFor("canary-new", { rotation: "r2" }), signal);

      const last = () => again.get(supervisor.member.instance)?.secrets[0];
      await until("it has that", async () => last()?.rotation === "r2" && last()?.state === "has");
    });

    it("reads what is stored when it is asked after a secret, as the message of it may have been lost", async () => {
      const { operator, server, heard } = await fleet();
      const supervisor = new FakeSupervisor(server);
      supervisor.backend = "canary-new";
      await until("it has come", async () => heard.size === 1);
      const raw = await rawAt(server);
      const { streams } = await jetstreamManager(raw);
      // From now on the server says of no entry that it is there.
      await streams.delete("KV_mcp-run");
      await streams.add({
        ...{ name: "KV_mcp-run", subjects: ["$KV.mcp-run.>"], max_msgs_per_subject: 1, allow_direct: true },
      });
      await operator.put(KEY, entryFor("canary-new"), signal);

      await operator.call({ forMs: 2_000, quietMs: 200 }, signal, KEY);

      const state = () => heard.get(supervisor.member.instance)?.secrets[0]?.state;
      await until("it has it", async () => state() === "has");
    });

    it("answers a flood of calls by a few reports, and goes on", async () => {
      const { operator, server, heard } = await fleet();
      const supervisor = new FakeSupervisor(server);
      await until("it has come", async () => heard.size === 1);
      let answers = 0;
      operator.onReport(({ call }) => {
        if (call?.startsWith("flood")) answers += 1;
      });
      const raw = await rawAt(server);

      for (let count = 0; count < 2_000; count++)
        raw.publish(
          subjects.callAll,
          JSON.stringify({ v: 1, id: `flood-${count}`, spreadMs: 600_000 * (count % 2) }),
        );
      await raw.flush();
      await until("most of it is dropped", async () => supervisor.member.dropped > 1_900);

      expect(answers).toBeLessThanOrEqual(16);
      expect(supervisor.isConnected).toBe(true);
    });

    it("tries the other servers of the cluster when one has gone", async () => {
      const { server } = await fleet();
      const gone = await natsServer();
      await gone.stop();

      const supervisor = new FakeSupervisor(server, { servers: [gone.url, server.url] });

      await until("it is there", async () => supervisor.isConnected);
    });

    it("has a wave's turn raised", async () => {
      const { operator, server, heard } = await fleet();
      const supervisor = new FakeSupervisor(server);
      supervisor.backend = "canary-new";
      await until("it is there", async () => heard.size === 1);
      const state = () => heard.get(supervisor.member.instance)?.secrets[0]?.state;

      await operator.put(KEY, entryFor("canary-new", { upTo: 0 }), signal);
      await until("it waits", async () => state() === "waiting");
      expect(supervisor.looks).toBe(0);
      await operator.put(KEY, entryFor("canary-new", { upTo: 1 }), signal);
      await until("it has it", async () => state() === "has");
    });

    it("says why it has not got it", async () => {
      const { operator, server, heard } = await fleet();
      const failing = new FakeSupervisor(server, {
        host: "failing",
        look: async () => {
          failing.lastFailure = { at: Date.now() + 1, reason: "permission denied (403)" };
        },
      });
      const fixed = new FakeSupervisor(server, { host: "fixed" });
      fixed.mode = "never";
      await until("they are there", async () => heard.size === 2);

      await operator.put(KEY, entryFor("canary-new"), signal);
      const said = ({ member }: FakeSupervisor) => heard.get(member.instance)?.secrets[0];
      await until("both have said it", async () => [failing, fixed].every((one) => said(one)?.reason));

      expect(said(failing)).toMatchObject({ state: "failed", reason: "permission denied (403)" });
      expect(said(fixed)).toMatchObject({ state: "cannot-swap" });
    });

    it("drops what is rubbish, too long or of nobody's place in the stream, and goes on", async () => {
      const { operator, server, heard } = await fleet();
      const supervisor = new FakeSupervisor(server);
      supervisor.backend = "canary-new";
      await until("it is there", async () => heard.size === 1);
      const raw = await rawAt(server);
      const entry = JSON.stringify({
        v: 1,
        generation: 9,
        at: new Date().toISOString(),
        ...entryFor("canary-x"),
      });

      raw.publish(subjects.entry(KEY), "rubbish");
      raw.publish(subjects.entry(KEY), Buffer.alloc(900_000, 0x20));
      raw.publish(subjects.entry(KEY), entry);
      raw.publish(subjects.callAll, "rubbish");
      raw.publish(subjects.call(KEY), Buffer.alloc(900_000, 0x20));
      await until("they are dropped", async () => supervisor.member.dropped === 5);
      await operator.put(KEY, entryFor("canary-new"), signal);
      await until(
        "it has it",
        async () => heard.get(supervisor.member.instance)?.secrets[0]?.state === "has",
      );

      expect(supervisor.looks).toBe(1);
    });

    it("follows a secret that it begins to use, and no longer one that it has left", async () => {
      const { operator, server, heard } = await fleet();
      let secrets = [{ key: KEY, ref: "vault:mcp/github#token" }];
      const supervisor = new FakeSupervisor(server, { secrets: () => secrets });
      supervisor.backend = "canary-new";
      await until("it is there", async () => heard.size === 1);
      await operator.put(OTHER_KEY, entryFor("canary-new", { ref: "vault:other" }), signal);

      secrets = [{ key: OTHER_KEY, ref: "vault:other" }];
      supervisor.member.changed();
      const said = () => heard.get(supervisor.member.instance)?.secrets;
      await until("it has it", async () => said()?.[0]?.state === "has");
      await operator.put(KEY, entryFor("canary-newer", { rotation: "r2" }), signal);
      const answers = await operator.call({ forMs: 10_000, quietMs: 4_000 }, signal, KEY);

      expect(said()?.map(({ key }) => key)).toEqual([OTHER_KEY]);
      expect(answers).toEqual([]);
      expect(supervisor.looks).toBe(1);
    });

    it("ends soon while the server says nothing any more", async () => {
      const server = await natsServer();
      const supervisor = new FakeSupervisor(server);
      await until("it is there", async () => supervisor.isConnected);
      const { pid } = server;
      if (pid === undefined) throw new Error("the server does not run");
      process.kill(pid, "SIGSTOP");
      ends.push(async () => void process.kill(pid, "SIGCONT"));

      const begun = performance.now();
      await supervisor.member.close();

      expect(performance.now() - begun).toBeLessThan(10_000);
    });

    it("says what is missing although it is connected", async () => {
      const server = await natsServer();
      const supervisor = new FakeSupervisor(server);

      await until("it says so", async () => supervisor.lack !== undefined);

      const lack = supervisor.lack;
      await (await operatorAt(server)).setUp({ replicas: 1 }, signal);
      await until("it is content", async () => supervisor.lack === undefined);

      expect(lack).toEqual({
        reason: "the server has no bucket mcp-run, or does not answer in time",
        hint: "mcp-run fleet setup",
      });
    });

    it("is refused with wrong credentials, and says so without them", async () => {
      const server = await natsServer();
      const supervisor = new FakeSupervisor(server, { credentials: new Secret("op:canary-wrong") });

      await until("it says so", async () => supervisor.member.state.id === "refused");

      expect(supervisor.member.state).toMatchObject({
        reason: `127.0.0.1:${server.port} does not accept the credentials`,
        hint: expect.stringContaining("fleet.credentials"),
      });
      expect(inspect([supervisor.member, supervisor.states], { depth: 9, showHidden: true })).not.toContain(
        "canary-w",
      );
    });
  });

  describe.each([
    ["of users with passwords", passwordFleet],
    ["of users with nkeys", nkeyFleet],
    ["of users with JWTs", jwtFleet],
  ])("with the permissions of a host %s", (_kind, start) => {
    it("a rotation goes through, from the set-up to the history", async () => {
      const { server, credentials } = await start();
      const operator = await operatorAt(server, credentials.operator);
      await operator.setUp({ replicas: 1 }, signal);
      await operator.setUp({ replicas: 1 }, signal);
      const heard = listenTo(operator);
      const supervisor = new FakeSupervisor(server, hostA(credentials.a));
      supervisor.backend = "canary-new";
      await until("it is there", async () => heard.size === 1);

      await operator.put(KEY, entryFor("canary-new"), signal);
      await until(
        "it has it",
        async () => heard.get(supervisor.member.instance)?.secrets[0]?.state === "has",
      );
      const called = await operator.call({ forMs: 10_000, quietMs: 4_000 }, signal);
      const calledByKey = await operator.call({ forMs: 10_000, quietMs: 4_000 }, signal, KEY);
      const history = await operator.history(signal);

      expect([called, calledByKey, history].map((reports) => reports.map(({ host }) => host))).toEqual([
        ["a.example"],
        ["a.example"],
        ["a.example"],
      ]);
      expect(supervisor.lack).toBeUndefined();
    });

    it("a host reads nothing that is not its own, and reports for nobody else", async () => {
      const { server, credentials } = await start();
      const operator = await operatorAt(server, credentials.operator);
      await operator.setUp({ replicas: 1 }, signal);
      await operator.put(OTHER_KEY, entryFor("canary-new", { ref: "vault:other" }), signal);
      const heard = listenTo(operator);
      const b = new FakeSupervisor(server, {
        host: "b.example",
        credentials: new Secret(credentials.b),
        secrets: () => [{ key: OTHER_KEY, ref: "vault:other" }],
      });
      await until("b is there", async () => heard.has(b.member.instance));
      const before = JSON.stringify(heard.get(b.member.instance));
      const intruder = await Intruder.as(server, credentials.a);

      const heardNothingOf = [
        subjects.put(">"),
        subjects.put(OTHER_KEY),
        subjects.entry(">"),
        subjects.entry(OTHER_KEY),
        subjects.call(OTHER_KEY),
        subjects.anyReport,
        "mcp-run.host.>",
        subjects.report("b.example", "*"),
        "_INBOX.>",
        `${hostInbox("b.example")}.>`,
        `${OPERATOR_INBOX}.>`,
        "$JS.>",
        ">",
      ];
      const saidNothingOn = [
        subjects.put(KEY),
        subjects.put(OTHER_KEY),
        subjects.entry(KEY),
        subjects.callAll,
        subjects.call(KEY),
        subjects.stored(OTHER_KEY),
        subjects.report("b.example", b.member.instance),
        `${hostInbox("b.example")}.x`,
        "$JS.API.STREAM.MSG.GET.KV_mcp-run",
        "$JS.API.STREAM.MSG.GET.mcp-run-hosts",
        "$JS.API.DIRECT.GET.KV_mcp-run",
        "$JS.API.STREAM.INFO.KV_mcp-run",
        "$JS.API.STREAM.DELETE.KV_mcp-run",
        "$JS.API.STREAM.PURGE.mcp-run-hosts",
        "$JS.API.STREAM.NAMES",
        "$JS.API.CONSUMER.CREATE.KV_mcp-run",
        "$JS.API.CONSUMER.CREATE.mcp-run-hosts",
        "$JS.API.CONSUMER.DURABLE.CREATE.KV_mcp-run.x",
      ];
      const refused = await intruder.tryAll(heardNothingOf, saidNothingOn, before);

      expect(refused.subscribe).toEqual(heardNothingOf);
      expect(refused.publish).toEqual(saidNothingOn);
      expect((await operator.stored(OTHER_KEY, signal))?.generation).toBe(1);
      expect(JSON.stringify(heard.get(b.member.instance))).toBe(before);
    });

    it("a host that has a secret without a permission for it says which is missing", async () => {
      const { server, credentials } = await start();
      await (await operatorAt(server, credentials.operator)).setUp({ replicas: 1 }, signal);
      const secrets = () => [{ key: OTHER_KEY, ref: "vault:other" }];
      const supervisor = new FakeSupervisor(server, { ...hostA(credentials.a), secrets });

      await until("it says so", async () => supervisor.lack !== undefined);

      expect(supervisor.lack).toEqual({
        reason: expect.stringMatching(
          /^the server does not let this host (subscribe|publish) to .*\.k[\w-]{26}$/,
        ),
        hint: "mcp-run fleet permissions, and its lines in the server's configuration",
      });
    });
  });

  it("a host that lacked a permission uses it once the server has read it anew", async () => {
    const users = (keys: readonly string[]) => {
      const host = hostPermissions("a.example", keys);
      return accountOf([
        `{ user: operator, password: canary-operator, ${permissionsBlock(operatorPermissions())} }`,
        `{ user: a, password: canary-a, ${permissionsBlock(host)} }`,
      ]);
    };
    const server = await natsServer({ accounts: users([]) });
    const operator = await operatorAt(server, "operator:canary-operator");
    await operator.setUp({ replicas: 1 }, signal);
    const supervisor = new FakeSupervisor(server, { ...hostA("a:canary-a"), clock: hurried(50) });
    await until(
      "it says so",
      async () => supervisor.lack?.reason.includes("does not let this host") === true,
    );
    supervisor.backend = "canary-new";
    await operator.put(KEY, entryFor("canary-new"), signal);

    await server.configure({ accounts: users([KEY]) });
    await server.reload();
    await until("it lacks nothing", async () => supervisor.isConnected && supervisor.lack === undefined);
    await until("it has it", async () => supervisor.value === "canary-new");

    expect(supervisor.states.map(({ id }) => id)).not.toContain("reconnecting");
  });

  describe("TLS", () => {
    it("is verified against the authority that is named, and the system's where none is", async () => {
      const tls = await privateCa();
      const server = await natsServer({ tls });
      const operator = await operatorAt(server, OPERATOR, tls.ca);
      await operator.setUp({ replicas: 1 }, signal);
      const heard = listenTo(operator);

      const supervisor = new FakeSupervisor(server, { ca: tls.ca });
      await until("it has come", async () => heard.has(supervisor.member.instance));

      await expect(operatorAt(server)).rejects.toMatchObject({
        code: "access-denied",
        message: expect.stringMatching(/has a certificate that can't be trusted \(\w+\)$/),
      });
    });

    it("is verified against the very address that was asked for", async () => {
      const tls = await privateCa();
      const server = await natsServer({ tls, address: "127.0.0.2" });

      await expect(operatorAt(server, OPERATOR, tls.ca)).rejects.toMatchObject({
        message: expect.stringContaining("(ERR_TLS_CERT_ALTNAME_INVALID)"),
      });
    });

    it("is asked for: a server without it is told nothing", async () => {
      const server = await natsServer();
      const url = server.url.replace("nats:", "tls:");

      await expect(operatorAt({ url })).rejects.toMatchObject({
        message: expect.stringContaining("does not speak TLS"),
      });
    });
  });
});
