/** `mcp-run rotate PROFILE`: replaces a key now, in its store and in every server that runs with it. */
import { hostname } from "node:os";
import { untilAborted } from "../clock.ts";
import { EXIT_CODES, McpRunError } from "../errors.ts";
import { escapeControl } from "../escape.ts";
import type { Profile } from "../profile/profile.ts";
import { parseDuration } from "../profile/quantities.ts";
import type { Issuer, Target } from "../rotation/contract.ts";
import { earlierKeyId } from "../rotation/earlier-keys.ts";
import { resume, rollback, rotate } from "../rotation/engine.ts";
import type { Outcome, RotationEvent } from "../rotation/happening.ts";
import type { Ask } from "../rotation/issuers/ask.ts";
import { generateIssuer } from "../rotation/issuers/generate.ts";
import { issuerFor } from "../rotation/issuers/issuer-for.ts";
import { stdinIssuer } from "../rotation/issuers/stdin.ts";
import { type JournalPlace, journalFolder, readJournal } from "../rotation/journal.ts";
import type { PlanLine } from "../rotation/journal-line.ts";
import { isLive, modeOf } from "../rotation/modes.ts";
import { aboutTarget, type PlanDeps, planRotation } from "../rotation/plan.ts";
import type { RotationDeps } from "../rotation/run.ts";
import { NeedleSet } from "../scrub/needle-set.ts";
import { scrubText } from "../scrub/scrub-stream.ts";
import { RecordingEnvironment } from "../secrets/environment-reader.ts";
import { ProviderPool } from "../secrets/provider-pool.ts";
import type { SecretSpec } from "../secrets/spec.ts";
import { readPiped } from "../ui/prompt.ts";
import { type CommandContext, interruptible } from "./context.ts";
import { forgetCopies } from "./rotate/copies.ts";
import { WhoIsTold } from "./rotate/fleet.ts";
import { eventText, outcomeText, planText } from "./rotate/lines.ts";
import { answerTo, askOn } from "./rotate/questions.ts";
import { RotationRecord } from "./rotate/record.ts";
import { writeReport } from "./rotate/report.ts";
import { SeenValues } from "./rotate/seen-values.ts";
import { SpreadProgress } from "./rotate/spread-progress.ts";
import { chosenSecrets, credentialsOf, targetsOf } from "./rotate/targets.ts";
import { triesOf } from "./rotate/trying.ts";
import { loadForStart } from "./start/load-for-start.ts";
import { providerContext } from "./start/provider-context.ts";
import { whyAlone } from "./start/trial-server.ts";

export interface RotateOptions {
  readonly reason?: string;
  readonly secret?: readonly string[];
  readonly all?: boolean;
  readonly mint?: boolean;
  readonly generate?: boolean;
  readonly fromStdin?: boolean;
  readonly revokeFirst?: boolean;
  readonly missingOk?: string;
  readonly ackTimeout: string;
  readonly yes?: boolean;
  readonly dryRun?: boolean;
  readonly resume?: string;
  readonly rollback?: string;
  readonly takeOver?: string;
  readonly report?: string;
  readonly ifOlderThan?: string;
  readonly atOnce?: boolean;
}

const GENERATED = { bytes: 32, encoding: "base64url" } as const;

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
  const profile = await loadForStart(context, name);
  const ask = options.fromStdin ? undefined : askOn(context);
  refuseSilence(context, options, ask);
  const needles = new NeedleSet();
  context.printer.scrubWith((text) => scrubText(text, needles));
  return interruptible(context, async (signal) => {
    const environment = new RecordingEnvironment(context.env);
    const pool = new ProviderPool(context.kinds, profile.providers, providerContext(context, environment));
    const record = new RotationRecord(context, profile, needles);
    const told = new WhoIsTold(context, profile, needles, options.atOnce === true);
    try {
      const rotation = new Rotating(context, profile, options, {
        ask,
        pool,
        needles,
        record,
        told,
        ackTimeoutMs,
        leastAgeMs,
      });
      const exitCode = await rotation.run(signal);
      return (await record.close()) ? exitCode : EXIT_CODES["rotation-incomplete"];
    } finally {
      await told.close();
      await pool.close();
      await record.close();
    }
  });
}

