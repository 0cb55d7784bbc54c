/** `mcp-run check --start`: starts the server as a client would, shakes hands, times it, and proves it by its probe. */
import { version } from "../../../package.json";
import { McpRunError } from "../../errors.ts";
import { defaultNames } from "../../launch/environment.ts";
import { type Trial, tryServer } from "../../launch/trial.ts";
import type { Profile } from "../../profile/profile.ts";
import { NeedleSet } from "../../scrub/needle-set.ts";
import type { CommandContext } from "../context.ts";
import { SecretsInUse } from "../start/secrets-in-use.ts";
import { serverLimits, surroundings } from "../start/serving.ts";
import type { CheckedStart, Finding } from "./result.ts";

/** Ms after which the least patient of the known clients gives up on a server that starts. */
const CLIENT_PATIENCE_MS = 30_000;

/**
 * Undefined if it did not come up; then the reason is among `findings`.
 *
 * @param namesRead the variables that its backends have read
 * @param signal aborted by whoever ends mcp-run, which ends the server by itself; rejects with its reason then
 */
export async function tryStart(
  context: CommandContext,
  profile: Profile,
  namesRead: ReadonlySet<string>,
  findings: Finding[],
  signal: AbortSignal,
): Promise<CheckedStart | undefined> {
  const needles = new NeedleSet();
  const reduced = { ...context, env: environmentOfClient(context, profile, namesRead, findings) };
  const startedAt = context.clock.monotonic();
  const inUse = new SecretsInUse({ context: reduced, profile, purpose: "trial" }, needles);
  const trial = await tryServer({
    prepare: async (stopped) => {
      await inUse.fetch(stopped);
      return inUse.start().plan;
    },
    needles,
    probe: profile.probe,
    patienceMs: CLIENT_PATIENCE_MS,
    clientVersion: version,
    ...serverLimits(profile),
    ...surroundings(context),
  }).finally(() => inUse.release());
  // What was ended from outside shows nothing of the server.
  signal.throwIfAborted();
  const { greeting, exitCode, lastLines } = trial;
  if (greeting instanceof McpRunError) {
    const { message, hint, code } = greeting;
    findings.push({
      severity: "error",
      message,
      ...(hint && { hint }),
      code,
      details: lastWords(trial),
    });
    return undefined;
  }
  const { readyAt, probe, toolCount, server, protocolVersion } = greeting;
  if (probe?.wrong) {
    findings.push({
      severity: "error",
      message: `the server came up, but ${probe.wrong}`,
      hint: "calling it by hand, to see whether the key still works and may do that",
      code: "backend-unavailable",
      details: lastLines.length === 0 && exitCode === 0 ? [] : lastWords(trial),
    });
  }
  return {
    server,
    protocolVersion,
    ...(toolCount !== undefined && { toolCount }),
    ms: readyAt - startedAt,
    ...(probe && { probe: { name: probe.name, ok: probe.wrong === undefined } }),
  };
}

function lastWords({ exitCode, lastLines }: Trial): readonly string[] {
  const end = `the server ended with exit code ${exitCode}`;
  if (lastLines.length === 0) return [`${end} and said nothing on stderr`];
  return [`${end}; its last lines on stderr were:`, ...lastLines];
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
