/** `mcp-run rotate PROFILE`: replaces a key now, in its store and in every server that runs with it. */
import { hostname } from "node:os";
import { EXIT_CODES, McpRunError } from "../errors.ts";
import { escapeControl } from "../escape.ts";
import { explicitFile } from "../profile/places.ts";
import type { Profile } from "../profile/profile.ts";
import { resume, rollback, rotate } from "../rotation/engine.ts";
import { newFingerprintKey } from "../rotation/fingerprints.ts";
import type { Outcome } from "../rotation/happening.ts";
import { earlierKeyId } from "../rotation/journal/earlier-keys.ts";
import { journalFolder } from "../rotation/journal/folder.ts";
import { commandOf, type PlanLine } from "../rotation/journal/journal-line.ts";
import { type PlanDeps, planRotation, type RotationPlan } from "../rotation/plan.ts";
import { NeedleSet } from "../scrub/needle-set.ts";
import { scrubText } from "../scrub/scrub-stream.ts";
import { RecordingEnvironment } from "../secrets/environment-reader.ts";
import { ProviderPool } from "../secrets/provider-pool.ts";
import type { Secret } from "../secrets/secret.ts";
import { type CommandContext, interruptible } from "./context.ts";
import { profileRequest } from "./profile-request.ts";
import { oldEnough } from "./rotate/age.ts";
import { begunRotation } from "./rotate/begun.ts";
import { isFleetThere, isWanted } from "./rotate/consent.ts";
import { earlierRotations } from "./rotate/earlier.ts";
import { WhoIsTold } from "./rotate/fleet.ts";
import { outcomeText, planText } from "./rotate/lines.ts";
import { msOf, type RotateOptions, refuseContradictions, refuseSilence } from "./rotate/options.ts";
import { type Given, RotationParts } from "./rotate/parts.ts";
import { askOn } from "./rotate/questions.ts";
import { RotationRecord } from "./rotate/record.ts";
import { mustHaveRoom, writeReport } from "./rotate/report.ts";
import { chosenSecrets, credentialsOf } from "./rotate/targets.ts";
import { loadForStart } from "./start/load-for-start.ts";
import { providerContext } from "./start/provider-context.ts";
import { whyAlone } from "./start/trial-server.ts";

/** Returns 0, 75 if it has to be gone on with, 69 if it was given up. Throws McpRunError if it could not begin. */
export async function rotateSecrets(
  context: CommandContext,
  name: string,
  options: RotateOptions,
): Promise<number> {
  refuseContradictions(options);
  const ackTimeoutMs = msOf(options.ackTimeout, "no time to wait", "`--ack-timeout 60s`");
  const { ifOlderThan } = options;
  const leastAgeMs =
    ifOlderThan === undefined ? undefined : msOf(ifOlderThan, "no age", "`--if-older-than 90d`");
  if (options.report !== undefined) await mustHaveRoom(context, options.report);
  const profile = await loadForStart(context, name);
  const id = options.resume ?? options.rollback;
  const journals = journalFolder(context.paths.state);
  const begun = id === undefined ? undefined : await begunRotation(journals, id, profile.name, options);
  const key = begun?.key ?? newFingerprintKey();
  const ask = options.fromStdin ? undefined : askOn(context, key);
  refuseSilence(context, options, ask);
  const needles = new NeedleSet();
  context.printer.scrubWith((text) => scrubText(text, needles));
  return interruptible(context, async (signal) => {
    const environment = new RecordingEnvironment(context.env);
    const pool = new ProviderPool(context.kinds, profile.providers, providerContext(context, environment));
    const record = new RotationRecord(context, profile, needles);
    const told = new WhoIsTold(context, profile, needles, options.atOnce === true);
    try {
      const typed = typedFor(context, name, profile);
      const given = { context, profile, options, ask, key, pool, needles, record, told, ackTimeoutMs };
      const exitCode = await new Rotating(given, typed, leastAgeMs).run(begun, signal);
      return (await record.close()) ? exitCode : EXIT_CODES["rotation-incomplete"];
    } finally {
      await told.close();
      await pool.close();
      await record.close();
    }
  });
}

/** What names the profile, from whatever folder it is typed the next time. */
function typedFor(context: CommandContext, name: string, profile: Profile): readonly string[] {
  const file = explicitFile(profileRequest(context));
  return [name === profile.name ? name : profile.file, ...(file === undefined ? [] : ["--config", file])];
}

/** The course of one command: one that begins, or one that goes on. */
class Rotating {
  readonly #given: Given;
  /** What names the profile behind `mcp-run rotate`; one that goes on has it in its journal. */
  readonly #typed: readonly string[];
  /** What is younger is left as it is, in ms. */
  readonly #leastAgeMs: number | undefined;
  readonly #parts: RotationParts;

  constructor(given: Given, typed: readonly string[], leastAgeMs: number | undefined) {
    this.#given = given;
    this.#typed = typed;
    this.#leastAgeMs = leastAgeMs;
    this.#parts = new RotationParts(given);
  }

