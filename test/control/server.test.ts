/** A supervisor's socket, and peers of every kind on it. */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../src/clock.ts";
import { ask } from "../../src/control/client.ts";
import { type Endpoint, endpointOf, makeFolder } from "../../src/control/endpoint.ts";
import { LONGEST_LINE } from "../../src/control/protocol.ts";
import { BusyError } from "../../src/control/server.ts";
import { McpRunError } from "../../src/errors.ts";
import { until } from "../helpers/processes.ts";
import { VirtualClock } from "../helpers/virtual-clock.ts";
import { ControlRoom } from "./room.ts";
import { statusOf } from "./status.ts";

const KEY = Buffer.alloc(32, 7).toString("base64url");
const STATUS = '{"v":1,"type":"status"}\n';

let room: ControlRoom;
beforeEach(() => {
  room = new ControlRoom();
});
afterEach(() => room.close());

const options = { timeoutMs: 30_000, clock: systemClock, signal: new AbortController().signal };
const status = (endpoint: Endpoint) => ask(endpoint, { type: "status" }, options);
const refusalIn = (line: string) => {
  const { ok, error } = JSON.parse(line);
  expect(ok).toBe(false);
  return error;
};

describe("a supervisor that is asked", () => {
  it("answers each request by its own function", async () => {
    const asked: unknown[] = [];
    const { endpoint } = await room.serve(7, {
      status: () => ({ status: statusOf(7) }),
      refresh: (request) => {
        asked.push(request);
        return { accepted: true, generation: 3 };
      },
      acknowledge: async (request) => {
        asked.push(request);
        return { pid: 7, host: "here", generation: 3, isChanging: false, secrets: [] };
      },
    });

    expect(await status(endpoint)).toEqual({
      type: "answered",
      answer: { v: 1, ok: true, status: statusOf(7) },
    });
    const refresh = { type: "refresh" as const, refs: ["local:a"], rotation: "r1" };
    expect(await ask(endpoint, refresh, options)).toMatchObject({
      answer: { accepted: true, generation: 3 },
    });
    const acknowledge = { type: "acknowledge" as const, refs: ["local:a"], key: KEY };
    expect(await ask(endpoint, acknowledge, options)).toMatchObject({ answer: { isChanging: false } });
    expect(asked).toEqual([
      { v: 1, ...refresh },
      { v: 1, ...acknowledge },
    ]);
  });

  it("passes a request to hold on, and refuses one that is not exactly as it should be", async () => {
    const asked: unknown[] = [];
    const { endpoint } = await room.serve(7, {
      hold: (request) => {
        asked.push(request);
        return { accepted: true, holds: false, reason: "it is ending" };
      },
    });
    const hold = { type: "hold" as const, rotation: "r1", refs: ["local:a"], places: [null], forMs: 45_000 };

    expect(await ask(endpoint, hold, options)).toMatchObject({
      answer: { accepted: true, holds: false, reason: "it is ending" },
    });
    for (const wrong of [
      { forMs: 60_001 },
      { forMs: 0 },
      { forMs: undefined },
      { rotation: "../r1" },
      { refs: undefined },
      { values: [] },
    ]) {
      const line = `${JSON.stringify({ v: 1, ...hold, ...wrong })}\n`;
      expect(refusalIn(await room.peer(endpoint).says(line))).toMatchObject({ code: "invalid" });
    }
    expect(asked).toEqual([{ v: 1, ...hold }]);
  });

  it("says so where it has no function for a request", async () => {
    const { endpoint } = await room.serve(7);
    expect(await ask(endpoint, { type: "canary", rotation: "r1", refs: [] }, options)).toMatchObject({
      type: "refused",
      error: { code: "unsupported" },
    });
  });

  it("answers with the reason of a failure, its secrets hidden", async () => {
    const { endpoint } = await room.serve(7, {
      status: () => {
        throw new McpRunError("backend-unavailable", "Cannot look: canary-value", { hint: "canary-hint" });
      },
    });
    expect(await status(endpoint)).toEqual({
      type: "refused",
      error: { code: "backend-unavailable", message: "Cannot look: [mcp-run:T]", hint: "[mcp-run:T]" },
    });
  });

  it("says nothing of a bug but that it is one", async () => {
    const { endpoint } = await room.serve(7, { status: () => Promise.reject(new Error("canary-bug")) });
    expect(await status(endpoint)).toEqual({
      type: "refused",
      error: { code: "internal", message: "a bug in mcp-run" },
    });
  });

  it("does not send an answer beyond the bound", async () => {
    const { endpoint } = await room.serve(7, {
      status: () => ({ status: statusOf(7, { file: "x".repeat(LONGEST_LINE) }) }),
    });
    expect(await status(endpoint)).toMatchObject({ type: "refused", error: { code: "too-large" } });
  });

  it("has a socket for its owner alone, and takes it away at its end", async () => {
    const server = await room.serve(7);
    expect(statSync(server.endpoint.path).mode & 0o777).toBe(0o600);
    expect(statSync(room.place.folder).mode & 0o777).toBe(0o700);

    await server.close();

    expect(existsSync(server.endpoint.path)).toBe(false);
    await expect(status(server.endpoint)).rejects.toThrow(
      "Cannot ask the mcp-run with pid 7: it does not run",
    );
  });

  it("takes the place of a process that was killed and had its number", async () => {
    makeFolder(room.place);
    const { path } = endpointOf(room.place, 7);
    spawnSync(process.execPath, [
      "-e",
      `require("net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`,
    ]);
    expect(existsSync(path)).toBe(true);

    const { endpoint } = await room.serve(7);

    expect(await status(endpoint)).toMatchObject({ type: "answered" });
  });

  it("does not take the socket of somebody who answers", async () => {
    const { endpoint } = await room.serve(7);
    await expect(room.serve(7)).rejects.toMatchObject({ code: "access-denied" });
    expect(await status(endpoint)).toMatchObject({ type: "answered" });
  });

  it("hangs up on everybody when it ends, also on those who wait for an answer", async () => {
    let wasAborted = false;
    let isAsked = false;
    const server = await room.serve(7, {
      status: (_request, signal) => {
        isAsked = true;
        return new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => {
            wasAborted = true;
            reject(signal.reason);
          });
        });
      },
    });
    const waiting = room.peer(server.endpoint);
    const silent = room.peer(server.endpoint);
    const told = waiting.says(STATUS);
    await until("the question has come", () => isAsked);

    await server.close();

    expect(await told).toBe("");
    expect(await silent.told).toBe("");
    expect(wasAborted).toBe(true);
  });

  it("gives up a canary whose asker has hung up, or says more", async () => {
    const aborted: string[] = [];
    let asked = 0;
    const { endpoint } = await room.serve(7, {
      canary: ({ rotation }, signal) => {
        asked++;
        return new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => {
            aborted.push(rotation);
            reject(signal.reason);
          });
        });
      },
    });
    const line = (rotation: string) => `{"v":1,"type":"canary","rotation":"${rotation}","refs":["a:b"]}\n`;
    const [gone, chatty] = [room.peer(endpoint), room.peer(endpoint)];
    gone.socket.write(line("gone"));
    chatty.socket.write(line("chatty"));
    await until("both are asked for", () => asked === 2);

    gone.socket.destroy();
    await until("the first is given up", () => aborted.length === 1);
    chatty.socket.write("x");

    await until("the second, too", () => aborted.length === 2);
    expect(aborted).toEqual(["gone", "chatty"]);
    expect(await status(endpoint)).toMatchObject({ type: "refused", error: { code: "unsupported" } });
  });

  it("calls busy what another supervisor may be able to do", async () => {
    const { endpoint } = await room.serve(7, {
      canary: () => {
        throw new BusyError("Cannot try it: it tries another one", "again in 10 s");
      },
    });
    expect(await ask(endpoint, { type: "canary", rotation: "r", refs: ["a:b"] }, options)).toEqual({
      type: "refused",
      error: { code: "busy", message: "Cannot try it: it tries another one", hint: "again in 10 s" },
    });
  });

  it.runIf(process.getuid?.() === 0)("can't be reached by another user", async () => {
    const { endpoint } = await room.serve(7);
    chmodSync(room.home, 0o755);
    const script = `require("net").connect(${JSON.stringify(endpoint.path)})
      .on("connect", () => process.exit(0)).on("error", (error) => { console.log(error.code); process.exit(1); })`;

    const stranger = await new Promise<{ status: number | null; stdout: string }>((resolve) => {
      const ran = spawnSync(process.execPath, ["-e", script], {
        uid: 64_999,
        gid: 64_999,
        encoding: "utf8",
        cwd: "/",
      });
      resolve(ran);
    });

    expect(stranger).toMatchObject({ status: 1, stdout: "EACCES\n" });
  });
});