interface Parts {
  readonly ask: Ask | undefined;
  readonly pool: ProviderPool;
  readonly needles: NeedleSet;
  readonly record: RotationRecord;
  readonly told: WhoIsTold;
  readonly ackTimeoutMs: number;
  /** What is younger is left as it is. */
  readonly leastAgeMs: number | undefined;
}

class Rotating {
  readonly #context: CommandContext;
  readonly #profile: Profile;
  readonly #options: RotateOptions;
  readonly #parts: Parts;
  readonly #seen = new SeenValues();

  constructor(context: CommandContext, profile: Profile, options: RotateOptions, parts: Parts) {
    this.#context = context;
    this.#profile = profile;
    this.#options = options;
    this.#parts = parts;
  }

  async run(signal: AbortSignal): Promise<number> {
    const { resume: resumed, rollback: undone } = this.#options;
    if (resumed !== undefined) return this.#goOn(resumed, resume, signal);
    if (undone !== undefined) return this.#goOn(undone, rollback, signal);
    return this.#begin(signal);
  }

  async #begin(signal: AbortSignal): Promise<number> {
    const { context, profile, options } = this.#all;
    const { clock, loginName } = context;
    const chosen = chosenSecrets(profile, options, options.generate === true || options.fromStdin === true);
    const targets = await this.#oldEnough(await this.#targets(chosen, signal), signal);
    if (targets.length === 0) return this.#nothing(`Nothing is older than ${options.ifOlderThan}.`);
    const providers = targets.map(({ ref }) => ref.slice(0, ref.indexOf(":")));
    const request = {
      profile: profile.name,
      reason: options.reason ?? "",
      operator: `${loginName()}@${hostname()}`,
      targets,
      credentials: new Set([
        ...credentialsOf(profile.providers, providers, context.kinds.names),
        ...this.#parts.told.credentials,
      ]),
      ...(options.revokeFirst && { revokeFirst: true }),
      ...(options.takeOver !== undefined && { takeOver: options.takeOver }),
    };
    const { folder } = this.#place;
    const keyIdOf: PlanDeps["keyIdOf"] = (from, fingerprint) => earlierKeyId(folder, from, fingerprint);
    const refs = targets.map(({ ref }) => ref);
    if (!(await this.#isFleetThere(refs, signal))) return this.#nothing("Nothing was done.");
    const { told } = this.#parts;
    const plan = await planRotation(request, { fleet: told.fleet(refs), clock, keyIdOf }, signal);
    const members = plan.members.filter(({ isSilent }) => !isSilent);
    this.#say(planText({ ...plan, members }, whyAlone(profile)));
    for (const line of told.remarks(refs, plan.members)) this.#say(`  ${escapeControl(line, " ")}\n`);
    if (options.dryRun) return 0;
    if (!(await this.#isWanted(targets, signal))) return this.#nothing("Nothing was done.");
    await this.#parts.record.mustBeWritable(plan.record.rotation);
    return this.#ended(await rotate(plan, this.#place, this.#depsFor(plan.record, targets), signal));
  }

  /**
   * True also if nobody minds that it is not: what runs elsewhere keeps the old key. Throws McpRunError where nobody
   * can be asked.
   */
  async #isFleetThere(refs: readonly string[], signal: AbortSignal): Promise<boolean> {
    const { told, ask } = this.#parts;
    const { dryRun, yes } = this.#options;
    const trouble = await told.trouble(refs, signal);
    if (!trouble) return true;
    const question = `${trouble.message}. Go on without other machines? Their servers keep the old key`;
    const isAsked = !dryRun && !this.#missingOk.includes("*");
    if (isAsked && (yes || !ask)) {
      throw new McpRunError(trouble.code, `Cannot rotate on all machines: ${trouble.message}`, {
        hint: `${trouble.hint ?? "again in a moment"}; or \`--missing-ok '*'\`, and their servers keep the old key`,
      });
    }
    if (isAsked && !(await ask?.confirm(question, signal))) return false;
    told.goOnWithout(trouble);
    return true;
  }

  /** Throws McpRunError where `--yes` is not enough: what a backend changes by itself fails for a while. */
  async #isWanted(targets: readonly Target[], signal: AbortSignal): Promise<boolean> {
    const { yes, revokeFirst } = this.#options;
    const live = targets.find((target) => !modeOf(target).overlap);
    if (yes && live && !revokeFirst) {
      throw new McpRunError(
        "usage",
        `Cannot rotate ${live.ref}: its backend changes the live key itself, so requests with the old one fail until their servers have the new one, and nobody has consented to that`,
        { hint: "`--revoke-first` beside `--yes`" },
      );
    }
    if (yes) return true;
    const question = live ? "Requests will fail in between. Do it?" : "Do it?";
    return (await this.#parts.ask?.confirm(question, signal)) === true;
  }

  /** One without a date is as old as can be. */
  async #oldEnough(targets: readonly Target[], signal: AbortSignal): Promise<readonly Target[]> {
    const { leastAgeMs } = this.#parts;
    if (leastAgeMs === undefined) return targets;
    const since = this.#context.clock.now() - leastAgeMs;
    const isOld = await Promise.all(
      targets.map(async ({ ref, store, own }) => {
        // To read a lease would be to make one; they are as old as whoever has them.
        if (own && !isLive(own)) return true;
        const present = await (own ?? store).read(signal).catch((error: unknown) => {
          throw aboutTarget(ref, error);
        });
        return (present?.createdAt?.getTime() ?? 0) <= since;
      }),
    );
    return targets.filter((_target, index) => isOld[index]);
  }

  #nothing(why: string): number {
    this.#say(`${why}\n`);
    return 0;
  }

