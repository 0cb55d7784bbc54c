/** `mcp-run check` on a host of a fleet: what keeps its servers from being heard, said before one is started. */
import { connect } from "@nats-io/transport-node";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { describeBackend } from "../helpers/backends.ts";
import { closeAll } from "../helpers/closings.ts";
import { Host, type HostOptions, PATH } from "../helpers/fleet-room.ts";
import { accountOf, NatsServer, OPERATOR } from "../helpers/nats-server.ts";
import { type PrivateCa, privateCa } from "../helpers/private-ca.ts";
import { VaultServer } from "../helpers/vault-server.ts";

const closings: (() => Promise<unknown> | unknown)[] = [];
afterEach(() => closeAll(closings));

const PASSWORD = "canary-password-of-web-1";

let vault: VaultServer;
let nats: NatsServer;
let tls: PrivateCa;
let caFile: string;
/** As `fleet permissions` prints it. */
let user: string;

/** @param fleet further lines of `fleet:` */
function host(
  password = PASSWORD,
  {
    name = "web-1",
    servers = [nats.url],
    fleet = `ca: ${caFile}`,
    more = "",
  }: { name?: string; servers?: readonly string[]; fleet?: string; more?: string } = {},
): Host {
  const options: HostOptions = {
    vault,
    fleet: `servers: ${JSON.stringify(servers)}, ${fleet}`,
    credentials: `mcp-run-web-1:${password}`,
    more,
  };
  const made = new Host(name, options);
  closings.push(() => made.close());
  return made;
}

interface Checked {
  readonly fleet?: { readonly host: string; readonly ok: boolean; readonly server?: string };
  readonly findings: readonly { severity: string; message: string; hint?: string; code?: string }[];
}

function checked(of: Host, ...args: readonly string[]) {
  const ran = of.run("check", "--json", ...args);
  expect(ran.stdout + ran.stderr).not.toContain("canary-");
  const [{ fleet, findings }] = JSON.parse(ran.stdout).profiles as [Checked];
  return { status: ran.status, fleet, findings };
}

const accountsOf = (users: readonly string[]) =>
  accountOf(["{ user: op, password: canary-operator }", ...users]);

/** Users of the server from now on, and what there is in it besides. */
async function configure(users: readonly string[], more: { maxPayload?: number } = {}): Promise<void> {
  await nats.pause();
  await nats.configure({ tls, accounts: accountsOf(users), ...more });
  await nats.resume();
}

/** The operator, who has made the bucket. */
function setUp(): Host {
  const ops = new Host("ops", {
    vault,
    fleet: `servers: ["${nats.url}"], ca: ${caFile}`,
    credentials: OPERATOR,
  });
  closings.push(() => ops.close());
  expect(ops.run("fleet", "setup")).toMatchObject({ status: 0 });
  return ops;
}

async function asOperator() {
  const connection = await connect({
    servers: nats.url.replace("tls://", ""),
    user: "op",
    pass: "canary-operator",
    tls: { ca: tls.ca },
  });
  closings.push(() => connection.close());
  return connection;
}

