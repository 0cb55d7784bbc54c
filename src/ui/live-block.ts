/**
 * A few lines that are drawn anew in their place, below what a terminal shows already; the last ones stay. Nothing else
 * may be written there between two drawings: `end` comes first.
 */
import type { Terminal } from "./live-screen.ts";

const CLEAR_LINE = "\u001b[K";
const CLEAR_BELOW = "\u001b[J";

export class LiveBlock {
  readonly #terminal: Terminal;
  #height = 0;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** In one write, so that nothing flickers. A line is cut at the edge: one that wraps would be two. */
  draw(lines: readonly string[]): void {
    const { columns = 80 } = this.#terminal;
    const up = this.#height > 0 ? `\u001b[${this.#height}A` : "";
    const drawn = lines.map((line) => `${line.slice(0, columns - 1)}${CLEAR_LINE}\r\n`).join("");
    this.#terminal.write(`${up}\r${drawn}${CLEAR_BELOW}`);
    this.#height = lines.length;
  }

  /** What is drawn next stands below. */
  end(): void {
    this.#height = 0;
  }
}
