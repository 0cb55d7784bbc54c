/**
 * The one place that turns events and errors into lines on stderr: `mcp-run: ` in front, scrubbed,
 * control characters escaped; or one JSON object a line for machines.
 */
import { McpRunError } from "../errors.ts";
import { escapeControl } from "../escape.ts";
import type { Emit, McpRunEvent } from "../events.ts";

export const LOG_LEVELS = ["error", "warn", "info", "debug"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export const LOG_FORMATS = ["text", "json"] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

export interface Printer {
  readonly emit: Emit;
  /** Prints any thrown value as a user should see it; a stack only at level debug. */
  printError(error: unknown): void;
  /** From now on every line goes through `scrub` first. */
  scrubWith(scrub: (text: string) => string): void;
}

export interface PrinterOptions {
  write(text: string): void;
  readonly level: LogLevel;
  readonly format: LogFormat;
}

/** Prints what is at least as severe as `level`; each line or object is one call of `write`. */
export function createPrinter({ write, level, format }: PrinterOptions): Printer {
  let scrub = (text: string) => text;
  const isShown = (wanted: LogLevel) => LOG_LEVELS.indexOf(wanted) <= LOG_LEVELS.indexOf(level);
  const print = (severity: LogLevel, lines: readonly string[], fields: object) => {
    if (!isShown(severity)) return;
    const text =
      format === "json"
        ? JSON.stringify({ level: severity, ...fields })
        : // Before it is escaped, since nobody would recognize it afterwards, and as a whole below.
          `mcp-run: ${lines.map((line) => escapeControl(scrub(line))).join("\n  ")}`;
    write(`${scrub(text)}\n`);
  };

  return {
    emit: (event) => print(severityOf(event), [describe(event)], event),
    printError(error) {
      const lines = describeError(error);
      const code = error instanceof McpRunError ? error.code : "internal";
      print("error", lines, { type: "error", code, message: lines.join("\n") });
      const stack = error instanceof Error ? error.stack?.split("\n") : undefined;
      if (stack) print("debug", stack, { type: "stack", stack });
    },
    scrubWith(next) {
      scrub = next;
    },
  };
}

/** «Cannot …: reason. Try ….», and the details, a line each. */
export function describeError(error: unknown): readonly string[] {
  if (!(error instanceof McpRunError)) {
    const what = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    return [
      `Cannot go on: ${what}. This is a bug in mcp-run. Try --log-level debug, and report what it prints.`,
    ];
  }
  const details = error.details.flatMap((detail) => detail.split("\n"));
  const end = error.hint ? `. Try ${error.hint}.` : details.length > 0 ? ":" : ".";
  return [error.message + end, ...details];
}

function severityOf(event: McpRunEvent): LogLevel {
  switch (event.type) {
    case "warning":
      return "warn";
    case "debug":
      return "debug";
    case "started":
    case "notice":
      return "info";
  }
}

function describe(event: McpRunEvent): string {
  switch (event.type) {
    case "started": {
      const secrets =
        event.secrets
          .map(({ name, from, cachedMs }) => `${name} (${from}${cachedMs === undefined ? "" : ", cached"})`)
          .join(", ") || "no secrets";
      return `${event.profile}: generation ${event.generation} started in ${Math.round(event.ms)} ms with ${secrets}`;
    }
    case "warning":
      return event.hint ? `Warning: ${event.message}. Try ${event.hint}.` : `Warning: ${event.message}.`;
    case "notice":
    case "debug":
      return event.message;
  }
}
