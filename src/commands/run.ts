/** `mcp-run PROFILE`: the command of an MCP client. */
import { exitCodeFor, InterruptedError } from "../errors.ts";
import type { Served } from "../launch/serving.ts";
import { serve } from "../launch/supervisor.ts";
import { errorResponse } from "../relay/error-response.ts";
import { answerFailedStart } from "../relay/failed-start.ts";
import { LineSink } from "../relay/line-sink.ts";
import { NeedleSet } from "../scrub/needle-set.ts";
import { scrubText } from "../scrub/scrub-stream.ts";
import type { Held } from "../secrets/held.ts";
import { describeError } from "../ui/printer.ts";
import type { CommandContext } from "./context.ts";
import { loadForStart } from "./load-for-start.ts";
import { announceStart, type Prepared, type Program, prepare } from "./prepare.ts";
import { serverLimits, surroundings } from "./serving.ts";

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
  const stdout = new LineSink(context.stdout);
  const needles = new NeedleSet();
  let held: Held | undefined;
  const hold = (what: Held) => {
    held = what;
  };
  try {
    const served = await serveProfile(context, name, programOf(override), stdout, needles, hold);
    if (!served.hasAnswered) await explainSilence(context, name, served, stdout);
    if (!served.flushed) context.abandonOutput();
    return served.exitCode;
  } catch (error) {
    printer.printError(error);
    if (!(error instanceof InterruptedError) && !context.stdin.isTTY) {
      const reason = scrubText(describeError(error).join(" "), needles);
      await answerFailedStart(context.stdin, stdout, reason, { clock });
    }
    return exitCodeFor(error);
  } finally {
    // An open stdin would keep us alive for as long as the client.
    context.stdin.destroy();
    await held?.release();
  }
}

/** A server that died before its first answer: the client is told why, also one that had not asked yet. */
async function explainSilence(
  { stdin, clock }: CommandContext,
  name: string,
  served: Served,
  stdout: LineSink,
): Promise<void> {
  const reason = `Cannot serve ${name}: the server ended with exit code ${served.exitCode} before it answered`;
  stdout.write(served.unanswered.map(({ id }) => errorResponse(id, reason)));
  if (served.unanswered.length > 0 || !served.endedByItself || stdin.isTTY) return;
  await answerFailedStart(stdin, stdout, reason, { clock });
}

async function serveProfile(
  context: CommandContext,
  name: string,
  override: Program | undefined,
  stdout: LineSink,
  needles: NeedleSet,
  hold: (held: Held) => void,
): Promise<Served> {
  const startedAt = context.clock.monotonic();
  const profile = await loadForStart(context, name);
  let prepared: Prepared | undefined;
  return serve({
    prepare: async (signal) => {
      prepared = await prepare(context, profile, override, "server", needles, signal);
      hold(prepared.held);
      return prepared.plan;
    },
    onStarted: (pid) => {
      announceStart(context, profile, prepared, pid, startedAt);
      return undefined;
    },
    stdin: context.stdin,
    stdout,
    stderr: context.stderr,
    needles,
    ...serverLimits(profile),
    ...surroundings(context),
  });
}

function programOf([command, ...args]: readonly string[]): Program | undefined {
  return command === undefined ? undefined : { command, args };
}
