/** Serves a fake server in this process: the client is two PassThrough streams, and signals are calls. */
import { join } from "node:path";
import { PassThrough, type Readable } from "node:stream";
import { afterEach } from "vitest";
import { systemClock } from "../../src/clock.ts";
import type { McpRunEvent } from "../../src/events.ts";
import type { Served, ServeOptions } from "../../src/launch/serving.ts";
import type { LaunchPlan } from "../../src/launch/spawn.ts";
import { serve } from "../../src/launch/supervisor.ts";
import { LineSink } from "../../src/relay/line-sink.ts";
import { NeedleSet } from "../../src/scrub/needle-set.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { killAll } from "./processes.ts";

export const ANY_SERVER = join(import.meta.dirname, "servers/any.mjs");
export const STUBBORN_SERVER = join(import.meta.dirname, "servers/stubborn.mjs");

export interface Serving {
  readonly stdin: PassThrough;
  readonly stdout: PassThrough;
  readonly events: McpRunEvent[];
  /** What has come out so far. */
  readonly out: () => string;
  readonly err: () => string;
  readonly signal: (signal: NodeJS.Signals) => void;
  readonly pid: Promise<number>;
  readonly served: Promise<Served>;
}

const started = new Set<number>();
afterEach(() => {
  killAll(started);
  started.clear();
});

/** A plan that starts test/helpers/servers/any.mjs with these actions. */
export function planFor(actions: readonly string[], secrets: Record<string, string> = {}): LaunchPlan {
  const path = process.env.PATH ?? "";
  return {
    command: process.execPath,
    args: [ANY_SERVER, ...actions],
    cwd: import.meta.dirname,
    env: { PATH: path, ...secrets },
    searchPath: path,
    secretNames: new Set(Object.keys(secrets)),
  };
}

export function serving(plan: LaunchPlan, changes: Partial<ServeOptions> = {}): Serving {
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
  const events: McpRunEvent[] = [];
  const needles = new NeedleSet();
  for (const name of plan.secretNames) needles.add(name, new Secret(plan.env[name] ?? ""));
  let listener: (signal: NodeJS.Signals) => void = () => undefined;
  let tellPid: (pid: number) => void;
  const pid = new Promise<number>((resolve) => {
    tellPid = resolve;
  });
  const served = serve({
    prepare: async () => plan,
    stdin,
    stdout: new LineSink(stdout),
    stderr,
    needles,
    maxLineBytes: 1_048_576,
    stopGraceMs: 1500,
    platform: process.platform,
    uid: process.getuid?.(),
    runFolder: "/nonexistent",
    clock: systemClock,
    emit: (event) => events.push(event),
    onSignal: (given) => {
      listener = given;
      return () => {
        listener = () => undefined;
      };
    },
    ...changes,
    onStarted: (started_, replace) => {
      changes.onStarted?.(started_, replace);
      started.add(started_);
      tellPid(started_);
      return undefined;
    },
  });
  served.catch(() => undefined);
  const [out, err] = changes.stdout ? [() => "", collected(stderr)] : [collected(stdout), collected(stderr)];
  return { stdin, stdout, events, out, err, signal: (signal) => listener(signal), pid, served };
}

export function collected(stream: Readable): () => string {
  const chunks: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  return () => Buffer.concat(chunks).toString();
}