describe("a hostile peer", () => {
  it.each([
    ["garbage", "\u0000\u0001{{{[[[\n", "invalid"],
    ["bytes that are no text", Buffer.from([0xff, 0xfe, 0x80, 0x0a]), "invalid"],
    ["an empty line", "\n", "invalid"],
    ["a JSON text that is no object", "[1]\n", "invalid"],
    ["depth", `${"[".repeat(65_000)}\n`, "invalid"],
    ["no version", '{"type":"status"}\n', "unsupported-version"],
    ["another version", '{"v":2,"type":"status"}\n', "unsupported-version"],
    ["another word", '{"v":1,"type":"shutdown"}\n', "unsupported"],
    ["a word of every object", '{"v":1,"type":"toString"}\n', "unsupported"],
    ["a key that is not known", '{"v":1,"type":"status","force":true}\n', "invalid"],
    ["refs that are none", '{"v":1,"type":"refresh","refs":[{"ref":"x"}]}\n', "invalid"],
    [
      "too many refs",
      `{"v":1,"type":"refresh","refs":${JSON.stringify(Array(257).fill("a:b"))}}\n`,
      "invalid",
    ],
    ["a short key", '{"v":1,"type":"acknowledge","refs":[],"key":"AAAA"}\n', "invalid"],
    ["a name that leads elsewhere", '{"v":1,"type":"refresh","rotation":"../x"}\n', "invalid"],
    ["a line beyond the bound", "x".repeat(LONGEST_LINE + 1), "too-large"],
  ])("with %s gets an answer, and the supervisor goes on", async (_what, said, code) => {
    const { endpoint } = await room.serve(7);
    const told = await room.peer(endpoint).says(said);

    expect(refusalIn(told)).toMatchObject({ code });
    expect(await status(endpoint)).toMatchObject({ type: "answered" });
  });

  it("is told which versions are known", async () => {
    const { endpoint } = await room.serve(7);
    const told = await room.peer(endpoint).says('{"v":99}\n');
    expect(refusalIn(told).versions).toEqual([1]);
  });

  it("gets one answer a connection, whatever it says after its request", async () => {
    let count = 0;
    const { endpoint } = await room.serve(7, { refresh: () => ({ accepted: true, generation: ++count }) });
    const told = await room.peer(endpoint).says('{"v":1,"type":"refresh"}\n{"v":1,"type":"refresh"}\n');

    expect(told.split("\n")).toHaveLength(2);
    expect(count).toBe(1);
  });

  it("is not read beyond its line, however much it says", async () => {
    const { endpoint } = await room.serve(7);
    const peer = room.peer(endpoint);
    let pieces = 0;
    const flood = () => {
      peer.socket.write(Buffer.alloc(LONGEST_LINE, "x"), (error) => {
        if (error || pieces === 1_000) return;
        pieces++;
        flood();
      });
    };
    flood();

    await peer.told;

    expect(pieces).toBeLessThan(100);
    expect(await status(endpoint)).toMatchObject({ type: "answered" });
  });

  it("is cut after 5 s of half a line", async () => {
    const clock = new VirtualClock();
    const { endpoint } = await room.serve(7, undefined, clock);
    const peer = room.peer(endpoint);
    peer.socket.write('{"v":1,');
    await until("it is heard", () => clock.pending === 1);

    await clock.advance(4_999);
    expect(peer.socket.closed).toBe(false);
    await clock.advance(1);

    expect(await peer.told).toBe("");
  });

  it("can't keep others out with connections on which it says nothing", async () => {
    const { endpoint } = await room.serve(7);
    const idle = Array.from({ length: 100 }, () => room.peer(endpoint));
    await until("all are connected or cut", () => idle.every(({ socket }) => !socket.connecting));

    expect(await status(endpoint)).toMatchObject({ type: "answered" });
    await until("most are cut", () => idle.filter(({ socket }) => socket.closed).length >= 84);
  });

  it("can't have more than 16 requests under way", async () => {
    let underWay = 0;
    const { endpoint } = await room.serve(7, {
      status: () => {
        underWay++;
        return new Promise(() => undefined);
      },
    });
    const peers = Array.from({ length: 30 }, () => room.peer(endpoint));
    const told = peers.map((peer) => peer.says(STATUS));
    await until("the rest is cut", () => peers.filter(({ socket }) => socket.closed).length === 14);

    expect(underWay).toBe(16);
    expect((await Promise.all(told.filter((_line, index) => peers[index]?.socket.closed))).join("")).toBe("");
  });

  it("that hangs up in the middle leaves nothing behind", async () => {
    const server = await room.serve(7);
    for (const said of ["", '{"v":1', STATUS]) {
      const peer = room.peer(server.endpoint);
      await new Promise((resolve) => peer.socket.once("connect", resolve));
      peer.socket.write(said);
      peer.socket.destroy();
    }
    expect(await status(server.endpoint)).toMatchObject({ type: "answered" });
    await server.close();
  });
});

