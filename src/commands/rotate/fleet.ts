/** Whom a rotation tells: the servers of this machine, and where the profile's file has a fleet, all others too. */
import { busKey } from "../../control/bus/names.ts";
import type { BusOperator } from "../../control/bus/operator.ts";
import { McpRunError } from "../../errors.ts";
import { readInventory } from "../../profile/inventory.ts";
import type { FleetSettings, Profile } from "../../profile/profile.ts";
import type { Acknowledgement, Fleet, Holder, Member } from "../../rotation/contract.ts";
import { BusFleet } from "../../rotation/fleet/bus-fleet.ts";
import { LocalFleet } from "../../rotation/fleet/local-fleet.ts";
import { type Pace, rateOf } from "../../rotation/fleet/waves.ts";
import { WholeFleet } from "../../rotation/fleet/whole-fleet.ts";
import type { NeedleSet } from "../../scrub/needle-set.ts";
import type { CommandContext } from "../context.ts";
import { controlPlace } from "../control-place.ts";
import { hostOf } from "../fleet/credentials.ts";
import { pidSpace } from "../fleet/pid-space.ts";
import { backendOf } from "../fleet/shared-secrets.ts";
import { isRunning } from "../is-running.ts";
import { profileRequest } from "../profile-request.ts";

/** Names of silent hosts that are shown. */
const SHOWN_HOSTS = 20;

export class WhoIsTold {
  readonly #context: CommandContext;
  readonly #profile: Profile;
  readonly #needles: NeedleSet;
  readonly #atOnce: boolean;
  readonly #met = new Set<string>();
  #operator: Promise<BusOperator> | undefined;
  /** Why nobody but this machine is told. */
  #lost: McpRunError | undefined;

  /** @param needles the credentials of the bus are added to them */
  constructor(context: CommandContext, profile: Profile, needles: NeedleSet, atOnce: boolean) {
    this.#context = context;
    this.#profile = profile;
    this.#needles = needles;
    this.#atOnce = atOnce;
  }

  /** Why the bus can't be reached; undefined where it can, and where it is not needed. Rejects only when aborted. */
  async trouble(refs: readonly string[], signal: AbortSignal): Promise<McpRunError | undefined> {
    const { fleet } = this.#profile;
    if (!fleet || !this.#isShared(refs)) return undefined;
    try {
      this.#inventory(fleet);
      const operator = await this.#connected(fleet, signal);
      // Whether there is a bucket at all.
      await operator.stored(busKey({ from: refs[0] ?? "" }), signal);
      return undefined;
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof McpRunError) return error;
      throw error;
    }
  }

  /** Refs of what we are on the bus: whoever rotates that saws off the branch that it sits on. */
  get credentials(): readonly string[] {
    const { credentials, operator } = this.#profile.fleet ?? {};
    return [credentials, operator].flatMap((ref) => (ref ? [ref.text] : []));
  }

  /** From now on only this machine is told, and of the others it is said that nothing is known of them. */
  goOnWithout(trouble: McpRunError): void {
    this.#lost = trouble;
  }

