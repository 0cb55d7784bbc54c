/** Puts together what one rotation works with, out of a profile, what was typed, and the command's surroundings. */
import { untilAborted } from "../../clock.ts";
import { McpRunError } from "../../errors.ts";
import { escapeControl } from "../../escape.ts";
import type { Profile } from "../../profile/profile.ts";
import type { Issuer, Target } from "../../rotation/contract.ts";
import type { RotationEvent } from "../../rotation/happening.ts";
import type { Ask } from "../../rotation/issuers/ask.ts";
import { generateIssuer } from "../../rotation/issuers/generate.ts";
import { issuerFor } from "../../rotation/issuers/issuer-for.ts";
import { stdinIssuer } from "../../rotation/issuers/stdin.ts";
import { journalFolder } from "../../rotation/journal/folder.ts";
import type { JournalPlace } from "../../rotation/journal/journal.ts";
import type { PlanLine } from "../../rotation/journal/journal-line.ts";
import { modeOf } from "../../rotation/modes.ts";
import type { RotationDeps } from "../../rotation/run.ts";
import type { NeedleSet } from "../../scrub/needle-set.ts";
import { scrubText } from "../../scrub/scrub-stream.ts";
import { RecordingEnvironment } from "../../secrets/environment-reader.ts";
import type { ProviderPool } from "../../secrets/provider-pool.ts";
import type { SecretSpec } from "../../secrets/spec.ts";
import { readPiped } from "../../ui/prompt.ts";
import type { CommandContext } from "../context.ts";
import { providerContext } from "../start/provider-context.ts";
import { forgetCopies } from "./copies.ts";
import type { WhoIsTold } from "./fleet.ts";
import { eventText } from "./lines.ts";
import { missingOk, type RotateOptions, refuseOtherSource } from "./options.ts";
import { answerTo } from "./questions.ts";
import type { RotationRecord } from "./record.ts";
import { SeenValues } from "./seen-values.ts";
import { SpreadProgress } from "./spread-progress.ts";
import { targetsOf } from "./targets.ts";
import { triesOf } from "./trying.ts";

const GENERATED = { bytes: 32, encoding: "base64url" } as const;

export interface Given {
  readonly context: CommandContext;
  readonly profile: Profile;
  readonly options: RotateOptions;
  readonly ask: Ask | undefined;
  /** What the fingerprints of this rotation are made under. */
  readonly key: string;
  readonly pool: ProviderPool;
  readonly needles: NeedleSet;
  readonly record: RotationRecord;
  readonly told: WhoIsTold;
  readonly ackTimeoutMs: number;
}

export class RotationParts {
  readonly #given: Given;
  readonly #seen = new SeenValues();

  constructor(given: Given) {
    this.#given = given;
  }

  /**
   * The documents that hold these secrets. Throws McpRunError, `usage` for what can't be rotated.
   *
   * @param kinds how the secrets were minted in the rotation that goes on
   */
  async targets(
    chosen: readonly SecretSpec[],
    signal: AbortSignal,
    kinds: ReadonlyMap<string, string> = new Map(),
  ): Promise<readonly Target[]> {
    const issuerOf = (secret: SecretSpec) => this.#issuerOf(secret, kinds.get(secret.name));
    const targets = await targetsOf(this.#given.profile, chosen, issuerOf, this.#given.pool, signal);
    return targets.map((target) => this.#seen.watch(target));
  }

  #issuerOf(secret: SecretSpec, kind: string | undefined): Issuer {
    const { context, profile, options, ask } = this.#given;
    refuseOtherSource(secret, options);
    if (options.fromStdin || kind === "stdin")
      return stdinIssuer((signal) => readPiped(context.stdin, signal));
    const isOurs = options.generate || (kind === "generate" && secret.rotate?.source.type !== "generate");
    if (isOurs) return generateIssuer(GENERATED);
    if (kind !== undefined && kind !== secret.rotate?.source.type) throw otherSource(secret, kind);
    const { runProgram } = providerContext(context, new RecordingEnvironment(context.env));
    return issuerFor(secret, profile.secrets, {
      ask,
      runProgram,
      env: context.env,
      home: context.home,
      quotable: this.#seen.quotable,
    });
  }

  /** Shows it on stdout, without secrets. */
  say(text: string): void {
    this.#given.context.stdout.write(scrubText(text, this.#given.needles));
  }

  get place(): JournalPlace {
    const { paths, uid, clock, printer } = this.#given.context;
    const onUnwritten = (line: string) =>
      printer.emit({ type: "warning", message: `not in the journal: ${line}` });
    return { folder: journalFolder(paths.state), uid, clock, onUnwritten };
  }

  get #progress(): SpreadProgress {
    const { stdout, env, clock } = this.#given.context;
    return new SpreadProgress({
      terminal: stdout.isTTY && env.TERM !== "dumb" ? stdout : undefined,
      clock,
      tell: (line) => this.say(`${line}\n`),
      clean: (line) => scrubText(escapeControl(line, " "), this.#given.needles),
    });
  }

  depsFor(
    { rotation, options: { revokeFirst } }: Pick<PlanLine, "rotation" | "options">,
    targets: readonly Target[],
  ): RotationDeps {
    const { context, profile, options, ask, record, needles, told, ackTimeoutMs } = this.#given;
    const progress = this.#progress;
    const refs = targets.map(({ ref }) => ref);
    // Where the old key works no longer, nobody gains by waiting for the first few.
    const pace = revokeFirst || targets.some((target) => !modeOf(target).overlap) ? "all" : "few-first";
    const fleet = told.fleet(refs, rotation, pace);
    return {
      ...triesOf(context, profile, needles),
      fleet,
      clock: context.clock,
      ackTimeoutMs,
      missingOk: missingOk(options),
      decide: (question, signal) => {
        progress.end();
        return untilAborted(signal, answerTo(question, ask, options.yes === true, signal));
      },
      emit: (event: RotationEvent) => {
        record.note(event, rotation);
        if (event.type === "acknowledgements") return progress.show(event.acknowledgements);
        progress.end();
        const text = eventText(event);
        if (text !== undefined) this.say(text);
      },
      holdRequests: async (...asked) => [
        ...((await fleet.hold?.(...asked)) ?? []),
        ...told.beyondReach(refs),
      ],
      forgetCopies: (refs) => forgetCopies(context, refs),
    };
  }
}

/** Whoever goes on asks the issuer of the plan, which alone knows the keys. */
function otherSource({ name, rotate }: SecretSpec, planned: string): McpRunError {
  const now = rotate ? `\`rotate: ${rotate.source.type}\`` : "no `rotate`";
  return new McpRunError(
    "profile-invalid",
    `Cannot go on: ${name} has ${now} in the profile now, and the plan has it from \`${planned}\``,
    { hint: "the profile as it was when the rotation began" },
  );
}
