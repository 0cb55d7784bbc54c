/**
 * Serves a client in this process and says what it takes of the heap, for a process of its own under --expose-gc:
 * `rotations FIRST LAST` has one server take the place of another, each with a new secret, and measures after FIRST
 * and after LAST changes; `in-flight COUNT` measures before, while and after so many requests wait for answers.
 * Prints one line of JSON, bytes after garbage was collected.
 */
import { PassThrough } from "node:stream";
import { systemClock } from "../../src/clock.ts";
import type { ServerControl } from "../../src/launch/serving.ts";
import type { LaunchPlan } from "../../src/launch/spawn.ts";
import { serve } from "../../src/launch/supervisor.ts";
import { LineSink } from "../../src/relay/line-sink.ts";
import { NeedleSet } from "../../src/scrub/needle-set.ts";
import { Secret } from "../../src/secrets/secret.ts";

export interface Memory {
  readonly heapUsed: number;
  /** Bytes of buffers, outside of the heap. */
  readonly buffers: number;
}

/**
 * Answers every request at once, but for those with a `wait` in them: they are answered when a notification `go`
 * comes, for ids from 1000000 up to what it says. Starts in two milliseconds.
 */
const SERVER = `
answer() { printf '{"jsonrpc":"2.0","id":%s,"result":%s}\\n' "$1" "$2"; }
while IFS= read -r line; do
  id=\${line#*'"id":'}; id=\${id%%,*}
  case $line in
    *'"method":"initialize"'*)
      answer "$id" '{"protocolVersion":"2025-11-25","capabilities":{"resources":{"subscribe":true}},"serverInfo":{"name":"sh","version":"1"}}' ;;
    *'"method":"resources/list"'*) answer "$id" '{"resources":[]}' ;;
    *'"method":"go"'*)
      last=\${line#*'"last":'}; last=\${last%%\\}*}; at=1000000
      while [ $at -le $last ]; do answer $at '{}'; at=$((at + 1)); done ;;
    *'"wait"'*) ;;
    *'"id":'*) answer "$id" '{}' ;;
  esac
done`;
const FIRST_WAITING = 1_000_000;

declare const gc: () => void;

class Client {
  readonly stdin = new PassThrough();
  readonly stdout = new PassThrough();
  #id = 0;
  #rest = "";
  /** How many answers are still to come, and who is told then. */
  #missing = 0;
  #complete: () => void = () => undefined;

  constructor() {
    this.stdout.on("data", (chunk: Buffer) => {
      const lines = (this.#rest + chunk.toString()).split("\n");
      this.#rest = lines.pop() ?? "";
      for (const line of lines) if (line.includes('"result"')) this.#missing--;
      if (this.#missing === 0) this.#complete();
    });
  }

  async ask(method: string, params: object): Promise<void> {
    const answered = this.expect(1);
    this.say({ id: ++this.#id, method, params });
    await answered;
  }

  say(message: object): void {
    this.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
  }

  expect(answers: number): Promise<void> {
    this.#missing = answers;
    return new Promise((resolve) => {
      this.#complete = resolve;
    });
  }
}

const needles = new NeedleSet();
let versions = 0;

function plan(): LaunchPlan {
  const token = `canary-${++versions}-Xk4vR2mTt7Lp0sQe9WbN3uYz1AfH`;
  const kept = needles.keep("TOKEN", new Secret(token));
  return {
    command: "/bin/sh",
    args: ["-c", SERVER],
    cwd: "/",
    env: { TOKEN: token },
    searchPath: "/bin",
    secretNames: new Set(["TOKEN"]),
    release: async () => kept.release(),
  };
}

function start(client: Client): { control: Promise<ServerControl>; served: Promise<unknown> } {
  let give: (control: ServerControl) => void;
  const control = new Promise<ServerControl>((resolve) => {
    give = resolve;
  });
  const stderr = new PassThrough().resume();
  const served = serve({
    prepare: async () => plan(),
    stdin: client.stdin,
    stdout: new LineSink(client.stdout),
    stderr,
    needles,
    maxLineBytes: 1_048_576,
    stopGraceMs: 1500,
    swap: { mode: "overlap", drainMs: 5000 },
    onCrash: "exit",
    leaks: { mode: "report", onLeak: () => undefined },
    platform: process.platform,
    uid: process.getuid?.(),
    runFolder: "/nonexistent",
    clock: systemClock,
    emit: (event) => process.stderr.write(`${JSON.stringify(event)}\n`),
    onSignal: () => () => undefined,
    onStarted: (_pid, control) => {
      give(control);
      return undefined;
    },
  });
  return { control, served };
}

async function measure(): Promise<Memory> {
  for (let round = 0; round < 5; round++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    gc();
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return { heapUsed, buffers: arrayBuffers };
}

async function rotations(client: Client, control: ServerControl, first: number, last: number) {
  let afterFirst: Memory | undefined;
  for (let count = 1; count <= last; count++) {
    await client.ask("resources/subscribe", { uri: "file:///always" });
    await client.ask("resources/subscribe", { uri: `file:///${count}` });
    await control.ready();
    await control.replace(plan());
    await client.ask("resources/unsubscribe", { uri: `file:///${count}` });
    if (count === first) afterFirst = await measure();
  }
  await control.ready();
  return { afterFirst, afterLast: await measure() };
}

async function inFlight(client: Client, count: number) {
  const wave = async () => {
    const answered = client.expect(count);
    for (let index = 0; index < count; index++) {
      client.say({ id: FIRST_WAITING + index, method: "tools/call", params: { name: "wait" } });
    }
    while (client.stdin.readableLength > 0) await new Promise(setImmediate);
    const waiting = await measure();
    client.say({ method: "go", params: { last: FIRST_WAITING + count - 1 } });
    await answered;
    return waiting;
  };
  await wave(); // what is compiled and grown once is not to be counted
  const before = await measure();
  const waiting = await wave();
  return { before, waiting, after: await measure() };
}

const [mode, ...numbers] = process.argv.slice(2);
const client = new Client();
const { control, served } = start(client);
await client.ask("initialize", {
  protocolVersion: "2025-11-25",
  capabilities: {},
  clientInfo: { name: "memory", version: "1" },
});
client.say({ method: "notifications/initialized" });
const [one = 1, two = 1] = numbers.map(Number);
const startedAt = performance.now();
const said =
  mode === "rotations" ? await rotations(client, await control, one, two) : await inFlight(client, one);
const seconds = (performance.now() - startedAt) / 1000;
client.stdin.end();
await served;
process.stdout.write(`${JSON.stringify({ ...said, seconds })}\n`);
