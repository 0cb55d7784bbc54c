/**
 * A rotation in the audit: it does not begin where that can't be written. Once it has begun it goes on; what could not
 * be written in the end is said, so that somebody can keep it.
 */
import type { AuditLog } from "../../audit/log.ts";
import type { AuditEntry, AuditedSecret } from "../../audit/record.ts";
import { settledWithin } from "../../clock.ts";
import { McpRunError } from "../../errors.ts";
import type { Profile } from "../../profile/profile.ts";
import type { RotationEvent } from "../../rotation/happening.ts";
import type { PlanLine } from "../../rotation/journal/journal-line.ts";
import type { NeedleSet } from "../../scrub/needle-set.ts";
import { scrubText } from "../../scrub/scrub-stream.ts";
import type { AuditExport } from "../audit/exporting.ts";
import { auditLog } from "../audit/log.ts";
import { openExport } from "../audit/open-export.ts";
import type { CommandContext } from "../context.ts";

/** Ms that the records may take at the end. */
const LAST_TRY_MS = 2_000;
const MOST_REASON = 1_000;

export class RotationRecord {
  readonly #context: CommandContext;
  readonly #profile: Profile;
  readonly #needles: NeedleSet;
  /** Aborted: what the export still waits for is given up. */
  readonly #over = new AbortController();
  #log: AuditLog | undefined;
  #export: Promise<AuditExport | undefined> | undefined;
  #rotation = "";

  /** @param needles what its own lines are scrubbed with */
  constructor(context: CommandContext, profile: Profile, needles: NeedleSet) {
    this.#context = context;
    this.#profile = profile;
    this.#needles = needles;
  }

  /** @param plan with the operator's reason. Throws McpRunError `access-denied`, and then nothing of it is sent. */
  async mustBeWritable({ rotation, reason, targets }: Plan): Promise<void> {
    this.#rotation = rotation;
    const log = this.#open();
    const at = this.#context.clock.now();
    const secrets = targets.flatMap(({ parts }) => parts.map(({ name, from }) => ({ name, from })));
    const entry = this.#entry({ step: "plan", state: "done", reason, secrets });
    log.record(entry, at);
    if (await log.flushed()) {
      this.#send(entry, at);
      return;
    }
    this.#log = undefined;
    await log.close();
    throw new McpRunError(
      "access-denied",
      "Cannot rotate: the audit can't be written, and it has to say who did what",
      {
        hint: "what the warning before this says",
      },
    );
  }

  /** @param rotation its id; what is said before it goes on belongs to it as well */
  note(event: RotationEvent, rotation: string): void {
    this.#rotation = rotation;
    const step = stepOf(event);
    if (step) this.#record(step);
  }

  /** Resolves with false if something of it is in no file; then it was printed. Bounded; never rejects. */
  async close(): Promise<boolean> {
    const [log, exporting] = [this.#log, this.#export];
    [this.#log, this.#export] = [undefined, undefined];
    if (log) await settledWithin(this.#context.clock, LAST_TRY_MS, log.flushed());
    await Promise.all([log?.close(), exporting?.then((exported) => exported?.close())]);
    this.#over.abort();
    // Only now: the end tries again.
    const { entries, lost } = log?.unwritten ?? { entries: [], lost: 0 };
    const { printer } = this.#context;
    const warn = (message: string) => printer.emit({ type: "warning", message });
    for (const entry of entries) warn(`not in the audit: ${JSON.stringify(entry)}`);
    if (lost > 0) warn(`not in the audit: ${lost} more records`);
    return entries.length === 0 && lost === 0;
  }

  #record(step: Step): void {
    const at = this.#context.clock.now();
    const entry = this.#entry(step);
    this.#open().record(entry, at);
    this.#send(entry, at);
  }

  #entry({ reason, ...step }: Step): AuditEntry {
    const words =
      reason === undefined ? {} : { reason: scrubText(reason, this.#needles).slice(0, MOST_REASON) };
    return { event: "rotation", profile: this.#profile.name, rotation: this.#rotation, ...step, ...words };
  }

  #send(entry: AuditEntry, at: number): void {
    this.#export ??= openExport(this.#context, () => this.#makeExport());
    void this.#export.then((exported) => exported?.record(entry, at));
  }

  /** Undefined where the profile does not ask for it. */
  async #makeExport(): Promise<AuditExport | undefined> {
    const plan = this.#profile.audit.export;
    if (!plan) return undefined;
    const [context, profile, needles] = [this.#context, this.#profile, this.#needles];
    const { AuditExport } = await import("../audit/exporting.ts");
    const { headerSecrets } = await import("../audit/header-secrets.ts");
    let found: ReturnType<typeof headerSecrets> | undefined;
    const values = () => {
      found ??= headerSecrets(context, profile, plan, needles, this.#over.signal);
      return found;
    };
    const observe = () => ({ scrubbed: needles.masks, secrets: [] });
    return new AuditExport(context, profile, plan, values, observe);
  }

  #open(): AuditLog {
    const { printer } = this.#context;
    const onTrouble = ({ message, hint }: McpRunError) =>
      printer.emit({ type: "warning", message, ...(hint && { hint }) });
    this.#log ??= auditLog(this.#context, onTrouble, this.#profile.audit.keptDays);
    return this.#log;
  }
}

type Plan = Pick<PlanLine, "rotation" | "reason" | "targets">;

type Step = {
  readonly step: string;
  readonly state: string;
  readonly target?: string;
  readonly secrets?: readonly AuditedSecret[];
  readonly reason?: string;
};

function stepOf(event: RotationEvent): Step | undefined {
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
    case "turned": {
      const { to: step, target, reason } = event;
      return { step, state: "turned", reason, ...(target !== undefined && { target }) };
    }
    case "ended": {
      const { is, reason } = event.outcome;
      return { step: "end", state: is, ...(reason !== undefined && { reason }) };
    }
    default:
      return undefined;
  }
}
