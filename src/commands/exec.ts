/** `mcp-run exec PROFILE -- CMD`: any program, once, with the profile's secrets. */
import { execute } from "../launch/execute.ts";
import { NeedleSet } from "../scrub/needle-set.ts";
import { Auditing } from "./audit/auditing.ts";
import type { CommandContext } from "./context.ts";
import { seenWhenItLasts } from "./run/seen-exec.ts";
import { announceStart } from "./start/announce.ts";
import { loadForStart } from "./start/load-for-start.ts";
import { SecretsInUse } from "./start/secrets-in-use.ts";

/** Returns the program's exit code. Throws McpRunError if it could not be started. */
export async function exec(
  context: CommandContext,
  name: string,
  command: readonly string[],
  options: { readonly scrub: boolean },
): Promise<number> {
  const needles = new NeedleSet();
  const auditing = new Auditing(context, "exec", name, needles);
  try {
    const exitCode = await execWith(auditing, needles, context, name, command, options);
    auditing.ended(exitCode);
    return exitCode;
  } catch (error) {
    auditing.failed(error);
    throw error;
  } finally {
    await auditing.close();
  }
}

async function execWith(
  auditing: Auditing,
  needles: NeedleSet,
  context: CommandContext,
  name: string,
  [command = "", ...args]: readonly string[],
  options: { readonly scrub: boolean },
): Promise<number> {
  const { clock, printer, platform } = context;
  const startedAt = clock.monotonic();
  const profile = await loadForStart(context, name);
  const launch = { context, profile, override: { command, args }, purpose: "program" } as const;
  const inUse = new SecretsInUse(launch, needles);
  auditing.follow(profile, inUse);
  let stopBeingSeen: (() => Promise<void>) | undefined;
  // A signal that comes when the program has gone must not keep us from giving leases back.
  context.onSignal(() => undefined);
  const executing = execute({
    prepare: async (signal) => {
      await inUse.fetch(signal);
      const start = inUse.start();
      inUse.runs(start);
      return start.plan;
    },
    onStarted: (pid) => {
      announceStart(context, profile.name, inUse, pid, startedAt);
      stopBeingSeen = seenWhenItLasts({ context, profile, inUse, needles, pid });
    },
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
  const executed = await executing.finally(() => Promise.all([stopBeingSeen?.(), inUse.release()]));
  if (!executed.flushed) context.abandonOutput();
  return executed.exitCode;
}