describeBackend("the check of a host of a fleet", ["vault", "nats-server"], () => {
  beforeAll(async () => {
    vault = await VaultServer.start();
    await vault.must("POST", PATH, { data: { key: "canary-key" } });
    tls = await privateCa();
    caFile = await vault.keep("nats-ca.pem", tls.ca);
    const { stdout } = host(PASSWORD, { servers: ["tls://127.0.0.1:1"] }).run(
      ...["fleet", "permissions", "p", "--host", "web-1"],
    );
    user = stdout.replace(/password: "…".*/, `password: "${PASSWORD}"`);
    await closeAll(closings);
  });

  // A bus for each test, which may change it; none is to fail because another one has, or is tried again.
  beforeEach(async () => {
    nats = await NatsServer.start({ tls, accounts: accountsOf([user]) });
    closings.push(() => nats.stop());
  });

  afterAll(() => vault?.stop());

  it("says that there is no bucket yet, and once there is that all is well; nobody takes it for a supervisor", async () => {
    const early = checked(host());
    expect(early).toMatchObject({ status: 69, fleet: { host: "web-1", ok: false } });
    expect(early.findings).toMatchObject([
      {
        code: "backend-unavailable",
        message: expect.stringContaining("no bucket mcp-run"),
        hint: "mcp-run fleet setup",
      },
    ]);
    const ops = setUp();
    const connection = await asOperator();
    const heard: { state: string; secrets: unknown[] }[] = [];
    connection.subscribe("mcp-run.host.*.*", {
      callback: (_error, message) => void heard.push(message.json()),
    });
    await connection.flush();

    const one = host();
    const ran = one.run("check");

    expect(ran.stdout).toMatch(/^ {2}✔ 127\.0\.0\.1:\d+ lets web-1 into its fleet$/m);
    expect(ran.status, ran.stdout).toBe(0);
    expect(checked(one)).toMatchObject({
      status: 0,
      fleet: { host: "web-1", ok: true, server: `127.0.0.1:${nats.port}` },
      findings: [],
    });
    await connection.flush();
    expect(heard).toMatchObject([
      { state: "ended", secrets: [] },
      { state: "ended", secrets: [] },
    ]);
    const { data } = await connection.request("$JS.API.STREAM.INFO.mcp-run-hosts");
    expect(JSON.parse(Buffer.from(data).toString()).state.messages).toBe(0);
    expect(ops.run("status").stdout).toContain("The fleet: 0 servers on 0 hosts, nobody is silent");
  });

  it("is all that a host may ask for: its status says whose credentials it takes to see the others", () => {
    setUp();
    const { stdout, status } = host().run("status");

    expect(stdout).toMatch(
      /does not let the operator subscribe to .* Try `fleet\.operator` .* status --local\.$/m,
    );
    expect(status).toBe(0);
  });

  it("names the secret of which the host may not hear, and each thing that it may not do", async () => {
    setUp();
    const key = /mcp-run\.entry\.(k[\w-]{26})/.exec(user)?.[1] ?? "";
    const lines = (words: RegExp) =>
      user
        .split("\n")
        .filter((line) => !words.test(line))
        .join("\n");
    await configure([lines(new RegExp(`^ +"(mcp-run\\.(entry|call)|\\$JS.*)\\.${key}"$`))]);

    const without = checked(host());

    expect(without).toMatchObject({ status: 77, fleet: { ok: false } });
    expect(without.findings).toHaveLength(1);
    const [{ message, hint } = { message: "", hint: "" }] = without.findings;
    expect(message).toMatch(
      /^new values of vault:secret\/mcp\/app#key can't be told to this host in the fleet: /,
    );
    expect(message).toContain(`subscribe to mcp-run.entry.${key}, mcp-run.call.${key} or publish to $JS.API`);
    expect(hint).toContain("mcp-run fleet permissions p --host web-1");

    await configure([lines(/^ +"(mcp-run\.call\.all|mcp-run\.host\..*)"$/)]);
    const mute = checked(host());
    expect(mute.status).toBe(77);
    expect(mute.findings.map(({ message: said }) => said.replace(/ in the fleet: .*/, ""))).toEqual([
      "this host can't be called",
      "this host can't report",
    ]);
    await configure([user]);
  });

  it("says of credentials that are another host's whose they should be", () => {
    setUp();
    const taken = checked(host(PASSWORD, { name: "web-2" }));

    expect(taken.status).toBe(77);
    expect(taken.findings).toMatchObject([
      {
        message: expect.stringMatching(
          /^this host can't report .* let web-2 publish to mcp-run\.host\.web-2\./,
        ),
      },
      { message: expect.stringMatching(/^this host can't be answered .* subscribe to _INBOX\.web-2\./) },
    ]);
    expect(taken.findings[0]?.hint).toContain("`fleet.host`");
  });

  it("tells a wrong password, a certificate of nobody known and a bus that is down apart", async () => {
    setUp();
    const wrong = checked(host("canary-wrong"));
    const unknown = checked(host(PASSWORD, { fleet: "inventory: []" }));
    await nats.pause();
    const down = checked(host());
    await nats.resume();

    expect(wrong).toMatchObject({ status: 77, fleet: { ok: false } });
    expect(wrong.findings).toMatchObject([
      {
        message: expect.stringMatching(/^Cannot reach the fleet's bus: .* does not accept the credentials$/),
      },
    ]);
    expect(unknown.status).toBe(77);
    expect(unknown.findings[0]).toMatchObject({
      message: expect.stringContaining("has a certificate that can't be trusted"),
      hint: expect.stringContaining("`fleet.ca`"),
    });
    expect(down).toMatchObject({ status: 69, fleet: { host: "web-1", ok: false } });
    expect(down.findings).toMatchObject([
      { code: "backend-unavailable", message: expect.stringMatching(/ECONNREFUSED$/) },
    ]);
  });

  it("names a server that takes too short messages for a report, or for an entry", async () => {
    setUp();
    await configure([user], { maxPayload: 256 });
    const one = host();
    await one.serve();

    const mute = checked(host());

    expect(mute).toMatchObject({ status: 77, fleet: { ok: false } });
    expect(mute.findings).toMatchObject([
      {
        severity: "error",
        message: `this host may not be heard in the fleet: 127.0.0.1:${nats.port} takes messages of at most 256 bytes (max_payload), and a report can be longer: a fleet needs 65536`,
        hint: expect.stringContaining("`max_payload: 64KB`"),
      },
    ]);
    await one.untilItSays(/p is not heard in its fleet: .* at most 256 bytes .* Try `max_payload: 64KB`/);
    expect(one.run("status", "--local").stdout).toMatch(/at most 256 bytes \(max_payload\)/);

    await configure([user], { maxPayload: 32_768 });
    const narrow = checked(host());
    await configure([user]);

    expect(narrow).toMatchObject({ status: 0, fleet: { ok: true } });
    expect(narrow.findings).toMatchObject([
      {
        severity: "warning",
        message: expect.stringMatching(/^not every rotation can be told in the fleet: .* 32768 bytes/),
      },
    ]);
  });

  it("is enough with one server that lets it in, and warns of the others", () => {
    setUp();
    const two = host();
    const config = two.home.read("config/mcp-run.yaml").toString();
    two.home.write(
      "config/mcp-run.yaml",
      config.replace(`["${nats.url}"]`, `["${nats.url}", "nats://127.0.0.1:1"]`),
    );

    const half = checked(two);

    expect(half).toMatchObject({ status: 0, fleet: { ok: true, server: `127.0.0.1:${nats.port}` } });
    expect(half.findings).toMatchObject([
      { severity: "warning", message: expect.stringContaining("127.0.0.1:1: ECONNREFUSED") },
    ]);
  });
});
