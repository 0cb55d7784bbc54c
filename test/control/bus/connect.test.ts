/** What can be told without a NATS server: addresses, credentials, and peers that are none. */
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { inspect } from "node:util";
import { nkeys } from "@nats-io/transport-node";
import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../../../src/clock.ts";
import { dial, readServers } from "../../../src/control/bus/connect.ts";
import { authenticatorOf } from "../../../src/control/bus/credentials.ts";
import { BusMember, type BusState } from "../../../src/control/bus/member.ts";
import { Secret } from "../../../src/secrets/secret.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** A server of one's own on loopback; `greet` is what it does with whoever connects. */
async function peer(greet: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    greet(socket);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  ends.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function info(more: object = {}): string {
  return `INFO ${JSON.stringify({ server_id: "X", version: "2.9.10", proto: 1, max_payload: 1048576, headers: true, ...more })}\r\n`;
}

async function dialled(url: string, credentials = "canary-token") {
  const [server] = readServers([url]);
  if (!server) throw new Error("no server");
  const options = {
    servers: [url],
    credentials: new Secret(credentials),
    host: "web",
    clock: systemClock,
  };
  return dial(server, options, "_INBOX.web", AbortSignal.timeout(20_000));
}

describe("the address of a server", () => {
  it.each([
    [
      "tls://nats.example.com",
      { hostname: "nats.example.com", address: "nats.example.com:4222", isEncrypted: true },
    ],
    [
      "nats://nats.example.com:5222",
      { hostname: "nats.example.com", address: "nats.example.com:5222", isEncrypted: true },
    ],
    ["nats://127.0.0.1:4222", { hostname: "127.0.0.1", address: "127.0.0.1:4222", isEncrypted: false }],
    ["nats://localhost:80", { hostname: "localhost", address: "localhost:80", isEncrypted: false }],
    ["tls://[::1]:4333", { hostname: "::1", address: "[::1]:4333", isEncrypted: true }],
    ["nats://[2001:db8::1]", { hostname: "2001:db8::1", address: "[2001:db8::1]:4222", isEncrypted: true }],
    [
      "nats://127.0.0.1.example.com",
      { hostname: "127.0.0.1.example.com", address: "127.0.0.1.example.com:4222", isEncrypted: true },
    ],
  ])("%s is encrypted unless it is this machine", (url, server) => {
    expect(readServers([url])).toEqual([server]);
  });

  it.each([
    "http://nats.example.com",
    "nats.example.com",
    "nats://",
    "tls://a:b:c",
    "tls://a/b",
    "ws://a",
    "",
  ])("%j is none", (url) => {
    expect(() => readServers([url])).toThrow(/^Cannot use the server .* of the fleet: it is no address/);
  });

  it.each([
    ["tls://op:canary-password@nats.example.com", "tls://…@nats.example.com"],
    ["op:canary-password@nats.example.com", "…@nats.example.com"],
    ["op:canary//@password@nats.example.com", "…@nats.example.com"],
  ])("does not take credentials, and does not repeat them: %s", (url, shown) => {
    expect(() => readServers([url])).toThrow(`the server ${shown} of the fleet`);
  });
});

describe("credentials", () => {
  const seed = Buffer.from(nkeys.createUser().getSeed()).toString();
  const creds = (lines: string) =>
    `-----BEGIN NATS USER JWT-----${lines}eyJ0.eyJqd3Q.sig-_x${lines}------END NATS USER JWT------${lines}${lines}` +
    `-----BEGIN USER NKEY SEED-----${lines}${seed}${lines}------END USER NKEY SEED------${lines}`;

  it("are told apart by their shape", () => {
    const shown = (text: string) => authenticatorOf(new Secret(text))("nonce");
    const nkey = nkeys.fromSeed(Buffer.from(seed)).getPublicKey();

    expect(shown(creds("\n"))).toMatchObject({ jwt: "eyJ0.eyJqd3Q.sig-_x", nkey });
    expect(shown(creds("\r\n"))).toMatchObject({ jwt: "eyJ0.eyJqd3Q.sig-_x", nkey });
    expect(shown(`${seed}\n`)).toMatchObject({ nkey });
    expect(shown("web:canary:pass")).toEqual({ user: "web", pass: "canary:pass" });
    expect(shown("canary-token\n")).toEqual({ auth_token: "canary-token" });
  });

  it.each([
    ["nothing", " \n"],
    ["half a creds file", creds("\n").slice(0, 80)],
    ["a creds file with a damaged seed", creds("\n").replace(seed, `${seed.slice(0, -1)}A1`)],
    ["a damaged seed", `${seed.slice(0, -2)}${seed.endsWith("AA") ? "BB" : "AA"}`],
    ["words", "canary words"],
  ])("that are %s are refused without being shown", (_what, text) => {
    let thrown: unknown;
    try {
      authenticatorOf(new Secret(text));
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ code: "secret-invalid" });
    expect(inspect(thrown)).not.toContain(seed.slice(0, 20));
    expect(inspect(thrown)).not.toContain("canary");
  });
});

