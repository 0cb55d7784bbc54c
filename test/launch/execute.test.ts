import { spawn } from "node:child_process";
import { once } from "node:events";
import { PassThrough } from "node:stream";
import { describe, expect, it, vi } from "vitest";
import { execute } from "../../src/launch/execute.ts";
import { NeedleSet } from "../../src/scrub/needle-set.ts";
import {
  anyServer,
  type Launcher,
  mourn,
  type Program,
  RUNNER,
  requestFor,
  startLauncher,
} from "../helpers/launcher-process.ts";
import { isAlive, until } from "../helpers/processes.ts";
import { collected } from "../helpers/serving.ts";
import { settle, VirtualClock } from "../helpers/virtual-clock.ts";

const LONG_MS = 600_000;
const FOREVER = "while :; do sleep 0.05; done";
const CANARY = "canary-2b8d6e40";

const exec = (program: Program, changes?: Parameters<typeof requestFor>[2]) =>
  startLauncher(requestFor("exec", program, changes));
const shell = (script: string): Program => ["/bin/sh", "-c", script];

describe("the exit code of exec", () => {
  it.concurrent.each([0, 1, 7, 255])("is the program's: %i", async (code) => {
    expect(await exec(shell(`exit ${code}`)).ended).toEqual([code, null]);
  });

  it.concurrent.each([
    ["TERM", 143],
    ["KILL", 137],
    ["INT", 130],
  ])("after %s is %i", async (signal, code) => {
    expect(await exec(shell(`kill -${signal} $$`)).ended).toEqual([code, null]);
  });
});

describe("what exec passes on", () => {
  it("is our stdin, untouched, to its end", async () => {
    const launcher = exec(["cat"]);

    launcher.process.stdin?.end(Buffer.from([0, 10, 255, 13, 254]));
    const chunks: Buffer[] = [];
    launcher.process.stdout?.on("data", (chunk: Buffer) => chunks.push(chunk));

    expect(await launcher.ended).toEqual([0, null]);
    expect([...Buffer.concat(chunks)]).toEqual([0, 10, 255, 13, 254]);
  });

  it("are both streams, scrubbed", async () => {
    const program = anyServer(`say:out ${CANARY}\\n`, `complain:err ${CANARY}\\n`);
    const launcher = exec(program, { secrets: { TOKEN: CANARY } });

    await launcher.ended;

    expect([launcher.out(), launcher.err()]).toEqual(["out [mcp-run:TOKEN]\n", "err [mcp-run:TOKEN]\n"]);
  });

  it("are both streams themselves where nothing is scrubbed", async () => {
    const launcher = exec(anyServer(`say:${CANARY}`), { secrets: { TOKEN: CANARY }, noScrub: true });

    await launcher.ended;

    expect(launcher.out()).toBe(CANARY);
  });

  it("is a prompt without a newline, at once", async () => {
    const launcher = exec(shell("printf 'Password: '; read answer; echo got $answer"), {
      secrets: { TOKEN: CANARY },
    });

    await until("the prompt is there", () => launcher.out() === "Password: ");
    launcher.process.stdin?.end("yes\n");

    await launcher.ended;
    expect(launcher.out()).toBe("Password: got yes\n");
  });

  it("is a reader that has gone: the program's writes fail, as they would without us", async () => {
    const launcher = exec(["yes"]);
    await until("it writes", () => launcher.out().length > 0);

    launcher.process.stdout?.destroy();

    expect((await launcher.ended)[0]).toBeGreaterThan(0);
  });
});

describe("exec", () => {
  it("prints nothing of its own, even where its parts are told to show command lines", async () => {
    const request = JSON.stringify(requestFor("exec", shell(`: ${CANARY}`)));
    const env = { ...process.env, NODE_DEBUG: "execa" };

    const launcher = spawn(process.execPath, [RUNNER, request], { env, stdio: ["ignore", "pipe", "pipe"] });
    const [out, err] = [collected(launcher.stdout), collected(launcher.stderr)];

    expect(await once(launcher, "close")).toEqual([0, null]);
    expect([out(), err()]).toEqual(["", ""]);
  });

  it("keeps arguments and secrets out of what Node prints when it is told to show processes", async () => {
    const secrets = { TOKEN: `${CANARY}-env` };
    const request = JSON.stringify(requestFor("exec", shell(`: ${CANARY}`), { secrets }));
    const env = { ...process.env, NODE_DEBUG: "child_process" };

    const launcher = spawn(process.execPath, [RUNNER, request], { env, stdio: ["ignore", "pipe", "pipe"] });
    const err = collected(launcher.stderr);

    expect(await once(launcher, "close")).toEqual([0, null]);
    expect(err()).toContain("CHILD_PROCESS");
    expect(err()).not.toContain(CANARY);
  });
});