  /**
   * @param refs what is rotated
   * @param rotation its id, as soon as it has one
   */
  fleet(refs: readonly string[], rotation = "", pace: Pace = "few-first"): Fleet {
    const { clock } = this.#context;
    const local = new LocalFleet({
      place: controlPlace(this.#context),
      clock,
      ...(rotation !== "" && { rotation }),
    });
    const { fleet } = this.#profile;
    if (!fleet || !this.#isShared(refs)) return local;
    return new WholeFleet({
      local,
      clock,
      host: hostOf(fleet),
      pidSpace: pidSpace(),
      isRunning,
      bus: async (signal) =>
        this.#lost
          ? this.#lostFleet(fleet, this.#lost)
          : this.#busFleet(fleet, rotation, this.#atOnce ? "at-once" : pace, signal),
    });
  }

  /** Who else may have one of them, and can't be asked to hold requests: there is no fleet. */
  beyondReach(refs: readonly string[]): readonly Holder[] {
    if (this.#profile.fleet || !this.#isShared(refs)) return [];
    return [othersDoNotHold("the profile file has no fleet")];
  }

  /** Lines for the plan: what is not shared with other machines, and who is silent. */
  remarks(refs: readonly string[], members: readonly Member[]): readonly string[] {
    if (!this.#profile.fleet) return [];
    const own = refs.filter((ref) => this.#backendOf(ref) === undefined);
    const silent = [...new Set(members.filter(({ isSilent }) => isSilent).map(({ host }) => host))];
    const more = silent.length - SHOWN_HOSTS;
    const names = `${silent.slice(0, SHOWN_HOSTS).join(", ")}${more > 0 ? `, and ${more} more` : ""}`;
    return [
      ...own.map((ref) => `${ref}: this machine only, no other one has it`),
      ...(silent.length > 0
        ? [`Nothing is heard of ${silent.length === 1 ? "1 host" : `${silent.length} hosts`}: ${names}`]
        : []),
      ...(this.#lost ? [`Other machines are not told: ${this.#lost.message}`] : []),
    ];
  }

  /** Never rejects. */
  async close(): Promise<void> {
    const operator = await this.#operator?.catch(() => undefined); // Whoever asked for it has been told.
    await operator?.close();
  }

  async #busFleet(fleet: FleetSettings, rotation: string, pace: Pace, signal: AbortSignal): Promise<Fleet> {
    return new BusFleet({
      bus: await this.#connected(fleet, signal),
      clock: this.#context.clock,
      inventory: this.#inventory(fleet),
      backendOf: (from) => this.#backendOf(from),
      rateOf,
      pace,
      rotation,
      met: this.#met,
    });
  }

  /** Nobody is heard: of each host that there should be, nothing is known. */
  #lostFleet(fleet: FleetSettings, { message }: McpRunError): Fleet {
    const inventory = this.#inventory(fleet).filter((host) => host !== hostOf(fleet));
    const hosts = inventory.length > 0 ? inventory : ["every other machine"];
    const unknown = hosts.map((host): Acknowledgement => {
      const nobody = { host, pid: 0, profile: "?", generation: 0, canSwap: true };
      return { ...nobody, state: "unknown", reason: message };
    });
    return {
      list: async () => unknown.map((one) => ({ ...one, isSilent: true })),
      spread: async (wanted) =>
        wanted.some(({ from }) => this.#backendOf(from) !== undefined) ? unknown : [],
      hold: async () => [othersDoNotHold(message)],
    };
  }

  #connected(fleet: FleetSettings, signal: AbortSignal): Promise<BusOperator> {
    this.#operator ??= this.#connect(fleet, signal).catch((error: unknown) => {
      // The next one that needs it tries again.
      this.#operator = undefined;
      throw error;
    });
    return this.#operator;
  }

  async #connect(fleet: FleetSettings, signal: AbortSignal): Promise<BusOperator> {
    const { connectOperator } = await import("../fleet/operator.ts");
    const { providers } = this.#profile;
    return connectOperator(this.#context, { fleet, providers }, this.#needles, signal);
  }

  #inventory({ inventory }: FleetSettings): readonly string[] {
    return readInventory(inventory, profileRequest(this.#context));
  }

  /** Whether any other machine may have one of them. */
  #isShared(refs: readonly string[]): boolean {
    return refs.some((ref) => this.#backendOf(ref) !== undefined);
  }

  #backendOf(from: string): string | undefined {
    return backendOf(from, this.#profile.providers);
  }
}

/** @param reason a state */
function othersDoNotHold(reason: string): Holder {
  const nobody = { pid: 0, profile: "?", generation: 0, canSwap: true };
  return { host: "other machines", ...nobody, holds: false, reason };
}
