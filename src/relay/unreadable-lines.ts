/**
 * Lines of one side that are no messages. They pass as they are, since it is not ours to judge them; but somebody
 * should know: at the first one, and how many there were at the end.
 */
import type { Line } from "./line.ts";

/** An empty line, with either end. */
const BLANK_BYTES = 2;

export class UnreadableLines {
  readonly #from: "client" | "server";
  readonly #warn: (message: string) => void;
  #count = 0;

  constructor(from: "client" | "server", warn: (message: string) => void) {
    this.#from = from;
    this.#warn = warn;
  }

  get count(): number {
    return this.#count;
  }

  /** To be asked of every line. */
  look(line: Line): void {
    if (line.envelope.type !== "opaque" || line.length <= BLANK_BYTES) return;
    this.#count++;
    if (this.#count === 1)
      this.#warn(`a line from the ${this.#from} is no message; such lines are passed on as they are`);
  }

  /** Nothing more comes. */
  end(): void {
    if (this.#count > 1) this.#warn(`${this.#count} lines from the ${this.#from} were no messages`);
  }
}