  /** @param begun what is to go on, or back; undefined for a new one */
  run(begun: PlanLine | undefined, signal: AbortSignal): Promise<number> {
    return begun ? this.#goOn(begun, signal) : this.#begin(signal);
  }

  async #begin(signal: AbortSignal): Promise<number> {
    const { context, profile, options, key, told, record, pool } = this.#given;
    const { clock, loginName } = context;
    const chosen = chosenSecrets(profile, options, options.generate === true || options.fromStdin === true);
    const all = await this.#parts.targets(chosen, signal);
    const least = this.#leastAgeMs;
    const targets = least === undefined ? all : await oldEnough(all, clock.now() - least, signal);
    if (targets.length === 0) return this.#nothing(`Nothing is older than ${options.ifOlderThan}.`);
    for (const { issuer, name } of targets.flatMap(({ parts }) => parts)) await issuer.mustBeThere?.(name);
    const providers = targets.map(({ ref }) => ref.slice(0, ref.indexOf(":")));
    const request = {
      profile: profile.name,
      typed: this.#typed,
      // Only a dry run has none.
      reason: options.reason ?? "dry run",
      operator: `${loginName()}@${hostname()}`,
      targets,
      key,
      credentials: new Set([
        ...credentialsOf(profile.providers, providers, context.kinds.names),
        ...told.credentials,
      ]),
      ...(options.revokeFirst && { revokeFirst: true }),
      ...(options.takeOver !== undefined && { takeOver: options.takeOver }),
    };
    const { folder } = this.#parts.place;
    const keyIdOf: PlanDeps["keyIdOf"] = (from, fingerprint) => earlierKeyId(folder, from, fingerprint);
    const refs = targets.map(({ ref }) => ref);
    if (!(await isFleetThere(this.#given, refs, signal))) return this.#nothing("Nothing was done.");
    const isLogin = (value: Secret) => pool.secretZero.some((login) => login.value.equals(value));
    const deps = { fleet: told.fleet(refs), clock, keyIdOf, isLogin };
    const plan = await planRotation(request, deps, signal);
    const members = plan.members.filter(({ isSilent }) => !isSilent);
    this.#parts.say(planText({ ...plan, members }, whyAlone(profile)));
    const earlier = (await earlierRotations(folder, plan.record)).map(
      (of) =>
        `Rotation ${of.rotation} of it has not ended, and its old key may be valid: ${commandOf(of, "--resume")}`,
    );
    for (const line of [...told.remarks(refs, plan.members), ...earlier])
      this.#parts.say(`  ${escapeControl(line, " ")}\n`);
    if (options.dryRun) return 0;
    if (!(await isWanted(this.#given, targets, signal))) return this.#nothing("Nothing was done.");
    await record.mustBeWritable(plan.record);
    const doing = this.#parts.depsFor(plan.record, targets);
    return this.#ended(plan.record, await rotate(plan, this.#parts.place, doing, signal));
  }

  #nothing(why: string): number {
    this.#parts.say(`${why}\n`);
    return 0;
  }

  async #goOn(plan: PlanLine, signal: AbortSignal): Promise<number> {
    const { profile, options } = this.#given;
    const { place } = this.#parts;
    const work = options.rollback === undefined ? resume : rollback;
    const names = plan.targets.flatMap(({ parts }) =>
      parts.filter(({ comesWith }) => comesWith === undefined).map((part) => part.name),
    );
    const chosen = profile.secrets.filter((secret) => names.includes(secret.name));
    const targets = await this.#parts.targets(chosen, signal, new Map(kindsOf(plan.targets))).catch(notEnded);
    return this.#ended(
      plan,
      await work(plan.rotation, targets, place, this.#parts.depsFor(plan, targets), signal),
    );
  }

  async #ended(plan: RotationPlan["record"], outcome: Outcome): Promise<number> {
    this.#parts.say(outcomeText(outcome));
    const { report } = this.#given.options;
    if (report !== undefined) await writeReport(this.#given, plan, report, this.#parts.place.folder, outcome);
    if (outcome.is === "incomplete") return EXIT_CODES["rotation-incomplete"];
    return outcome.is === "discarded" ? EXIT_CODES["backend-unavailable"] : 0;
  }
}

/** A backend that can't be asked how it rotates leaves a rotation as it is. */
function notEnded(error: unknown): never {
  if (!(error instanceof McpRunError) || error.code !== "backend-unavailable") throw error;
  throw new McpRunError("rotation-incomplete", error.message, {
    ...(error.hint !== undefined && { hint: error.hint }),
    details: error.details,
  });
}

/** The names of the parts, and where their new values came from. */
function kindsOf(
  targets: readonly { readonly parts: readonly { readonly name: string; readonly issuer: string }[] }[],
): readonly (readonly [string, string])[] {
  return targets.flatMap(({ parts }) => parts.map(({ name, issuer }) => [name, issuer] as const));
}
