/** `mcp-run status`: every running supervisor of this user, as it sees itself. */
import { resolve } from "node:path";
import { pause } from "../clock.ts";
import type { SupervisorStatus } from "../control/protocol.ts";
import { askAll } from "../control/supervisors.ts";
import { InterruptedError, McpRunError } from "../errors.ts";
import { LiveScreen } from "../ui/live-screen.ts";
import {
  type SilentSupervisor,
  statusText,
  type UnfinishedRotation,
  unfinishedText,
} from "../ui/status-table.ts";
import { type CommandContext, interruptible } from "./context.ts";
import { controlPlace } from "./control-place.ts";

export interface StatusOptions {
  readonly json?: boolean;
  readonly watch?: boolean;
  /** Only says, by the exit code, whether one serves. */
  readonly check?: boolean;
}

interface Seen {
  readonly supervisors: readonly SupervisorStatus[];
  /** Of whatever profile. */
  readonly silent: readonly SilentSupervisor[];
  readonly unfinished: readonly UnfinishedRotation[];
}

/** Ms that a supervisor may take to answer. */
const PATIENCE_MS = 2_000;
const WATCH_EVERY_MS = 1_000;
/** In these a client gets answers; `running` is a program of `exec`. */
const SERVING_STATES: readonly string[] = ["serving", "swapping", "running"];

/**
 * Returns 0, also when nothing runs or somebody does not answer. Throws McpRunError; with `check` also when no server
 * serves.
 *
 * @param profile the name or the file of a profile; without it all are shown
 */
export async function status(
  context: CommandContext,
  profile: string | undefined,
  { json = false, watch: isWatched = false, check = false }: StatusOptions,
): Promise<number> {
  if (isWatched) {
    refuseToWatch(context, json, check);
    return watch(context, profile);
  }
  const seen = await interruptible(context, (signal) => look(context, profile, signal));
  if (json) context.stdout.write(`${JSON.stringify({ version: 1, ...seen }, null, 2)}\n`);
  else if (!check) context.stdout.write(textOf(context, seen));
  if (check) refuseUnserved(profile, seen);
  return 0;
}

/** What a probe wants to know. Old secrets and failed looks are nothing that a restart mends, and do not count. */
function refuseUnserved(profile: string | undefined, { supervisors, silent }: Seen): void {
  if (supervisors.some(({ state }) => SERVING_STATES.includes(state))) return;
  const states = supervisors.map(({ pid, state }) => `${pid} is ${state}`);
  const unheard = silent.map(({ pid }) => `${pid} does not answer`);
  const found = [...states, ...unheard].join(", ") || "nothing runs";
  throw new McpRunError(
    "backend-unavailable",
    `Cannot find a server${profile ? ` of ${profile}` : ""}: ${found}`,
    {
      hint: "the MCP_RUN_HOME and the user with which mcp-run serves",
    },
  );
}

function refuseToWatch({ stdout }: CommandContext, json: boolean, check: boolean): void {
  if (check)
    throw new McpRunError("usage", "Cannot watch and check: --check looks once", { hint: "one of the two" });
  if (json)
    throw new McpRunError("usage", "Cannot watch as JSON: --watch is for people", { hint: "one of the two" });
  if (!stdout.isTTY)
    throw new McpRunError("usage", "Cannot watch: the output is not a terminal", {
      hint: "--json, again and again",
    });
}

/** Until somebody ends it, which is no failure. */
async function watch(context: CommandContext, profile: string | undefined): Promise<number> {
  const screen = new LiveScreen(context.stdout);
  try {
    return await interruptible(context, async (signal) => {
      for (;;) {
        screen.draw(textOf(context, await look(context, profile, signal)));
        await pause(context.clock, WATCH_EVERY_MS, signal);
      }
    });
  } catch (error) {
    if (error instanceof InterruptedError) return 0;
    throw error;
  } finally {
    screen.close();
  }
}

async function look(
  context: CommandContext,
  profile: string | undefined,
  signal: AbortSignal,
): Promise<Seen> {
  const options = { timeoutMs: PATIENCE_MS, clock: context.clock, signal };
  const heard = await askAll(controlPlace(context), { type: "status" }, options);
  const supervisors: SupervisorStatus[] = [];
  const silent: SilentSupervisor[] = [];
  for (const { endpoint, outcome } of heard) {
    if (outcome.type === "answered") supervisors.push(outcome.answer.status);
    else if (outcome.type === "silent") silent.push({ pid: endpoint.pid, reason: outcome.reason });
    else silent.push({ pid: endpoint.pid, reason: outcome.error.message });
  }
  const file = profile === undefined ? undefined : resolve(context.cwd, profile);
  const isWanted = (one: SupervisorStatus) =>
    profile === undefined || one.profile === profile || one.file === file;
  const unfinished = (await rotationsOf(context)).filter(
    (one) => profile === undefined || one.profile === profile,
  );
  return { supervisors: supervisors.filter(isWanted), silent, unfinished };
}

/** What somebody has begun and nobody has ended. */
async function rotationsOf({ paths, printer }: CommandContext): Promise<readonly UnfinishedRotation[]> {
  const { journalFolder, unfinishedRotations } = await import("../rotation/journal.ts");
  const found = await unfinishedRotations(journalFolder(paths.state), ({ message }) =>
    printer.emit({ type: "warning", message }),
  );
  return found.map(({ plan: { rotation, profile, at, operator, reason } }) => ({
    rotation,
    profile,
    startedAt: at,
    operator,
    reason,
  }));
}

function textOf({ clock }: CommandContext, { supervisors, silent, unfinished }: Seen): string {
  const running = statusText(supervisors, silent, clock.now());
  return unfinished.length === 0 ? running : `${running}\n${unfinishedText(unfinished)}`;
}
