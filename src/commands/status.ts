/** `mcp-run status`: every running supervisor of this user, as it sees itself. */
import { resolve } from "node:path";
import { pause } from "../clock.ts";
import type { SupervisorStatus } from "../control/protocol.ts";
import { askAll } from "../control/supervisors.ts";
import { InterruptedError, McpRunError } from "../errors.ts";
import { journalFolder } from "../rotation/journal/folder.ts";
import { type FleetSeen, fleetText } from "../ui/fleet-table.ts";
import { LiveScreen } from "../ui/live-screen.ts";
import {
  type SilentSupervisor,
  statusText,
  type UnfinishedRotation,
  unfinishedText,
} from "../ui/status-table.ts";
import { type CommandContext, interruptible } from "./context.ts";
import { controlPlace } from "./control-place.ts";
import { mayHaveFleet } from "./fleet/may-have-fleet.ts";
import { profileRequest } from "./profile-request.ts";

export interface StatusOptions {
  readonly json?: boolean;
  readonly watch?: boolean;
  /** Only says, by the exit code, whether one serves. */
  readonly check?: boolean;
  /** Without the other machines of a fleet. */
  readonly local?: boolean;
}

interface Seen {
  readonly supervisors: readonly SupervisorStatus[];
  /** Of whatever profile. */
  readonly silent: readonly SilentSupervisor[];
  readonly unfinished: readonly UnfinishedRotation[];
  /** Only where the profile file has a fleet. */
  readonly fleet?: FleetSeen;
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
  { json = false, watch: isWatched = false, check = false, local = false }: StatusOptions,
): Promise<number> {
  if (isWatched) refuseToWatch(context, json, check);
  const view = local || check ? undefined : await fleetView(context, profile);
  try {
    if (isWatched) return await watch(context, profile, view);
    const seen = await interruptible(context, (signal) => look(context, profile, view, signal));
    return show(context, profile, seen, { json, check });
  } finally {
    await view?.close();
  }
}

interface View {
  look(signal: AbortSignal): Promise<FleetSeen>;
  close(): Promise<void>;
}

/** The profile file in use decides whether there is a fleet; without one nothing of the bus is loaded. */
async function fleetView(context: CommandContext, profile: string | undefined): Promise<View | undefined> {
  if (!mayHaveFleet(context, profile)) return undefined;
  try {
    const { loadFleet } = await import("../profile/load.ts");
    const fleet = await loadFleet(profileRequest(context), profile);
    if (!fleet) return undefined;
    const { FleetView } = await import("./fleet/view.ts");
    return new FleetView(context, fleet, profile);
  } catch (error) {
    // A profile that is known only by its servers has no file here, and no fleet.
    if (error instanceof McpRunError && error.code === "profile-not-found") return undefined;
    if (!(error instanceof McpRunError)) throw error;
    const { message: reason } = error;
    return { look: async () => ({ state: "unseen", reason }), close: async () => undefined };
  }
}

function show(
  context: CommandContext,
  profile: string | undefined,
  seen: Seen,
  { json, check }: { readonly json: boolean; readonly check: boolean },
): number {
  if (json) context.stdout.write(`${JSON.stringify({ version: 1, ...seen }, null, 2)}\n`);
  else if (!check) context.stdout.write(textOf(context, profile, seen));
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
async function watch(
  context: CommandContext,
  profile: string | undefined,
  view: View | undefined,
): Promise<number> {
  const screen = new LiveScreen(context.stdout);
  try {
    return await interruptible(context, async (signal) => {
      for (;;) {
        screen.draw(textOf(context, profile, await look(context, profile, view, signal)));
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
  view: View | undefined,
  signal: AbortSignal,
): Promise<Seen> {
  const options = { timeoutMs: PATIENCE_MS, clock: context.clock, signal };
  const [heard, fleet] = await Promise.all([
    askAll(controlPlace(context), { type: "status" }, options),
    view?.look(signal),
  ]);
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
  return { supervisors: supervisors.filter(isWanted), silent, unfinished, ...(fleet && { fleet }) };
}

/** What somebody has begun and nobody has ended. */
async function rotationsOf({ paths, printer }: CommandContext): Promise<readonly UnfinishedRotation[]> {
  const { unfinishedRotations } = await import("../rotation/journal/journal.ts");
  const { commandOf } = await import("../rotation/journal/journal-line.ts");
  const { isAtWork } = await import("../rotation/journal/journal-lock.ts");
  const folder = journalFolder(paths.state);
  const found = await unfinishedRotations(folder, ({ message }) =>
    printer.emit({ type: "warning", message }),
  );
  return await Promise.all(
    found.map(async ({ plan, plan: { rotation, profile, at, operator, reason } }) => ({
      rotation,
      profile,
      resume: commandOf(plan, "--resume"),
      startedAt: at,
      operator,
      reason,
      isRunning: await isAtWork(folder, rotation),
    })),
  );
}

function textOf(
  { clock }: CommandContext,
  profile: string | undefined,
  { supervisors, silent, unfinished, fleet }: Seen,
): string {
  return [
    statusText(supervisors, silent, clock.now(), profile, fleet !== undefined),
    ...(unfinished.length > 0 ? [unfinishedText(unfinished, clock.now())] : []),
    ...(fleet ? [fleetText(fleet, clock.now())] : []),
  ].join("\n");
}
