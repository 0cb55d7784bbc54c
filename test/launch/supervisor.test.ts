import { PassThrough } from "node:stream";
import { describe, expect, it, vi } from "vitest";
import { InterruptedError } from "../../src/errors.ts";
import { LineSink } from "../../src/relay/line-sink.ts";
import { isAlive, until } from "../helpers/processes.ts";
import { planFor, type Serving, STUBBORN_SERVER, serving } from "../helpers/serving.ts";
import { VirtualClock } from "../helpers/virtual-clock.ts";

const CANARY = "canary-7f3a9c51";
const HELLO = '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}\n';
const LONG_MS = 60_000;

describe("the exit code of a served server", () => {
  it.each([0, 1, 7, 255])("is its own: %i", async (code) => {
    const { served } = serving(planFor([`exit:${code}`]));

    expect((await served).exitCode).toBe(code);
  });

  it.each([
    ["SIGTERM", 143],
    ["SIGKILL", 137],
    ["SIGINT", 130],
  ])("after %s is %i", async (signal, code) => {
    const { served } = serving(planFor([`die:${signal}`, "stay:forever"]));

    expect((await served).exitCode).toBe(code);
  });
});

describe("a served server", () => {
  it("gets the client's lines, and the client gets its lines", async () => {
    const client = serving(planFor(["answer", "stay"]), { clock: new VirtualClock() });

    client.stdin.write(HELLO);

    await until("it answers", () => client.out() === '{"jsonrpc":"2.0","id":1,"result":{}}\n');
    client.stdin.end();
    expect(await client.served).toMatchObject({ exitCode: 0, flushed: true, tornBytes: 0 });
  });

  it("has a stderr that is scrubbed", async () => {
    const client = serving(planFor([`complain:token is ${CANARY}\\n`], { TOKEN: CANARY }));

    await client.served;

    expect(client.err()).toBe("token is [mcp-run:TOKEN]\n");
  });

  it("says on stderr what it says before its first message, scrubbed", async () => {
    const message = '{"jsonrpc":"2.0","method":"hello"}';
    const client = serving(planFor([`say:loading ${CANARY}\\n${message}\\nlate\\n`], { TOKEN: CANARY }));

    await client.served;

    expect(client.err()).toBe("loading [mcp-run:TOKEN]\n");
    expect(client.out()).toBe(`${message}\nlate\n`);
  });

  it("has lines that are no messages passed on, either way, and that is said once, and counted", async () => {
    const message = '{"jsonrpc":"2.0","method":"hello"}';
    const client = serving(planFor([`say:${message}\\nlate\\n\\nlater\\n`, "stay"]), {
      clock: new VirtualClock(),
    });
    client.stdin.end("first\n\nsecond\nthird\n");

    await client.served;

    expect(client.out()).toBe(`${message}\nlate\n\nlater\n`);
    const said = client.events.flatMap((event) => ("message" in event ? [event.message] : []));
    expect(said.toSorted()).toEqual([
      "2 lines from the server were no messages",
      "3 lines from the client were no messages",
      "a line from the client is no message; such lines are passed on as they are",
      "a line from the server is no message; such lines are passed on as they are",
    ]);
  });

  it("loses a last line that it did not finish, and that is said", async () => {
    const message = '{"jsonrpc":"2.0","method":"hello"}';
    const client = serving(planFor([`say:${message}\\n{"half`]));

    expect((await client.served).tornBytes).toBe(6);

    expect(client.out()).toBe(`${message}\n`);
    expect(client.events).toContainEqual({
      type: "warning",
      message: "the server's last line had no end: 6 bytes were dropped",
    });
  });

  it("is spared the last line of a client that did not end it, and that is said", async () => {
    const client = serving(planFor(["answer", "stay"]), { clock: new VirtualClock() });

    client.stdin.end(`${HELLO}{"id":`);

    await client.served;
    expect(client.out()).toBe('{"jsonrpc":"2.0","id":1,"result":{}}\n');
    expect(client.events).toContainEqual({
      type: "warning",
      message: "the client's last line had no end: 6 bytes were dropped",
    });
  });

  it("gets an error in place of a line of the client that is too long", async () => {
    const client = serving(planFor(["answer", "stay"]), { maxLineBytes: 100, clock: new VirtualClock() });

    client.stdin.write(`{"jsonrpc":"2.0","id":9,"method":"${"x".repeat(200)}"}\n`);

    await until("it is answered", () => client.out().includes('"id":9'));
    expect(JSON.parse(client.out())).toMatchObject({ id: 9, error: { code: -32603 } });
    client.stdin.end();
    expect((await client.served).exitCode).toBe(0);
  });

  it("leaves its unanswered requests to the caller when it dies before its first answer", async () => {
    const client = serving(planFor(["stay:forever"]));
    client.stdin.write(HELLO);

    process.kill(await client.pid, "SIGKILL");

    const { hasAnswered, unanswered, exitCode } = await client.served;
    expect(exitCode).toBe(137);
    expect(hasAnswered).toBe(false);
    expect(unanswered).toEqual([{ id: "1", method: "initialize" }]);
  });

  it("leaves to its successor what the client says after its death", async () => {
    const client = serving(planFor(["exit:3"]));
    await client.served;

    client.stdin.write(HELLO);

    expect(client.stdin.read()?.toString()).toBe(HELLO);
  });

  it("is heard to its last byte by a client that reads slowly", async () => {
    const line = JSON.stringify({ jsonrpc: "2.0", method: "x".repeat(1000) });
    const stdout = new PassThrough({ highWaterMark: 1 });
    const client = serving(planFor([`say:${`${line}\\n`.repeat(90)}`]), { stdout: new LineSink(stdout) });
    let bytes = 0;
    const read = setInterval(() => {
      bytes += stdout.read()?.length ?? 0;
    }, 1);

    const { flushed } = await client.served;

    clearInterval(read);
    bytes += stdout.read()?.length ?? 0;
    expect([flushed, bytes]).toEqual([true, 90 * (line.length + 1)]);
  });

  it("that has ended is not waited for by a client that never reads, for more than 5 s", async () => {
    const clock = new VirtualClock();
    const line = JSON.stringify({ jsonrpc: "2.0", method: "x".repeat(1000) });
    const stdout = new LineSink(new PassThrough({ highWaterMark: 1 }));
    const client = serving(planFor([`say:${`${line}\\n`.repeat(90)}`]), { stdout, clock });
    await until("it has ended", () => clock.pending > 0);

    await clock.advance(5000);

    expect(await client.served).toMatchObject({ exitCode: 0, flushed: false });
  });

  it("that has ended is not waited for by a log that nobody reads either", async () => {
    const clock = new VirtualClock();
    const stderr = new PassThrough({ highWaterMark: 1 });
    const client = serving(planFor([`complain:${"x".repeat(90_000)}`]), { stderr, clock });
    await until("it has ended", () => clock.pending > 0);

    await clock.advance(5000);

    expect(await client.served).toMatchObject({ exitCode: 0, flushed: false });
  });
});