  #say(text: string): void {
    this.#context.stdout.write(scrubText(text, this.#parts.needles));
  }

  async #goOn(id: string, work: typeof resume, signal: AbortSignal): Promise<number> {
    const { profile } = this.#all;
    const { lines } = await readJournal(this.#place.folder, id);
    const [plan] = lines;
    if (plan?.kind !== "plan") throw new Error("a journal begins with its plan");
    if (plan.profile !== profile.name) {
      throw new McpRunError("usage", `Cannot go on with ${id}: it is a rotation of ${plan.profile}`, {
        hint: `mcp-run rotate ${plan.profile}`,
      });
    }
    const names = plan.targets.flatMap(({ parts }) =>
      parts.filter(({ comesWith }) => comesWith === undefined).map((part) => part.name),
    );
    const chosen = profile.secrets.filter((secret) => names.includes(secret.name));
    const targets = await this.#targets(chosen, signal, new Map(kindsOf(plan.targets))).catch(notEnded);
    return this.#ended(await work(id, targets, this.#place, this.#depsFor(plan, targets), signal));
  }

  async #ended(outcome: Outcome): Promise<number> {
    this.#say(outcomeText(outcome));
    const { report } = this.#options;
    if (report !== undefined)
      await writeReport(this.#context, this.#profile, report, this.#place.folder, outcome);
    if (outcome.is === "incomplete") return EXIT_CODES["rotation-incomplete"];
    return outcome.is === "discarded" ? EXIT_CODES["backend-unavailable"] : 0;
  }

  /** @param kinds how the secrets were minted in the rotation that goes on */
  async #targets(
    chosen: readonly SecretSpec[],
    signal: AbortSignal,
    kinds: ReadonlyMap<string, string> = new Map(),
  ): Promise<readonly Target[]> {
    const issuerOf = (secret: SecretSpec) => this.#issuerOf(secret, kinds.get(secret.name));
    const targets = await targetsOf(this.#profile, chosen, issuerOf, this.#parts.pool, signal);
    return targets.map((target) => this.#seen.watch(target));
  }

  #issuerOf(secret: SecretSpec, kind: string | undefined): Issuer {
    const { context, profile, options } = this.#all;
    const { ask } = this.#parts;
    refuseOtherSource(secret, options);
    if (options.fromStdin || kind === "stdin")
      return stdinIssuer((signal) => readPiped(context.stdin, signal));
    const isOurs = options.generate || (kind === "generate" && secret.rotate?.source.type !== "generate");
    if (isOurs) return generateIssuer(GENERATED);
    const { runProgram } = providerContext(context, new RecordingEnvironment(context.env));
    return issuerFor(secret, profile.secrets, {
      ask,
      runProgram,
      env: context.env,
      home: context.home,
      quotable: this.#seen.quotable,
    });
  }

  get #all() {
    return { context: this.#context, profile: this.#profile, options: this.#options };
  }

  get #missingOk(): readonly string[] {
    return this.#options.missingOk?.split(",").map((host) => host.trim()) ?? [];
  }

  get #place(): JournalPlace {
    const { paths, uid, clock, printer } = this.#context;
    const onUnwritten = (line: string) =>
      printer.emit({ type: "warning", message: `not in the journal: ${line}` });
    return { folder: journalFolder(paths.state), uid, clock, onUnwritten };
  }

  get #progress(): SpreadProgress {
    const { stdout, env, clock } = this.#context;
    return new SpreadProgress({
      terminal: stdout.isTTY && env.TERM !== "dumb" ? stdout : undefined,
      clock,
      tell: (line) => this.#say(`${line}\n`),
      clean: (line) => scrubText(escapeControl(line, " "), this.#parts.needles),
    });
  }

  #depsFor(
    { rotation, options: { revokeFirst } }: Pick<PlanLine, "rotation" | "options">,
    targets: readonly Target[],
  ): RotationDeps {
    const { context, profile, options } = this.#all;
    const { ask, record, ackTimeoutMs } = this.#parts;
    const progress = this.#progress;
    return {
      ...triesOf(context, profile, this.#parts.needles),
      fleet: this.#parts.told.fleet(
        targets.map(({ ref }) => ref),
        rotation,
        // Where the old key works no longer, nobody gains by waiting for the first few.
        revokeFirst || targets.some((target) => !modeOf(target).overlap) ? "all" : "few-first",
      ),
      clock: context.clock,
      ackTimeoutMs,
      missingOk: this.#missingOk,
      decide: (question, signal) => {
        progress.end();
        return untilAborted(signal, answerTo(question, ask, options.yes === true, signal));
      },
      emit: (event: RotationEvent) => {
        record.note(event);
        if (event.type === "acknowledgements") return progress.show(event.acknowledgements);
        progress.end();
        const text = eventText(event);
        if (text !== undefined) this.#say(text);
      },
      forgetCopies: (refs) => forgetCopies(context, refs),
    };
  }
}

