/**
 * Leaves a backend alone that fails again and again, over all starts of mcp-run: a client starts us anew each
 * time we fail, and would hammer the backend and lock the account. What is remembered belongs to one credential
 * with one set of settings, so that a mended profile or a new login goes straight through.
 *
 *   closed --3 failures in a row--> open until T --at T, one try--> closed, or open for twice as long
 */
import { closeSync, existsSync, openSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../clock.ts";
import { type ProviderError, systemErrorCode } from "../errors.ts";
import type { Emit } from "../events.ts";
import type { Answer } from "./answer.ts";
import {
  afterFailure,
  type BreakerState,
  parseState,
  refusal,
  verdictOn,
  wholeFailure,
} from "./breaker-state.ts";
import type { CredentialTrail } from "./credential-trail.ts";
import { canonical, type Fingerprint, fingerprints } from "./fingerprint.ts";
import { readPrivate, removePrivate, sweepFolder, writePrivate } from "./private-file.ts";
import type { RefRequest } from "./provider.ts";

/** A state that nobody has touched for so long says nothing any more. */
const STALE_MS = 24 * 60 * 60_000;
const MOST_STATE_BYTES = 16 * 1024;
/** Ms in which the one that tries has to tell how it went. */
const TRIAL_MS = 30_000;

/** What is asked, of whom, and as whom. */
export interface Question {
  /** The provider's type. */
  readonly type: string;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly credential: CredentialTrail;
  readonly requests: readonly RefRequest[];
}

export interface BreakerOptions {
  /** Paths.state; the files are in `breaker/` below it. */
  readonly stateFolder: string;
  /** True where a person is watching: every question is let through, and only success is taken note of. */
  readonly letsThrough: boolean;
  readonly clock: Clock;
  readonly emit: Emit;
}

export class Breaker {
  readonly #options: BreakerOptions;
  readonly #folder: string;
  #fingerprint: Fingerprint | undefined;
  #hasWarned = false;

  constructor(options: BreakerOptions) {
    this.#options = options;
    this.#folder = join(options.stateFolder, "breaker");
  }

  /** Why the backend is not asked now; undefined if it is to be asked, and the outcome recorded. */
  refusal(question: Question): ProviderError | undefined {
    // On a machine where nothing fails this look is all that the breaker costs.
    if (this.#options.letsThrough || !existsSync(this.#folder)) return undefined;
    return this.#leniently(() => {
      const now = this.#options.clock.now();
      const file = this.#fileOf(question);
      const state = this.#read(file);
      const verdict = verdictOn(state, this.#scopeOf(question), now);
      if (!state || verdict === "ask") return undefined;
      if (verdict === "leave-alone") return refusal(state, now);
      const trial = { ...state, nextTryAt: now + TRIAL_MS };
      if (!claim(`${file}.${state.nextTryAt}.trial`, now)) return refusal(trial, now);
      writePrivate(file, JSON.stringify(trial));
      return undefined;
    });
  }

  /** Takes note of what came of a question that was let through. */
  record(question: Question, outcome: ReadonlyMap<unknown, Answer> | ProviderError): void {
    const failed = wholeFailure(outcome);
    if (failed ? this.#options.letsThrough : !existsSync(this.#folder)) return;
    this.#leniently(() => {
      const file = this.#fileOf(question);
      const previous = this.#read(file);
      if (!failed) {
        if (previous) removePrivate(file);
        return;
      }
      const scope = failed.isByDocument ? this.#scopeOf(question) : undefined;
      const now = this.#options.clock.now();
      writePrivate(file, JSON.stringify(afterFailure(previous, failed.error, scope, now)));
      sweepFolder(this.#folder, STALE_MS, now);
    });
  }

  #read(file: string): BreakerState | undefined {
    const bytes = readPrivate(file, MOST_STATE_BYTES);
    if (!bytes) return undefined;
    const state = parseState(bytes.toString());
    if (!state) {
      this.#warn(`what was noted of a failing backend in ${file} is damaged, so it is asked again`);
      removePrivate(file);
    }
    return state;
  }

  #fileOf({ type, settings, credential }: Question): string {
    const id = this.#fingerprintOf({ type, settings, credential: credential.reveal() });
    return join(this.#folder, `${id}.json`);
  }

  #scopeOf({ requests }: Question): string {
    return this.#fingerprintOf([...new Set(requests.map(canonical))].sort());
  }

  #fingerprintOf(content: unknown): string {
    this.#fingerprint ??= fingerprints(this.#options.stateFolder);
    return this.#fingerprint(content);
  }

  /** A breaker that can't read or write is none; a start does not fail for that. */
  #leniently<T>(work: () => T): T | undefined {
    try {
      return work();
    } catch (error) {
      const code = systemErrorCode(error);
      if (code === undefined) throw error;
      this.#warn(`no note can be kept of failing backends in ${this.#folder}: ${code}`);
      return undefined;
    }
  }

  #warn(message: string): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    this.#options.emit({ type: "warning", message });
  }
}

/** True for the first that asks for it, over all processes, and again where that one never noted that it tries. */
function claim(file: string, now: number): boolean {
  const claimed = statSync(file, { throwIfNoEntry: false });
  if (claimed && now - claimed.mtimeMs >= TRIAL_MS) removePrivate(file);
  try {
    closeSync(openSync(file, "wx", 0o600));
    return true;
  } catch (error) {
    if (systemErrorCode(error) === "EEXIST") return false;
    throw error;
  }
}