describe("stopping a served server", () => {
  it.each(["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"] as const)(
    "by %s runs its own TERM trap",
    async (signal) => {
      const plan = planFor(["trap:SIGTERM=7", "hello", "stay:forever"]);
      const client = await up(plan, { stopGraceMs: LONG_MS });

      client.signal(signal);

      expect((await client.served).exitCode).toBe(7);
      expect(client.err()).toBe("trapped SIGTERM\n");
    },
  );

  it("kills one that ignores TERM after the grace", async () => {
    const clock = new VirtualClock();
    const client = await up(planFor(["ignore:SIGTERM", "hello", "stay:forever"]), { clock });
    client.signal("SIGTERM");
    await clock.advance(1499);
    expect(isAlive(await client.pid)).toBe(true);

    await clock.advance(1);

    expect((await client.served).exitCode).toBe(137);
  });

  it("kills at once when the same signal comes again", async () => {
    const client = await up(planFor(["ignore:SIGTERM", "hello", "stay:forever"]), {
      stopGraceMs: LONG_MS,
    });
    client.signal("SIGINT");
    client.signal("SIGTERM");
    expect(isAlive(await client.pid)).toBe(true);

    client.signal("SIGINT");

    expect((await client.served).exitCode).toBe(137);
  });

  it("ends its stdin when the client's ends, and TERM follows 1.5 s after the last answer", async () => {
    const clock = new VirtualClock();
    const client = await up(planFor(["answer", "hello", "stay:forever"]), { clock });
    client.stdin.write(HELLO);
    await until("it answers", () => client.out().includes("result"));
    client.stdin.end();
    await until("the policy runs", () => clock.pending === 2);
    await clock.advance(1499);
    expect(isAlive(await client.pid)).toBe(true);

    await clock.advance(1);

    expect((await client.served).exitCode).toBe(143);
  });

  it("waits 10 s for an answer that does not come", async () => {
    const clock = new VirtualClock();
    const client = await up(planFor(["hello", "stay:forever"]), { clock });
    client.stdin.end(HELLO);
    await until("the policy runs", () => clock.pending === 1);
    await clock.advance(9999);
    expect(isAlive(await client.pid)).toBe(true);

    await clock.advance(1);

    expect((await client.served).exitCode).toBe(143);
  });

  it("sends TERM when the client reads no more", async () => {
    const stdout = new PassThrough();
    const client = serving(planFor(["hello", "answer", "stay:forever"]), {
      stdout: new LineSink(stdout),
    });
    await client.pid;

    stdout.destroy(Object.assign(new Error("write EPIPE"), { code: "EPIPE" }));

    expect((await client.served).exitCode).toBe(143);
  });

  it("takes the whole group with it", async () => {
    const client = await up(planFor(["spawn:sleep", "stay:forever"]));
    const { helper } = JSON.parse(client.out()).params as { helper: number };

    client.signal("SIGTERM");
    await client.served;

    expect(isAlive(helper)).toBe(false);
  });

  it("sweeps up a helper that a server has left behind", async () => {
    const client = serving(planFor(["spawn:sleep", "exit:4"]));

    expect((await client.served).exitCode).toBe(4);

    const { helper } = JSON.parse(client.out()).params as { helper: number };
    expect(isAlive(helper)).toBe(false);
  });

  it("finds a helper in a session of its own behind a shell, which ignores TERM too", async () => {
    const plan = planFor([]);
    const command = `'${process.execPath}' '${STUBBORN_SERVER}'; exit $?`;
    const client = await up({ ...plan, command: "/bin/sh", args: ["-c", command] }, { stopGraceMs: 100 });
    const { pids } = JSON.parse(client.out()).params as { pids: number[] };

    client.signal("SIGTERM");
    await client.served;

    expect(pids.map(isAlive)).toEqual([false, false]);
  });

  it("releases what the server needed, once everything is gone", async () => {
    const release = vi.fn(async () => expect(isAlive(await client.pid)).toBe(false));
    const client = await up({ ...planFor(["hello", "stay:forever"]), release });

    client.signal("SIGTERM");
    await client.served;

    expect(release).toHaveBeenCalledOnce();
  });
});

