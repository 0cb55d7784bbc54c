/** `mcp-run exec PROFILE -- CMD`: any program, once, with the profile's secrets. */
import { execute } from "../launch/execute.ts";
import { NeedleSet } from "../scrub/needle-set.ts";
import type { CommandContext } from "./context.ts";
import { loadForStart } from "./load-for-start.ts";
import { announceStart, type Prepared, prepare } from "./prepare.ts";

/** Returns the program's exit code. Throws McpRunError if it could not be started. */
export async function exec(
  context: CommandContext,
  name: string,
  [command = "", ...args]: readonly string[],
  options: { readonly scrub: boolean },
): Promise<number> {
  const { clock, printer, platform } = context;
  const startedAt = clock.monotonic();
  const profile = await loadForStart(context, name);
  const needles = new NeedleSet();
  let prepared: Prepared | undefined;
  const executing = execute({
    prepare: async (signal) => {
      prepared = await prepare(context, profile, { command, args }, "program", needles, signal);
      return prepared.plan;
    },
    onStarted: (pid) => announceStart(context, profile, prepared, pid, startedAt),
    get stdout() {
      return context.stdout;
    },
    stderr: context.stderr,
    needles,
    noScrub: !options.scrub,
    onTerminal: context.onTerminal,
    platform,
    clock,
    emit: printer.emit,
    onSignal: context.onSignal,
  });
  const executed = await executing.finally(() => prepared?.held.release());
  if (!executed.flushed) context.abandonOutput();
  return executed.exitCode;
}