describe("a connection", () => {
  it("is not made where nobody listens", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, "close");

    expect(await dialled(`nats://127.0.0.1:${port}`)).toEqual({
      failure: { type: "unreachable", reason: `127.0.0.1:${port}: ECONNREFUSED` },
    });
  });

  it.each([
    ["speaks HTTP", "HTTP/1.1 400 Bad Request\r\n\r\n"],
    ["speaks rubbish", "INFO {rubbish}\r\n"],
  ])("is not made with somebody who %s", async (_what, greeting) => {
    const address = await peer((socket) => socket.write(greeting));

    expect(await dialled(`nats://${address}`)).toMatchObject({
      failure: { type: "unreachable", reason: `${address}: it is no NATS server, or hung up` },
    });
  });

  it("is not made with somebody who hangs up", async () => {
    const address = await peer((socket) => socket.end());

    expect(await dialled(`nats://${address}`)).toMatchObject({ failure: { type: "unreachable" } });
  });

  it("tells no credential to a server that does not speak TLS, where that is asked for", async () => {
    const said: Buffer[] = [];
    const address = await peer((socket) => {
      socket.on("data", (chunk) => said.push(chunk));
      socket.write(info());
    });

    expect(await dialled(`tls://${address}`)).toMatchObject({
      failure: { type: "refused", reason: `${address} does not speak TLS` },
    });
    expect(Buffer.concat(said).toString()).toBe("");
  });

  it("is not made with a server that lets nobody in, and its words are not repeated", async () => {
    const address = await peer((socket) => {
      socket.write(info());
      socket.on("data", () => socket.end("-ERR 'Authorization Violation canary-token'\r\n"));
    });

    const result = await dialled(`nats://${address}`);

    expect(result).toMatchObject({
      failure: { type: "refused", reason: `${address} does not accept the credentials` },
    });
    expect(inspect(result, { depth: 9 })).not.toContain("canary");
  });
});

describe("a supervisor without a bus", () => {
  function joined(servers: readonly string[], credentials = "canary-token") {
    const states: BusState[] = [];
    const member = BusMember.join({
      servers,
      credentials: new Secret(credentials),
      host: "web",
      clock: systemClock,
      pid: 1,
      profile: "github",
      secrets: () => [],
      fingerprint: () => undefined,
      standing: () => ({ generation: 1, era: "handshake", mode: "overlap", isLooking: false }),
      look: async () => undefined,
      onState: (state) => states.push(state),
    });
    ends.push(() => member.close());
    return { member, states };
  }

  it("says since when and why, and ends soon", async () => {
    const address = await peer((socket) => socket.end());
    const { member, states } = joined([`nats://${address}`]);
    expect(member.state.id).toBe("connecting");
    await expect
      .poll(() => member.state)
      .toMatchObject({ id: "reconnecting", reason: expect.stringContaining(address) });

    const begun = performance.now();
    await member.close();

    expect(performance.now() - begun).toBeLessThan(10_000);
    expect(states.map(({ id }) => id)).toEqual(["reconnecting", "closed"]);
  });

  it("ends soon while a server keeps it waiting", async () => {
    let isConnected = false;
    const address = await peer(() => {
      isConnected = true;
    });
    const { member } = joined([`nats://${address}`]);
    await expect.poll(() => isConnected).toBe(true);

    const begun = performance.now();
    await member.close();

    expect(performance.now() - begun).toBeLessThan(10_000);
  });

  it("says what is wrong with its credentials, and does not show them", async () => {
    const { member } = joined(["nats://127.0.0.1:1"], "canary words");

    await expect
      .poll(() => member.state)
      .toMatchObject({
        id: "refused",
        reason: "Cannot use the credentials of the fleet: it has white space in it, and is no creds file",
      });
    expect(inspect(member, { depth: 9, showHidden: true })).not.toContain("canary");
  });

  it("does not start with servers that can't be used", () => {
    expect(() => joined(["https://nats.example.com"])).toThrow(/no address of a NATS server/);
  });
});
