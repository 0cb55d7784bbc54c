/** What the parts of the command tree share. */
import type { Command } from "commander";
import type { CommandContext } from "./context.ts";

/** What a parsed command line does; returns the exit code. */
export type Action = (context: CommandContext) => Promise<number>;

/** Turns `start`, which gets what commander parsed, into an action for commander. */
export type Does = <Args extends unknown[]>(
  start: (...args: Args) => Action,
) => (...args: [...Args, Command]) => Promise<void>;

/** The part of a help text below the options. */
export function examples(lines: readonly string[]): string {
  return `\nExamples:\n${lines.map((line) => `  ${line}`).join("\n")}`;
}
