/**
 * Looks for secrets in a stream of lines that must not be changed. The stream is searched as it comes, in whatever
 * chunks; only where something was found is a line looked at by itself, to say which secrets it holds.
 */
import { type NeedleSource, Scrubber } from "./scrubber.ts";

const NEWLINE = 0x0a;

export class SecretWatch {
  readonly #needles: NeedleSource;
  readonly #scrubber: Scrubber;
  #foundNow = false;
  /** The line that the chunks before left unfinished may hold what was found. */
  #foundBefore = false;
  #lineEnded = true;

  constructor(needles: NeedleSource) {
    this.#needles = needles;
    this.#scrubber = new Scrubber(needles, undefined, () => {
      this.#foundNow = true;
    });
  }

  /** To be called with each chunk before its lines are asked about. */
  push(chunk: Uint8Array): void {
    this.#foundBefore = this.#foundNow || (this.#foundBefore && !this.#lineEnded);
    this.#foundNow = false;
    // Of interest only to what was found before: most chunks need not be looked through.
    this.#lineEnded = this.#foundBefore && chunk.includes(NEWLINE);
    this.#scrubber.push(chunk);
  }

  /** False if no line that ends in the last chunk can hold a secret. */
  get isAlarmed(): boolean {
    return this.#foundNow || this.#foundBefore;
  }

  /** The names of the secrets in this line, each once. */
  namesIn(line: Uint8Array): readonly string[] {
    return secretsIn(line, this.#needles);
  }
}

/** The names of the secrets in these bytes, each once. */
export function secretsIn(bytes: Uint8Array, needles: NeedleSource): readonly string[] {
  const names = new Set<string>();
  const scrubber = new Scrubber(needles, undefined, (label) => names.add(label));
  scrubber.push(bytes);
  scrubber.end();
  return [...names];
}