/** Whoever replaces such a key by another way leaves data behind that nobody can read. */
function refuseOtherSource({ name, rotate }: SecretSpec, { fromStdin, generate }: RotateOptions): void {
  const encrypts = rotate?.source.type === "hook" && rotate.source.reencrypts;
  if (!encrypts || !(fromStdin || generate)) return;
  throw new McpRunError(
    "usage",
    `Cannot rotate ${name}: it encrypts something, and only its hook can encrypt that anew`,
    { hint: "`--mint`" },
  );
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

function refuseContradictions(options: RotateOptions): void {
  const { mint, generate, fromStdin, resume: resumed, rollback: undone, reason } = options;
  const refuse = (state: string, hint: string) =>
    new McpRunError("usage", `Cannot rotate: ${state}`, { hint });
  if ([mint, generate, fromStdin].filter(Boolean).length > 1)
    throw refuse("a new value comes from one place", "one of --mint, --generate and --from-stdin");
  if (resumed !== undefined && undone !== undefined)
    throw refuse("it can go on, or go back", "one of --resume and --rollback");
  if (resumed === undefined && undone === undefined && !reason?.trim())
    throw refuse("a reason is wanted, for the record", '`--reason "leaked in build log"`');
}

function refuseSilence(
  { stdin }: CommandContext,
  { yes, dryRun }: RotateOptions,
  ask: Ask | undefined,
): void {
  if (ask || yes || dryRun) return;
  throw new McpRunError("usage", "Cannot rotate: nobody is there to be asked", {
    hint: stdin.isTTY ? "`--yes` beside --from-stdin" : "a terminal, or `--yes`",
  });
}

function msOf(text: string, wrong: string, hint: string): number {
  const ms = parseDuration(text);
  if (ms !== undefined && ms > 0) return ms;
  throw new McpRunError("usage", `Cannot rotate: ${text} is ${wrong}`, { hint });
}