describe.skipIf(process.platform === "win32")("a signal to exec", () => {
  it.concurrent.each(["INT", "TERM", "HUP", "QUIT"])("is forwarded as it came: %s", async (name) => {
    const launcher = exec(shell(`trap 'echo trapped; exit 9' ${name}; echo ready; ${FOREVER}`));
    await until("it is ready", () => launcher.out() === "ready\n");

    launcher.process.kill(`SIG${name}` as NodeJS.Signals);

    expect(await launcher.ended).toEqual([9, null]);
    expect(launcher.out()).toBe("ready\ntrapped\n");
  });

  it("reaches the whole group", async () => {
    const launcher = exec(shell(`'${anyServer().join("' '")}' trap:SIGTERM=9 hello stay:forever; exit $?`));
    await up(launcher);

    launcher.process.kill("SIGTERM");
    await launcher.ended;

    expect(launcher.err()).toContain("trapped SIGTERM");
  });

  it("is waited for, and a second one kills", async () => {
    const launcher = exec(shell(`trap 'echo interrupted' INT; echo ready; ${FOREVER}`));
    await until("it is ready", () => launcher.out() === "ready\n");
    launcher.process.kill("SIGINT");
    await until("it goes on", () => launcher.out() === "ready\ninterrupted\n");

    launcher.process.kill("SIGTERM");

    expect(await launcher.ended).toEqual([137, null]);
  });

  it("on a terminal is ignored by us if the terminal sends it to the program too", async () => {
    const program = anyServer("trap:SIGINT=9", "trap:SIGQUIT=9", "trap:SIGTERM=5", "hello", "stay:forever");
    const launcher = exec(program, { onTerminal: true });
    await up(launcher);

    launcher.process.kill("SIGINT");
    launcher.process.kill("SIGQUIT");
    launcher.process.kill("SIGTERM");

    expect(await launcher.ended).toEqual([5, null]);
    expect(launcher.err()).toBe("trapped SIGTERM\n");
  });
});

describe.skipIf(process.platform === "win32")("what exec leaves in the background", () => {
  it("lives on, and does not hold us for long by keeping our stdout open", async () => {
    const launcher = exec(shell("sleep 600 & echo $!"));
    const before = performance.now();

    expect(await launcher.ended).toEqual([0, null]);

    const background = Number(launcher.out());
    mourn(background);
    expect(isAlive(background)).toBe(true);
    expect(performance.now() - before).toBeLessThan(60_000);
  });
});

describe("a reader that is slower than the program", () => {
  it("gets every byte, however long it takes", async () => {
    const { stdout, clock, executed } = await endedBefore();
    await clock.advance(LONG_MS);
    const settled = vi.fn();
    void executed.then(settled);
    await settle();
    expect(settled).not.toHaveBeenCalled();

    const text = collected(stdout);

    expect(await executed).toMatchObject({ exitCode: 0, flushed: true });
    expect(text()).toBe("line\n".repeat(1000));
  });

  it("is given up when a signal comes", async () => {
    const { signal, executed } = await endedBefore();

    signal("SIGTERM");

    expect(await executed).toMatchObject({ exitCode: 0, flushed: false });
  });

  /** A program that has written and ended, while nobody reads yet. */
  async function endedBefore() {
    const stdout = new PassThrough({ highWaterMark: 1 });
    const clock = new VirtualClock();
    let signal: (signal: NodeJS.Signals) => void = () => undefined;
    const [command, ...args] = anyServer(`say:${"line\\n".repeat(1000)}`);
    const executed = execute({
      prepare: async () => ({ command, args, cwd: "/", env: {}, searchPath: "", secretNames: new Set() }),
      stdout,
      stderr: new PassThrough(),
      needles: new NeedleSet(),
      noScrub: false,
      onTerminal: false,
      platform: process.platform,
      clock,
      emit: () => undefined,
      onSignal: (listener) => {
        signal = listener;
        return () => undefined;
      },
    });
    await until("the program has ended", () => clock.pending > 0);
    return { stdout, clock, executed, signal };
  }
});

describe.runIf(process.platform === "linux")("exec on a terminal", () => {
  it("leaves the terminal to the program: same group, and ^C reaches it once", async () => {
    const report = `
      let interrupts = 0;
      process.on("SIGINT", () => { console.log("interrupted", ++interrupts); if (interrupts === 1) setTimeout(() => process.exit(4), 300); });
      console.log("tty", process.stdin.isTTY, "ready");
      setInterval(() => {}, 1000);
    `;
    const request = requestFor("exec", [process.execPath, "-e", report], { onTerminal: true });
    const terminal = inTerminal(request);
    await until("it is ready", () => terminal.screen().includes("ready"));

    terminal.type("\x03");

    expect(await terminal.ended).toBe(4);
    expect(terminal.screen()).toContain("tty true ready");
    expect(terminal.screen().match(/interrupted \d/g)).toEqual(["interrupted 1"]);
  });
});

/** Runs the launcher on a pseudo-terminal of its own, with `script` of util-linux. */
function inTerminal(request: ReturnType<typeof requestFor>) {
  const command = `exec '${process.execPath}' '${RUNNER}' "$REQUEST"`;
  const env = { ...process.env, REQUEST: JSON.stringify(request), SHELL: "/bin/sh" };
  const script = spawn("script", ["-qefc", command, "/dev/null"], {
    env,
    stdio: ["pipe", "pipe", "inherit"],
  });
  mourn(script.pid as number);
  let screen = "";
  script.stdout.on("data", (chunk: Buffer) => {
    screen += chunk.toString();
  });
  return {
    type: (keys: string) => script.stdin.write(keys),
    screen: () => screen,
    ended: once(script, "close").then(([code]) => code as number),
  };
}

async function up(launcher: Launcher): Promise<void> {
  await until("the program is up", () => launcher.out().includes("\n"));
  const { params } = JSON.parse(launcher.out()) as { params: { pid: number } };
  mourn(params.pid);
}
