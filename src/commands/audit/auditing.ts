/**
 * Sees what happens to the secrets of one program, and has it written down. What writes is loaded only once there is
 * something to write, which is when the program runs: no start waits for it.
 */
import { exitCodeFor, InterruptedError, McpRunError, systemErrorCode } from "../../errors.ts";
import type { ServerControl } from "../../launch/serving.ts";
import type { Profile } from "../../profile/profile.ts";
import type { EndedCall } from "../../relay/calls.ts";
import type { NeedleSet } from "../../scrub/needle-set.ts";
import type { CommandContext } from "../context.ts";
import type { SecretsInUse } from "../start/secrets-in-use.ts";
import type { AuditExport } from "./exporting.ts";
import { type Happening, isAudited } from "./happening.ts";
import { openExport } from "./open-export.ts";
import { hasAudit } from "./place.ts";
import type { AuditTrail } from "./trail.ts";

export class Auditing {
  readonly #context: CommandContext;
  readonly #mode: "run" | "exec";
  readonly #needles: NeedleSet;
  readonly #isOff: boolean;
  #name: string;
  #profile: Profile | undefined;
  #control: Pick<ServerControl, "client"> | undefined;
  #client: string | undefined;
  #inUse: SecretsInUse | undefined;
  #waiting: Happening[] = [];
  #trail: Promise<AuditTrail | undefined> | undefined;
  #hasLaunched = false;

  /**
   * Listens from now on.
   *
   * @param name what was typed for the profile
   */
  constructor(context: CommandContext, mode: "run" | "exec", name: string, needles: NeedleSet) {
    this.#context = context;
    this.#mode = mode;
    this.#name = name;
    this.#needles = needles;
    this.#isOff = !hasAudit(context);
    if (this.#isOff) return;
    context.printer.listen((event) => {
      if (isAudited(event)) this.#add(event);
    });
  }

  /** The profile is read, and these will be its secrets. */
  follow(profile: Profile, inUse: SecretsInUse): void {
    this.#name = profile.name;
    this.#profile = profile;
    this.#inUse = inUse;
    const { calls, export: exported } = profile.audit;
    if (this.#isOff && (calls !== "off" || exported))
      this.#warn("there is no home to write it to", "MCP_RUN_HOME");
  }

  /** A server runs, and a client will say who it is. */
  serves(control: Pick<ServerControl, "client">): void {
    this.#control = control;
  }

  /** To be told of each tool call; undefined where the profile does not ask for it. */
  get onCall(): ((call: EndedCall) => void) | undefined {
    if (this.#isOff || this.#profile?.audit.calls !== "metadata") return undefined;
    return (call) => {
      this.#client ??= this.#control?.client().name?.name;
      this.#add({ type: "called", call, ...(this.#client !== undefined && { client: this.#client }) });
    };
  }

  ended(exitCode: number): void {
    if (this.#hasLaunched) this.#add({ type: "ended", exitCode });
  }

  failed(error: unknown): void {
    if (error instanceof McpRunError && error.code === "access-denied") this.#add({ type: "denied", error });
    else if (!this.#hasLaunched && isFailedStart(error)) this.#add({ type: "start-failed", error });
    this.ended(exitCodeFor(error));
  }

  /** Resolves when all is written, or can't be. Bounded; never rejects. */
  async close(): Promise<void> {
    if (this.#waiting.length > 0) this.#pass();
    await (await this.#trail)?.close();
  }

  #add(what: Happening["what"]): void {
    if (this.#isOff) return;
    this.#hasLaunched ||= what.type === "started";
    this.#waiting.push({
      at: this.#context.clock.now(),
      what,
      profile: this.#name,
      command: this.#inUse?.command ?? "",
      secrets: this.#inUse?.current?.possession.secrets ?? [],
    });
    // The relay of the program that has just been started comes first.
    if (this.#waiting.length === 1) setImmediate(() => this.#pass());
  }

  #pass(): void {
    this.#trail ??= this.#open();
    void this.#trail.then((trail) => {
      for (const happening of this.#waiting.splice(0)) trail?.record(happening);
    });
  }

  /** Undefined where the profile does not ask for it, and then nothing of it is loaded. */
  async #export(): Promise<AuditExport | undefined> {
    const profile = this.#profile;
    const plan = profile?.audit.export;
    const inUse = this.#inUse;
    if (!profile || !plan || !inUse) return undefined;
    // A start that failed before: its own error is what has to be said, and the files have it.
    if (!inUse.hasFetched && plan.headers.some(({ needs }) => needs.length > 0)) return undefined;
    const { AuditExport } = await import("./exporting.ts");
    const { observed, valuesIn } = await import("./observed.ts");
    const observe = () => observed(profile, inUse, this.#needles, this.#context.clock.now());
    return new AuditExport(this.#context, profile, plan, async () => valuesIn(inUse), observe);
  }

  /** What can't be loaded (mcp-run was just replaced by another version) must not end a program that runs. */
  async #open(): Promise<AuditTrail | undefined> {
    try {
      const { AuditTrail } = await import("./trail.ts");
      const exported = await openExport(this.#context, () => this.#export());
      return new AuditTrail(this.#context, this.#mode, this.#needles, this.#profile, exported);
    } catch (error) {
      this.#warn(systemErrorCode(error) ?? "a bug in mcp-run");
      return undefined;
    }
  }

  #warn(reason: string, hint?: string): void {
    const message = `there is no audit of this program: ${reason}`;
    this.#context.printer.emit({ type: "warning", message, ...(hint !== undefined && { hint }) });
  }
}

/** Who types a name that nobody has, or gives up, has started nothing. */
function isFailedStart(error: unknown): boolean {
  if (!(error instanceof McpRunError)) return true;
  return !(error instanceof InterruptedError) && error.code !== "profile-not-found" && error.code !== "usage";
}