describe("an asker", () => {
  const answering = async (answer: (socket: import("node:net").Socket) => void): Promise<Endpoint> => {
    makeFolder(room.place);
    const endpoint = endpointOf(room.place, 9);
    const server = createServer((socket) => {
      socket.on("error", () => undefined);
      answer(socket);
    });
    server.unref();
    await new Promise<void>((resolve) => server.listen(endpoint.path, resolve));
    return endpoint;
  };

  it("fails where nobody answers in time", async () => {
    const clock = new VirtualClock();
    const endpoint = await answering(() => undefined);
    const asked = ask(endpoint, { type: "status" }, { ...options, clock, timeoutMs: 2_000 });
    const failed = expect(asked).rejects.toMatchObject({
      code: "backend-unavailable",
      message: "Cannot ask the mcp-run with pid 9: no answer within 2 s",
    });
    await clock.advance(2_000);
    await failed;
  });

  it.each([
    ["hangs up", (socket: import("node:net").Socket) => void socket.destroy(), /: (it hung up|E\w+)$/],
    [
      "answers nonsense",
      (socket: import("node:net").Socket) => void socket.end("hello\n"),
      "not of this protocol",
    ],
    [
      "answers half a status",
      (socket: import("node:net").Socket) => void socket.end('{"v":1,"ok":true,"status":{}}\n'),
      "not of this protocol",
    ],
    [
      "does not stop",
      (socket: import("node:net").Socket) => void socket.write("x".repeat(LONGEST_LINE + 1)),
      "not of this protocol",
    ],
  ])("fails where the other side %s", async (_what, answer, message) => {
    await expect(status(await answering(answer))).rejects.toThrow(message);
  });

  it("gives up when it is told to", async () => {
    const abort = new AbortController();
    const endpoint = await answering(() => abort.abort(new Error("enough")));
    await expect(ask(endpoint, { type: "status" }, { ...options, signal: abort.signal })).rejects.toThrow(
      "enough",
    );
  });

  it("does not send what would be too long", async () => {
    const refs = Array.from({ length: 256 }, () => "x".repeat(300));
    await expect(ask(endpointOf(room.place, 9), { type: "refresh", refs }, options)).rejects.toMatchObject({
      code: "usage",
    });
  });

  it("understands a supervisor that says more than it knows", async () => {
    const more = JSON.stringify({ v: 1, ok: true, status: { ...statusOf(9), mood: "good" }, more: 1 });
    const endpoint = await answering((socket) => void socket.end(`${more}\n`));
    expect(await status(endpoint)).toMatchObject({ answer: { status: statusOf(9) } });
  });
});
