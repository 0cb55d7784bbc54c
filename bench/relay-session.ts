/** The middle of the benchmarks of the relay as `run` has it: a supervisor around one server, the watch for 5 secrets on. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AuditLog } from "../src/audit/log.ts";
import { systemClock } from "../src/clock.ts";
import { serve } from "../src/launch/supervisor.ts";
import type { EndedCall } from "../src/relay/calls.ts";
import { LineSink } from "../src/relay/line-sink.ts";
import { NeedleSet } from "../src/scrub/needle-set.ts";
import { scrubText } from "../src/scrub/scrub-stream.ts";
import { Secret } from "../src/secrets/secret.ts";

const MIB = 1_048_576;

const SECRETS: Readonly<Record<string, string>> = {
  GITHUB_TOKEN: "ghp_canary7Xk4vR2mTt7Lp0sQe9WbN3uYz1AfH",
  AWS_SECRET_ACCESS_KEY: "canary/bPxRfiCYEXAMPLEKEY+wJalrXUtnFEMI/K7M",
  DATABASE_URL: "postgres://app:canary-p%40ss!w0rd@db.internal:5432/app?sslmode=require",
  PASSWORD: "canary-Tr0ub4dor&3",
  DEPLOY_KEY: `-----BEGIN PRIVATE KEY-----\n${Array.from({ length: 26 }, (_, line) => keyLine(line)).join("\n")}\n-----END PRIVATE KEY-----\n`,
};

/** As those of most services are: with nothing short among them the watch has less to look at. */
const TOKENS = Object.fromEntries(
  Array.from({ length: 5 }, (_, index) => [
    `TOKEN_${index}`,
    `canary_${keyLine(index).replace(/\W/g, "0").slice(0, 33)}`,
  ]),
);

/** Each call in an audit of its own, as `audit: { calls: metadata }` has it. */
function auditOfCalls(needles: NeedleSet) {
  const folder = mkdtempSync(join(tmpdir(), "mcp-run-bench-audit-"));
  const log = new AuditLog({
    folder: join(folder, "audit"),
    uid: process.getuid?.(),
    host: "bench",
    user: "bench",
    pid: process.pid,
    version: "0",
    clock: systemClock,
    onTrouble: (error) => process.stderr.write(`${error.message}\n`),
  });
  const onCall = ({ tool, ...call }: EndedCall) =>
    log.record({ event: "call", profile: "bench", tool: scrubText(tool, needles), ...call });
  const close = async () => {
    await log.close();
    rmSync(folder, { recursive: true });
  };
  return { onCall, close };
}

/** @param watch `tokens`: for 5 long tokens; `calls`: as `report`, and calls are written down; `off` leaves the watch out. SIGUSR2 has another server take the place of the one that runs. */
export async function relaySession(
  command: string,
  args: readonly string[],
  watch: "report" | "tokens" | "calls" | "off",
) {
  const needles = new NeedleSet();
  for (const [name, value] of Object.entries(watch === "tokens" ? TOKENS : SECRETS))
    needles.add(name, new Secret(value));
  const onLeak = () => {
    throw new Error("there is no secret in what the servers of this benchmark say");
  };
  const audit = watch === "calls" ? auditOfCalls(needles) : undefined;
  const path = process.env.PATH ?? "";
  const plan = { command, args, cwd: process.cwd(), env: { PATH: path }, searchPath: path };
  const prepare = async () => ({ ...plan, secretNames: new Set<string>() });
  await serve({
    prepare,
    onStarted: (_pid, control) => {
      const replace = async () => {
        await control.ready();
        await control.replace(await prepare());
      };
      process.on("SIGUSR2", replace);
      return () => process.off("SIGUSR2", replace);
    },
    swap: { mode: "overlap", drainMs: 10_000 },
    stdin: process.stdin,
    stdout: new LineSink(process.stdout),
    stderr: process.stderr,
    needles,
    maxLineBytes: 64 * MIB,
    stopGraceMs: 1500,
    onCrash: "exit",
    onCall: audit?.onCall,
    leaks: watch === "off" ? undefined : { mode: "report", onLeak },
    platform: process.platform,
    uid: process.getuid?.(),
    runFolder: "/nonexistent",
    clock: systemClock,
    emit: (event) => process.stderr.write(`${JSON.stringify(event)}\n`),
    onSignal: () => () => undefined,
  });
  process.stdin.destroy();
  await audit?.close();
}

/** 64 characters, as a line of a PEM file has them. */
function keyLine(seed: number): string {
  let state = seed + 1;
  const next = () => {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9;
    return (state >>> 8) & 63;
  };
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  return Array.from({ length: 64 }, () => alphabet[next()]).join("");
}
