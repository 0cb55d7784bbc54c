/**
 * The canary where it matters most: inside a supervisor that runs the profile, which fetches the candidate with its own
 * credentials. Where none can, the rotation has a server of its own. A server that can't run twice gets neither.
 */
import type { Clock } from "../../clock.ts";
import { type Outcome, type Question, tryToAsk } from "../../control/client.ts";
import type { ControlPlace, Endpoint } from "../../control/endpoint.ts";
import type { SupervisorStatus } from "../../control/protocol.ts";
import { askAll } from "../../control/supervisors.ts";
import type { Secret } from "../../secrets/secret.ts";
import type { Canary, CanaryOutcome, Candidates } from "../contract.ts";

/** Ms for a status. */
const STATUS_MS = 2_000;
/** Ms for a canary: longer than a supervisor takes to give one up and to end its server. */
const CANARY_MS = 95_000;
/** So many are asked; what keeps these from it keeps the others, too. */
const MOST_ASKED = 3;

export interface SupervisorCanaryOptions {
  readonly place: ControlPlace;
  readonly clock: Clock;
  readonly profile: {
    readonly name: string;
    /** Where it stands. */
    readonly file: string;
    readonly hasProbe: boolean;
    /** Why a second server can't be started beside one that runs; a state. Undefined if it can. */
    readonly alone: string | undefined;
  };
  /** In a server of the rotation's own. */
  readonly own: Canary;
}

interface Supervisor {
  readonly endpoint: Endpoint;
  readonly status: SupervisorStatus;
}

export class SupervisorCanary implements Canary {
  readonly #options: SupervisorCanaryOptions;

  constructor(options: SupervisorCanaryOptions) {
    this.#options = options;
  }

  /** Throws as `own` does, and as listEndpoints does. */
  async try(
    values: ReadonlyMap<string, Secret>,
    signal: AbortSignal,
    candidates?: Pick<Candidates, "rotation" | "refs">,
  ): Promise<CanaryOutcome> {
    const { own, profile } = this.#options;
    const { running, areSilent } = await this.#running(signal);
    if (profile.alone !== undefined && (running.length > 0 || areSilent))
      return { works: true, wasProbed: false, skipped: profile.alone };
    const notes: string[] = [];
    const { rotation, refs } = candidates ?? { rotation: "", refs: [] };
    const able = refs.length === 0 ? [] : running.filter(({ status }) => mayUse(status, refs));
    for (const { endpoint } of able.slice(0, MOST_ASKED)) {
      const question: Question<"canary"> = { type: "canary", rotation, refs: [...refs] };
      const options = { timeoutMs: CANARY_MS, clock: this.#options.clock, signal };
      const outcome = await tryToAsk(endpoint, question, options);
      const ranBy = `the supervisor with pid ${endpoint.pid}`;
      if (outcome.type === "answered" && (!outcome.answer.works || this.#isProof(outcome.answer))) {
        const { works, wasProbed, reason, details } = outcome.answer;
        return {
          works,
          wasProbed,
          ranBy,
          notes,
          ...(reason !== undefined && { reason }),
          ...(details && { details }),
        };
      }
      notes.push(`${ranBy} could not try the new key: ${whyNot(outcome)}`);
    }
    const outcome = await own.try(values, signal, candidates);
    return { ...outcome, notes: [...notes, ...(outcome.notes ?? [])] };
  }

  /** The profile may have got its probe since the supervisor was started. */
  #isProof({ wasProbed }: { readonly wasProbed: boolean }): boolean {
    return wasProbed || !this.#options.profile.hasProbe;
  }

  /** Those of this very profile, the latest first: it knows the profile best. Who does not answer may be one. */
  async #running(
    signal: AbortSignal,
  ): Promise<{ readonly running: readonly Supervisor[]; readonly areSilent: boolean }> {
    const { place, clock, profile } = this.#options;
    const heard = await askAll(place, { type: "status" }, { timeoutMs: STATUS_MS, clock, signal });
    const supervisors = heard.flatMap(({ endpoint, outcome }) => {
      if (outcome.type !== "answered") return [];
      const { status } = outcome.answer;
      const isOurs = status.profile === profile.name && status.file === profile.file;
      return isOurs && status.refresh.mode !== "exec" ? [{ endpoint, status }] : [];
    });
    const areSilent = heard.some(({ outcome }) => outcome.type !== "answered");
    return { running: supervisors.reverse(), areSilent };
  }
}

/** One whose secrets do not fit into its status says itself whether it has them. */
function mayUse({ secrets, secretsLeftOut = 0 }: SupervisorStatus, refs: readonly string[]): boolean {
  return secretsLeftOut > 0 || refs.every((wanted) => secrets.some(({ ref }) => ref === wanted));
}

function whyNot(outcome: Outcome<"canary">): string {
  switch (outcome.type) {
    case "answered":
      return "it did not probe it";
    case "refused":
      return outcome.error.message;
    case "absent":
      return "it has ended";
    case "silent":
      return outcome.reason;
  }
}
