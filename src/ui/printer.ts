/**
 * The one place that turns events and errors into lines on stderr: `mcp-run: ` in front, scrubbed,
 * control characters escaped; or one JSON object a line for machines.
 */
import { McpRunError } from "../errors.ts";
import { escapeControl } from "../escape.ts";
import type { ChangedSecret, Emit, McpRunEvent } from "../events.ts";

export const LOG_LEVELS = ["error", "warn", "info", "debug"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export const LOG_FORMATS = ["text", "json"] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

export interface Printer {
  readonly emit: Emit;
  /** Prints any thrown value as a user should see it; a stack only at level debug. */
  printError(error: unknown): void;
  /** From now on `listener` is told of every event too, whether it is printed or not. */
  listen(listener: Emit): void;
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
  const listeners: Emit[] = [];
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
    emit(event) {
      print(severityOf(event), [describe(event)], event);
      for (const listener of listeners) listener(event);
    },
    listen: (listener) => void listeners.push(listener),
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
    case "refresh-failed":
    case "not-swapped":
    case "leak":
      return "warn";
    case "looked":
    case "debug":
      return "debug";
    case "started":
    case "swapped":
    case "signalled":
    case "restarted":
    case "holding":
    case "let-go":
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
    case "swapped":
      return `${event.profile}: generation ${event.generation} has taken over after ${Math.round(event.ms)} ms with new ${changedText(event.changed)}`;
    case "signalled":
      return `${event.profile}: generation ${event.generation} was sent ${event.signal} for new ${changedText(event.changed)}`;
    case "restarted":
      return `${event.profile}: generation ${event.generation} has taken over from the server that ended`;
    case "holding":
      return `${event.profile}: new requests wait for at most ${Math.round(event.longestMs / 1000)} s, since rotation ${event.rotation} ends ${event.secrets.join(", ")}`;
    case "let-go":
      return `${event.profile}: requests wait no longer after ${Math.round(event.ms)} ms: ${event.reason}`;
    case "not-swapped":
      return warning(
        `${event.profile}: new ${changedText(event.changed)}, and the server goes on with the old`,
        "a restart of the client, or `refresh: { restart: overlap }` in the profile",
      );
    case "looked":
      return `${event.profile}: the secrets of generation ${event.generation} were looked at`;
    case "refresh-failed":
      return warning(
        `${event.profile}: ${event.reason}; the server goes on with what it has, and the next try is in ${Math.round(event.retryMs / 1000)} s`,
        event.hint,
      );
    case "leak":
      return warning(
        `${event.profile}: the server tells the client the value of ${event.secrets.join(", ")}${whereOf(event)}${event.isMasked ? "; it was masked" : ""}`,
        event.isMasked ? undefined : "`scrub: { stdout: redact }` in the profile, if it must not",
      );
    case "warning":
      return warning(event.message, event.hint);
    case "notice":
    case "debug":
      return event.message;
  }
}

function warning(message: string, hint: string | undefined): string {
  return hint ? `Warning: ${message}. Try ${hint}.` : `Warning: ${message}.`;
}

function changedText(changed: readonly ChangedSecret[]): string {
  return changed
    .map(({ name, from, version }) => {
      const where = [from ?? "gone", ...(version === undefined ? [] : [`version ${version}`])];
      return `${name} (${where.join(", ")})`;
    })
    .join(", ");
}

function whereOf({ method, id }: { readonly method?: string; readonly id?: string }): string {
  return `${method === undefined ? "" : ` in ${method}`}${id === undefined ? "" : ` (id ${id})`}`;
}
