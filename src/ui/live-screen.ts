/** A text that is drawn again and again on a terminal, on a screen of its own: what was there before comes back. */
import type { Writable } from "node:stream";

export type Terminal = Writable & { readonly columns?: number; readonly rows?: number };

const OTHER_SCREEN = "\u001b[?1049h\u001b[?25l";
const FIRST_SCREEN = "\u001b[?25h\u001b[?1049l";
const TO_TOP = "\u001b[H";
const CLEAR_LINE = "\u001b[K";
const CLEAR_REST = "\u001b[J";

export class LiveScreen {
  readonly #terminal: Terminal;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
    terminal.write(OTHER_SCREEN);
  }

  /** As much of it as the terminal can show, in one write, so that nothing flickers. */
  draw(text: string): void {
    const { columns = 80, rows = 24 } = this.#terminal;
    const lines = text.trimEnd().split("\n");
    const shown =
      lines.length <= rows ? lines : [...lines.slice(0, rows - 1), `… ${lines.length - rows + 1} more`];
    const drawn = shown.map((line) => line.slice(0, columns) + CLEAR_LINE).join("\r\n");
    this.#terminal.write(`${TO_TOP}${drawn}${CLEAR_REST}`);
  }

  close(): void {
    this.#terminal.write(FIRST_SCREEN);
  }
}
