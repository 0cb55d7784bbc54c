/** `mcp-run PROFILE`: the command of an MCP client. */
import { exitCodeFor, InterruptedError } from "../errors.ts";
import type { Served, ServeOptions } from "../launch/serving.ts";
import { serve } from "../launch/supervisor.ts";
import type { Profile } from "../profile/profile.ts";
import { errorResponse } from "../relay/error-response.ts";
import { answerFailedStart } from "../relay/failed-start.ts";
import { LineSink } from "../relay/line-sink.ts";
import { NeedleSet } from "../scrub/needle-set.ts";
import { scrubText } from "../scrub/scrub-stream.ts";
import { describeError } from "../ui/printer.ts";
import { Auditing } from "./audit/auditing.ts";
import type { CommandContext } from "./context.ts";
import { beSeen } from "./run/be-seen.ts";
import type { OpenControl } from "./run/control.ts";
import { leakPolicy } from "./run/leak-policy.ts";
import { Refreshing } from "./run/refreshing.ts";
import { type ServiceNotice, serviceNotice } from "./run/service-notice.ts";
import { announceStart } from "./start/announce.ts";
import type { Program } from "./start/launch-plan.ts";
import { loadForStart } from "./start/load-for-start.ts";
import { SecretsInUse, type Start } from "./start/secrets-in-use.ts";
import { serverLimits, surroundings } from "./start/serving.ts";

/**
 * Returns the exit code; a failure is printed, and told to the client.
 *
 * @param override what stands after `--`: another server, with the same profile around it
 */
export async function run(
  context: CommandContext,
  name: string,
  override: readonly string[],
): Promise<number> {
  const { clock, printer } = context;
  const startedAt = clock.monotonic();
  const stdout = new LineSink(context.stdout);
  const needles = new NeedleSet();
  const auditing = new Auditing(context, "run", name, needles);
  let inUse: SecretsInUse | undefined;
  const asked = new AbortController();
  try {
    // Clients send several. What ends us is the server's end, or what the client is told of a start that failed; after
    // that one must not keep us from giving leases back. While the profile is read, a signal ends us as it ends anybody.
    const profile = await loadForStart(context, name).finally(() => context.onSignal(() => asked.abort()));
    inUse = new SecretsInUse({ context, profile, override: programOf(override), purpose: "server" }, needles);
    auditing.follow(profile, inUse);
    const served = await serveProfile(context, profile, inUse, stdout, needles, startedAt, auditing);
    auditing.ended(served.exitCode);
    if (!served.hasAnswered) await explainSilence(context, name, served, stdout, asked.signal);
    if (!served.flushed) context.abandonOutput();
    return served.exitCode;
  } catch (error) {
    auditing.failed(error);
    printer.printError(error);
    if (!(error instanceof InterruptedError) && !context.stdin.isTTY) {
      const reason = scrubText(describeError(error).join(" "), needles);
      await answerFailedStart(context.stdin, stdout, reason, { clock, signal: asked.signal });
    }
    return exitCodeFor(error);
  } finally {
    // An open stdin would keep us alive for as long as the client.
    context.stdin.destroy();
    await inUse?.release();
    await auditing.close();
  }
}

/** A server that died before its first answer: the client is told why, also one that had not asked yet. */
async function explainSilence(
  { stdin, clock }: CommandContext,
  name: string,
  served: Served,
  stdout: LineSink,
  signal: AbortSignal,
): Promise<void> {
  const reason = `Cannot serve ${name}: the server ended with exit code ${served.exitCode} before it answered`;
  stdout.write(served.unanswered.map(({ id }) => errorResponse(id, reason)));
  if (served.unanswered.length > 0 || !served.endedByItself || stdin.isTTY) return;
  await answerFailedStart(stdin, stdout, reason, { clock, signal });
}

async function serveProfile(
  context: CommandContext,
  profile: Profile,
  inUse: SecretsInUse,
  stdout: LineSink,
  needles: NeedleSet,
  startedAt: number,
  auditing: Auditing,
): Promise<Served> {
  const { clock, printer } = context;
  const refreshing = new Refreshing(context, profile, inUse);
  const tally = { restarts: 0, leaks: 0 };
  const since = clock.now();
  let watched: Promise<OpenControl | undefined> | undefined;
  let notice: ServiceNotice | undefined;
  let latest: Start | undefined;
  try {
    return await serve({
      prepare: async (signal, reason) => {
        // That a server died is mostly not the fault of its secrets, and those in use are kept fresh by somebody else.
        if (reason === "first") await inUse.fetch(signal);
        if (reason === "retry") await refreshing.catchUp(signal);
        latest = inUse.start();
        return latest.plan;
      },
      onStarted: (pid, control) => {
        if (latest) inUse.runs(latest);
        auditing.serves(control);
        announceStart(context, profile.name, inUse, pid, startedAt);
        refreshing.runs(pid, 1);
        void refreshing.begin(control);
        const supervised = { context, profile, inUse, refreshing, needles, tally, control };
        watched = beSeen({ ...supervised, startedAt: since });
        notice = serviceNotice(supervised);
        notice.runs();
        return () => {
          void refreshing.stop();
          void watched?.then((seen) => seen?.stop());
          notice?.stopping();
        };
      },
      onReplaced: (pid, generation, reason) => {
        // Before anybody is told, who may want to know what it has.
        if (reason === "restarted" && latest) inUse.runs(latest);
        refreshing.runs(pid, generation);
        notice?.runs();
        if (reason === "replaced") return;
        tally.restarts++;
        printer.emit({ type: "restarted", profile: profile.name, generation, pid });
      },
      stdin: context.stdin,
      stdout,
      stderr: context.stderr,
      needles,
      onCall: auditing.onCall,
      leaks: leakPolicy(profile, printer.emit, () => tally.leaks++),
      ...changesOf(profile),
      ...serverLimits(profile),
      ...surroundings(context),
    });
  } finally {
    await refreshing.stop();
    await (await watched)?.close();
    await notice?.close();
  }
}

/** How one server takes the place of another. */
function changesOf({ refresh, probe, onCrash }: Profile): Pick<ServeOptions, "swap" | "probe" | "onCrash"> {
  const { restart, drainMs } = refresh;
  return { onCrash, probe, ...(restart !== "never" && { swap: { mode: restart, drainMs } }) };
}

function programOf([command, ...args]: readonly string[]): Program | undefined {
  return command === undefined ? undefined : { command, args };
}
