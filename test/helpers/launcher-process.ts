/** Starts the launch-runner, bundled once for each test file, as a process that a test may treat badly. */
import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rolldown } from "rolldown";
import { afterAll, beforeAll } from "vitest";
import type { RunnerRequest } from "./launch-runner.ts";
import { killAll } from "./processes.ts";
import { ANY_SERVER } from "./serving.ts";

const folder = mkdtempSync(join(tmpdir(), "mcp-run-runner-"));
export const RUNNER = join(folder, "runner.cjs");
const started = new Set<number>();

beforeAll(async () => {
  const input = join(import.meta.dirname, "launch-runner.ts");
  const bundle = await rolldown({ input, platform: "node", external: [/^node:/], logLevel: "silent" });
  await bundle.write({ file: RUNNER, format: "cjs" });
});
// Not after each test: they may run side by side.
afterAll(() => {
  killAll(started);
  rmSync(folder, { recursive: true });
});

/** Has these processes killed at the end of the file, if they still live. */
export function mourn(...pids: number[]): void {
  for (const pid of pids) started.add(pid);
}

export type Program = readonly [command: string, ...args: string[]];

/** The command line that starts test/helpers/servers/any.mjs with these actions. */
export function anyServer(...actions: string[]): Program {
  return [process.execPath, ANY_SERVER, ...actions];
}

export function requestFor(
  mode: RunnerRequest["mode"],
  [command, ...args]: Program,
  changes: Partial<RunnerRequest> & { readonly secrets?: Record<string, string> } = {},
): RunnerRequest {
  const { secrets = {}, ...rest } = changes;
  const path = process.env.PATH ?? "";
  const env = { PATH: path, ...secrets };
  const plan = { command, args, cwd: folder, env, searchPath: path };
  return { mode, plan, secretNames: Object.keys(secrets), ...rest };
}

export interface Launcher {
  readonly process: ChildProcess;
  readonly pid: number;
  readonly out: () => string;
  readonly err: () => string;
  /** [exit code, signal], once its streams have ended too. */
  readonly ended: Promise<[number | null, NodeJS.Signals | null]>;
}

export function startLauncher(
  request: RunnerRequest,
  stdio: StdioOptions = ["pipe", "pipe", "pipe"],
): Launcher {
  const child = spawn(process.execPath, [RUNNER, JSON.stringify(request)], { stdio });
  const texts = [child.stdout, child.stderr].map((stream) => {
    const chunks: Buffer[] = [];
    stream?.on("data", (chunk: Buffer) => chunks.push(chunk));
    return () => Buffer.concat(chunks).toString();
  });
  const ended = once(child, "close") as Launcher["ended"];
  const pid = child.pid as number;
  started.add(pid);
  return { process: child, pid, out: texts[0] as () => string, err: texts[1] as () => string, ended };
}
