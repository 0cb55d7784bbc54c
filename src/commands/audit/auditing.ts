/**
 * Sees what happens to the secrets of one program, and has it written down. What writes is loaded only once there is
 * something to write, which is when the program runs: no start waits for it.
 */
import { existsSync } from "node:fs";
import { exitCodeFor, McpRunError, systemErrorCode } from "../../errors.ts";
import type { NeedleSet } from "../../scrub/needle-set.ts";
import type { CommandContext } from "../context.ts";
import type { SecretsInUse } from "../start/secrets-in-use.ts";
import { type Happening, isAudited } from "./happening.ts";
import type { AuditTrail } from "./trail.ts";

export class Auditing {
  readonly #context: CommandContext;
  readonly #mode: "run" | "exec";
  readonly #needles: NeedleSet;
  #profile: string;
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
    this.#profile = name;
    this.#needles = needles;
    // As everywhere, a home that does not exist is not made.
    if (!context.env.MCP_RUN_HOME && !existsSync(context.home)) return;
    context.printer.listen((event) => {
      if (isAudited(event)) this.#add(event);
    });
  }

  /** The profile is read, and these will be its secrets. */
  follow(profile: string, inUse: SecretsInUse): void {
    this.#profile = profile;
    this.#inUse = inUse;
  }

  ended(exitCode: number): void {
    if (this.#hasLaunched) this.#add({ type: "ended", exitCode });
  }

  failed(error: unknown): void {
    if (error instanceof McpRunError && error.code === "access-denied") this.#add({ type: "denied", error });
    this.ended(exitCodeFor(error));
  }

  /** Resolves when all is written, or can't be. Bounded; never rejects. */
  async close(): Promise<void> {
    if (this.#waiting.length > 0) this.#pass();
    await (await this.#trail)?.close();
  }

  #add(what: Happening["what"]): void {
    this.#hasLaunched ||= what.type === "started";
    this.#waiting.push({
      at: this.#context.clock.now(),
      what,
      profile: this.#profile,
      command: this.#inUse?.command ?? "",
      secrets: this.#inUse?.current?.possession.secrets ?? [],
    });
    // The relay of the program that has just been started comes first.
    setImmediate(() => this.#pass());
  }

  #pass(): void {
    this.#trail ??= this.#open();
    void this.#trail.then((trail) => {
      for (const happening of this.#waiting.splice(0)) trail?.record(happening);
    });
  }

  /** What can't be loaded (mcp-run was just replaced by another version) must not end a program that runs. */
  async #open(): Promise<AuditTrail | undefined> {
    try {
      const { AuditTrail } = await import("./trail.ts");
      return new AuditTrail(this.#context, this.#mode, this.#needles);
    } catch (error) {
      const message = `there is no audit of this program: ${systemErrorCode(error) ?? "a bug in mcp-run"}`;
      this.#context.printer.emit({ type: "warning", message });
      return undefined;
    }
  }
}
