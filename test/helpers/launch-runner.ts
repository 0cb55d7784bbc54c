/**
 * A launcher in a process of its own, for tests that kill it, give it a terminal or close its streams. What
 * the composition root does, without a profile: argv[2] is a RunnerRequest as JSON.
 */
import { type Clock, systemClock } from "../../src/clock.ts";
import { execute } from "../../src/launch/execute.ts";
import type { LaunchPlan } from "../../src/launch/spawn.ts";
import { serve } from "../../src/launch/supervisor.ts";
import { LineSink } from "../../src/relay/line-sink.ts";
import { NeedleSet } from "../../src/scrub/needle-set.ts";
import { Secret } from "../../src/secrets/secret.ts";

export interface RunnerRequest {
  readonly mode: "serve" | "exec";
  readonly plan: Omit<LaunchPlan, "secretNames" | "release">;
  readonly secretNames: readonly string[];
  readonly noScrub?: boolean;
  readonly onTerminal?: boolean;
  /** How many times as long as it would it waits for anything. */
  readonly patience?: number;
}

const request = JSON.parse(process.argv[2] as string) as RunnerRequest;
const needles = new NeedleSet();
for (const name of request.secretNames) needles.add(name, new Secret(request.plan.env[name] ?? ""));

const { patience = 1 } = request;
const clock: Clock = {
  ...systemClock,
  after: (ms, callback, options) => systemClock.after(ms * patience, callback, options),
};

const common = {
  prepare: async () => ({ ...request.plan, secretNames: new Set(request.secretNames) }),
  stderr: process.stderr,
  needles,
  platform: process.platform,
  clock,
  emit: (event: object) => process.stderr.write(`${JSON.stringify(event)}\n`),
  onSignal: (listener: (signal: NodeJS.Signals) => void) => {
    const signals = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const;
    for (const signal of signals) process.on(signal, listener);
    return () => {
      for (const signal of signals) process.off(signal, listener);
    };
  },
};

async function run(): Promise<number> {
  if (request.mode === "exec") {
    const { noScrub = false, onTerminal = false } = request;
    const executed = await execute({ ...common, stdout: process.stdout, noScrub, onTerminal });
    return executed.exitCode;
  }
  const served = await serve({
    ...common,
    stdin: process.stdin,
    stdout: new LineSink(process.stdout),
    maxLineBytes: 1_048_576,
    stopGraceMs: 1500,
    uid: process.getuid?.(),
    runFolder: "/nonexistent",
  });
  process.stdin.destroy();
  return served.exitCode;
}

run().then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 99;
  },
);
