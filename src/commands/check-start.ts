/** `mcp-run check --start`: starts the server as a client would, shakes hands, times it, and proves it by its probe. */
import { PassThrough } from "node:stream";
import { version } from "../../package.json";
import { McpRunError } from "../errors.ts";
import { defaultNames } from "../launch/environment.ts";
import { serve } from "../launch/supervisor.ts";
import type { Profile } from "../profile/profile.ts";
import { shakeHands } from "../relay/handshake.ts";
import { LineSink } from "../relay/line-sink.ts";
import { NeedleSet } from "../scrub/needle-set.ts";
import { scrubText } from "../scrub/scrub-stream.ts";
import type { CheckedStart, Finding } from "./check-result.ts";
import type { CommandContext } from "./context.ts";
import { SecretsInUse } from "./secrets-in-use.ts";
import { serverLimits, surroundings } from "./serving.ts";

/** Ms after which the least patient of the known clients gives up on a server that starts. */
const CLIENT_PATIENCE_MS = 30_000;
const LAST_LINES = 5;

/**
 * Undefined if it did not come up; then the reason is among `findings`.
 *
 * @param namesRead the variables that its backends have read
 */
export async function tryStart(
  context: CommandContext,
  profile: Profile,
  namesRead: ReadonlySet<string>,
  findings: Finding[],
): Promise<CheckedStart | undefined> {
  const { clock } = context;
  const needles = new NeedleSet();
  const [toServer, fromServer, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
  let chatter = "";
  stderr.setEncoding("utf8").on("data", (chunk: string) => {
    chatter = (chatter + chunk).slice(-4096);
  });
  const reduced = { ...context, env: environmentOfClient(context, profile, namesRead, findings) };
  const startedAt = clock.monotonic();
  const inUse = new SecretsInUse({ context: reduced, profile, purpose: "trial" }, needles);
  const served = serve({
    prepare: async (signal) => {
      await inUse.fetch(signal);
      return inUse.start().plan;
    },
    stdin: toServer,
    stdout: new LineSink(fromServer),
    stderr,
    needles,
    ...serverLimits(profile),
    ...surroundings(context),
  }).finally(() => fromServer.end());
  // Listened to from the start: it may fail before the handshake does.
  const ending = Promise.allSettled([served]);

  const greeting = shakeHands(toServer, fromServer, {
    clock,
    timeoutMs: CLIENT_PATIENCE_MS,
    clientVersion: version,
    probe: profile.probe,
  });
  const [greeted] = await Promise.allSettled([greeting]);
  toServer.end();
  const [ended] = await ending;
  await inUse.release();
  if (ended.status === "rejected") throw ended.reason;
  // What a server says of itself may hold what it was given.
  const hidden = (text: string) => scrubText(text, needles);
  if (greeted.status === "fulfilled") {
    const { readyAt, probe, toolCount, ...hello } = greeted.value;
    const { exitCode } = ended.value;
    if (probe?.wrong) {
      findings.push({
        severity: "error",
        message: `the server came up, but ${hidden(probe.wrong)}`,
        hint: "calling it by hand, to see whether the key still works and may do that",
        code: "backend-unavailable",
        details: chatter === "" && exitCode === 0 ? [] : lastWords(chatter, exitCode),
      });
    }
    return {
      server: hidden(hello.server),
      protocolVersion: hidden(hello.protocolVersion),
      ...(toolCount !== undefined && { toolCount }),
      ms: readyAt - startedAt,
      ...(probe && { probe: { name: probe.name, ok: probe.wrong === undefined } }),
    };
  }
  const error = greeted.reason;
  if (!(error instanceof McpRunError)) throw error;
  findings.push({
    severity: "error",
    message: hidden(error.message),
    ...(error.hint && { hint: error.hint }),
    code: error.code,
    details: lastWords(chatter, ended.value.exitCode),
  });
  return undefined;
}

function lastWords(chatter: string, exitCode: number): readonly string[] {
  const end = `the server ended with exit code ${exitCode}`;
  if (chatter === "") return [`${end} and said nothing on stderr`];
  return [`${end}; its last lines on stderr were:`, ...chatter.trimEnd().split("\n").slice(-LAST_LINES)];
}

/** What an MCP client hands on by itself, our own settings, and what its config has to set for this profile. */
function environmentOfClient(
  { env, platform }: CommandContext,
  profile: Profile,
  namesRead: ReadonlySet<string>,
  findings: Finding[],
): Record<string, string | undefined> {
  const usual = new Set(defaultNames(platform));
  const isOurs = (name: string) => name.startsWith("MCP_RUN_");
  const wanted = new Set([...profile.variablesUsed, ...namesRead]);
  const missing = [...wanted].filter((name) => env[name] !== undefined && !usual.has(name) && !isOurs(name));
  if (missing.length > 0) {
    findings.push({
      severity: "warning",
      message: `the profile reads ${missing.join(", ")} from the environment, which most clients do not hand on`,
      hint: "`env:` in the client's entry for this server",
    });
  }
  const kept = Object.entries(env).filter(([name]) => usual.has(name) || wanted.has(name) || isOurs(name));
  return Object.fromEntries(kept);
}
