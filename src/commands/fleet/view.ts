/** The fleet as `status` shows it: who answers within a moment, and who does not. Its connection lives between looks. */
import type { BusOperator } from "../../control/bus/operator.ts";
import { OPERATOR_PERMISSIONS } from "../../control/bus/refusal.ts";
import { McpRunError } from "../../errors.ts";
import { readInventory } from "../../profile/inventory.ts";
import type { FleetOfFile } from "../../profile/load.ts";
import { Census } from "../../rotation/fleet/census.ts";
import { NeedleSet } from "../../scrub/needle-set.ts";
import { scrubText } from "../../scrub/scrub-stream.ts";
import { inTime } from "../../secrets/in-time.ts";
import type { FleetSeen } from "../../ui/fleet-table.ts";
import type { CommandContext } from "../context.ts";
import { profileRequest } from "../profile-request.ts";
import { connectOperator } from "./operator.ts";

/** Ms for one look, whatever the bus does. */
const LOOK_MS = 5_000;
const CALL = { forMs: 2_000, quietMs: 400 } as const;

export class FleetView {
  readonly #context: CommandContext;
  readonly #fleet: FleetOfFile;
  readonly #profile: string | undefined;
  readonly #needles = new NeedleSet();
  #operator: BusOperator | undefined;

  /** @param profile only its supervisors are shown */
  constructor(context: CommandContext, fleet: FleetOfFile, profile: string | undefined) {
    this.#context = context;
    this.#fleet = fleet;
    this.#profile = profile;
    context.printer.scrubWith((text) => scrubText(text, this.#needles));
  }

  /** Rejects only when aborted. */
  async look(signal: AbortSignal): Promise<FleetSeen> {
    const { clock } = this.#context;
    try {
      return await inTime({ clock, limitMs: LOOK_MS, signal }, (limited) => this.#see(limited));
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof McpRunError)) throw error;
      const why = this.#operator?.setback ?? error;
      const reason = "reason" in why && typeof why.reason === "string" ? why.reason : why.message;
      const hint = this.#mendOf(why);
      return { state: "unseen", reason: scrubText(reason, this.#needles), ...(hint && { hint }) };
    }
  }

  /** Never rejects. */
  async close(): Promise<void> {
    await this.#operator?.close();
  }

  /** Of what somebody has to mend. */
  #mendOf({ code, hint }: McpRunError): string | undefined {
    if (code !== "access-denied") return undefined;
    if (hint !== OPERATOR_PERMISSIONS || this.#fleet.fleet.operator !== undefined) return hint;
    return "`fleet.operator` with the operator's credentials, or mcp-run status --local";
  }

  async #see(signal: AbortSignal): Promise<FleetSeen> {
    const { clock } = this.#context;
    const inventory = readInventory(this.#fleet.fleet.inventory, profileRequest(this.#context));
    const bus = await this.#connected(signal);
    const census = await Census.take({ bus, clock, inventory, window: CALL }, undefined, signal);
    census.end();
    const isShown = (profile: string) => this.#profile === undefined || profile === this.#profile;
    const silent = [...census.absent, ...census.present.filter(({ report }) => report.isUnreadable)];
    return {
      state: "seen",
      supervisors: census.present
        .filter(({ report }) => isShown(report.profile) && !report.isUnreadable)
        .map(({ report: { host, pid, instance, profile, generation, mode, secrets, hold } }) => ({
          host,
          pid,
          instance,
          profile,
          generation,
          mode,
          ...(hold?.holds && { holdsFor: hold.rotation }),
          secrets: secrets.map(({ ref, version, state, reason, rotation }) => ({
            ref,
            version,
            state,
            reason,
            rotation,
          })),
        })),
      silent: [
        ...silent
          .filter(({ report }) => isShown(report.profile) || report.isUnreadable)
          .map(({ report: { host, pid, profile, isUnreadable }, heardAt }) => ({
            host,
            pid,
            profile,
            lastHeardAt: iso(heardAt),
            ...(isUnreadable && { reason: "what it says can't be read" }),
          })),
        ...census.silentHosts.map(({ host, heardAt }) => ({
          host,
          ...(heardAt !== undefined && { lastHeardAt: iso(heardAt) }),
        })),
      ],
    };
  }

  async #connected(signal: AbortSignal): Promise<BusOperator> {
    this.#operator ??= await connectOperator(this.#context, this.#fleet, this.#needles, signal);
    return this.#operator;
  }
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