describe("a server that never starts", () => {
  it("because a signal came while its secrets were fetched", async () => {
    const { served, signal, pid } = serving(planFor([]), {
      prepare: (aborted) =>
        new Promise((_resolve, reject) => aborted.addEventListener("abort", () => reject(aborted.reason))),
    });
    const started = vi.fn();
    void pid.then(started);

    signal("SIGTERM");

    await expect(served).rejects.toBeInstanceOf(InterruptedError);
    await expect(served).rejects.toMatchObject({ exitCode: 143 });
    expect(started).not.toHaveBeenCalled();
  });

  it("because a signal came just before", async () => {
    const release = vi.fn(async () => undefined);
    const client: Serving = serving(planFor([]), {
      prepare: async () => {
        await Promise.resolve();
        client.signal("SIGINT");
        return { ...planFor(["stay:forever"]), release };
      },
    });

    await expect(client.served).rejects.toMatchObject({ exitCode: 130 });
    expect(release).toHaveBeenCalledOnce();
  });

  it("because there is no such program; then what it needed is released", async () => {
    const release = vi.fn(async () => undefined);
    const { served } = serving({ ...planFor([]), command: "/nonexistent/server", release });

    await expect(served).rejects.toMatchObject({ code: "command-not-found" });
    expect(release).toHaveBeenCalledOnce();
  });
});

/** Serves, and waits until the server has said its first line. */
async function up(...given: Parameters<typeof serving>): Promise<Serving> {
  const client = serving(...given);
  await until("the server is up", () => client.out().includes("\n"));
  return client;
}
