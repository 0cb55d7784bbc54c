import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { PassThrough } from "node:stream";
import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../../src/clock.ts";
import { shakeHands } from "../../src/relay/handshake.ts";
import type { RequestProbe } from "../../src/relay/probe.ts";
import { VirtualClock } from "../helpers/virtual-clock.ts";

const servers: ChildProcessWithoutNullStreams[] = [];

function start(argv: readonly string[], env: Record<string, string> = {}): ChildProcessWithoutNullStreams {
  const server = spawn(process.execPath, [...argv], { env: { PATH: process.env.PATH ?? "", ...env } });
  servers.push(server);
  server.stderr.resume();
  return server;
}

function greet(server: ChildProcessWithoutNullStreams, probe?: RequestProbe) {
  return shakeHands(server.stdin, server.stdout, {
    clock: systemClock,
    timeoutMs: 15_000,
    clientVersion: "0.0.0",
    probe,
  });
}

/** A server that answers by a table of method to message body. */
function scripted(answers: Readonly<Record<string, string>>, exitOn = "") {
  return start([
    "-e",
    `const answers = ${JSON.stringify(answers)};
     process.stdout.write("starting up\\n");
     require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
       const { id, method } = JSON.parse(line);
       if (method === ${JSON.stringify(exitOn)}) process.exit(1);
       if (id !== undefined) process.stdout.write('{' + (answers[method] ?? '"error":{"code":-32601,"message":"no such method"}') + ',"jsonrpc":"2.0","id":' + id + '}\\n');
     });`,
  ]);
}

afterEach(() => {
  for (const server of servers.splice(0)) server.kill("SIGKILL");
});

describe("shakeHands", () => {
  it.each([
    ["@modelcontextprotocol/server-everything/dist/index.js", {}, /everything/],
    ["@modelcontextprotocol/server-github/dist/index.js", {}, /github/],
    ["@upstash/context7-mcp/dist/index.js", { CONTEXT7_API_KEY: "canary-context7" }, /context7/i],
  ])("learns the name and the tools of %s", async (script, env, name) => {
    const greeting = await greet(start([`node_modules/${script}`], env));

    expect(greeting.server).toMatch(name);
    expect(greeting.protocolVersion).toMatch(/^20\d\d-\d\d-\d\d$/);
    expect(greeting.toolCount).toBeGreaterThan(0);
  });

  it("falls back to the newer protocol for a server that knows nothing else", async () => {
    const server = scripted({
      "server/discover":
        '"result":{"serverInfo":{"name":"new"},"capabilities":{"tools":{}},"supportedVersions":["2026-07-28"]}',
      "tools/list": '"result":{"tools":[{},{}]}',
    });

    const { readyAt: _, ...said } = await greet(server);
    expect(said).toEqual({ server: "new", protocolVersion: "2026-07-28", toolCount: 2 });
  });

  it("does not ask for tools that a server does not offer", async () => {
    const server = scripted({ initialize: '"result":{"protocolVersion":"2025-06-18","capabilities":{}}' });

    const { readyAt: _, ...said } = await greet(server);
    expect(said).toEqual({ server: "a server", protocolVersion: "2025-06-18" });
  });

  const probe = { tool: "get_me", arguments: {} };
  const introduction = '"result":{"protocolVersion":"2025-06-18","capabilities":{}}';

  it.each([
    ["passes its probe", '"result":{"content":[]}', undefined],
    ["says that its tool has failed", '"result":{"isError":true}', "its probe get_me failed"],
    ["refuses it", '"error":{"code":-32001,"message":"bad"}', "its probe get_me was refused (-32001)"],
  ])("tells of a server that %s", async (_what, answer, wrong) => {
    const server = scripted({ initialize: introduction, "tools/call": answer });

    expect((await greet(server, probe)).probe).toEqual({ name: "get_me", wrong });
  });

  it("tells of a server that ends at its probe", async () => {
    const server = scripted({ initialize: introduction }, "tools/call");

    expect((await greet(server, probe)).probe).toEqual({
      name: "get_me",
      wrong: "its probe get_me was not answered",
    });
  });

  it("proves a server of the newer protocol in its own way", async () => {
    const server = scripted({
      "server/discover": '"result":{"capabilities":{},"supportedVersions":["2026-07-28"]}',
      "resources/list": '"result":{"seen":true}',
    });

    const { probe: proof } = await greet(server, { method: "resources/list", params: {} });

    expect(proof).toEqual({ name: "resources/list", wrong: undefined });
  });

  it("passes on why a server refuses", async () => {
    const server = scripted({ initialize: '"error":{"code":-32000,"message":"bad token"}' });

    await expect(greet(server)).rejects.toThrow("Cannot shake hands: the server refused (-32000: bad token)");
  });

  it("says that a server ended before it answered", async () => {
    await expect(greet(scripted({}, "initialize"))).rejects.toThrow("the server ended before it answered");
  });

  it("gives a silent server its time, and leaves no timer behind", async () => {
    const clock = new VirtualClock();
    const work = shakeHands(new PassThrough(), new PassThrough(), {
      clock,
      timeoutMs: 30_000,
      clientVersion: "0.0.0",
    });
    const outcome = expect(work).rejects.toThrow("no answer within 30 s");

    await clock.advance(30_000);

    await outcome;
    expect(clock.pending).toBe(0);
  });
});
