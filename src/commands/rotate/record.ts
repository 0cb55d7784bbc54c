/** A rotation in the audit: it does not begin where that can't be written. */
import type { AuditLog } from "../../audit/log.ts";
import { McpRunError } from "../../errors.ts";
import type { RotationEvent } from "../../rotation/happening.ts";
import { auditLog } from "../audit/log.ts";
import type { CommandContext } from "../context.ts";

export class RotationRecord {
  readonly #context: CommandContext;
  readonly #profile: string;
  #log: AuditLog | undefined;
  #rotation = "";

  constructor(context: CommandContext, profile: string) {
    this.#context = context;
    this.#profile = profile;
  }

  /** Throws McpRunError `access-denied`. */
  async mustBeWritable(rotation: string): Promise<void> {
    this.#rotation = rotation;
    const log = this.#open();
    log.record({ event: "rotation", profile: this.#profile, rotation, step: "plan", state: "done" });
    if (await log.flushed()) return;
    throw new McpRunError(
      "access-denied",
      "Cannot rotate: the audit can't be written, and it has to say who did what",
      {
        hint: "`mcp-run audit verify`, which names the folder",
      },
    );
  }

  note(event: RotationEvent): void {
    if (event.type === "began") this.#rotation = event.rotation;
    const entry = entryOf(event);
    if (!entry) return;
    this.#open().record({ event: "rotation", profile: this.#profile, rotation: this.#rotation, ...entry });
  }

  async close(): Promise<void> {
    await this.#log?.close();
  }

  #open(): AuditLog {
    const { printer } = this.#context;
    this.#log ??= auditLog(this.#context, ({ message, hint }) =>
      printer.emit({ type: "warning", message, ...(hint && { hint }) }),
    );
    return this.#log;
  }
}

type Entry = {
  readonly step: string;
  readonly state: string;
  readonly target?: string;
  readonly reason?: string;
};

function entryOf(event: RotationEvent): Entry | undefined {
  switch (event.type) {
    case "step-began":
    case "step-done":
    case "step-failed": {
      const { step, target } = event;
      const state = event.type.slice("step-".length);
      const reason = event.type === "step-failed" ? event.reason : undefined;
      return {
        step,
        state,
        ...(target !== undefined && { target }),
        ...(reason !== undefined && { reason }),
      };
    }
    case "turned":
      return { step: event.to, state: "turned", reason: event.reason };
    case "ended": {
      const { is, reason } = event.outcome;
      return { step: "end", state: is, ...(reason !== undefined && { reason }) };
    }
    default:
      return undefined;
  }
}
