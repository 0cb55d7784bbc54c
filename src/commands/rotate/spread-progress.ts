/**
 * How far the servers are while a rotation waits for them. On a terminal a bar and those who are not done, drawn anew in
 * their place; elsewhere a line now and then. Ten thousand of them are told no more often than one.
 */
import type { Clock } from "../../clock.ts";
import type { Acknowledgement } from "../../rotation/contract.ts";
import { LiveBlock } from "../../ui/live-block.ts";
import type { Terminal } from "../../ui/live-screen.ts";
import { notDoneText, tally } from "./members.ts";

const DRAW_EVERY_MS = 100;
const TELL_EVERY_MS = 1_000;
const BAR = 24;
/** Lines for those who are not done: while it goes on, and in the end. */
const FEW = 5;
const MOST = 20;

export interface SpreadProgressOptions {
  /** Where it can be drawn anew; without it lines are told. */
  readonly terminal: Terminal | undefined;
  readonly clock: Clock;
  /** A line without its newline, for what goes where. */
  readonly tell: (line: string) => void;
  /** Names and reasons come from elsewhere. */
  readonly clean: (line: string) => string;
}

export class SpreadProgress {
  readonly #options: SpreadProgressOptions;
  readonly #block: LiveBlock | undefined;
  #latest: readonly Acknowledgement[] | undefined;
  #shownAt = Number.NEGATIVE_INFINITY;
  #told: string | undefined;

  constructor(options: SpreadProgressOptions) {
    this.#options = options;
    this.#block = options.terminal && new LiveBlock(options.terminal);
  }

  show(acknowledgements: readonly Acknowledgement[]): void {
    this.#latest = acknowledgements;
    const now = this.#options.clock.monotonic();
    if (now < this.#shownAt + (this.#block ? DRAW_EVERY_MS : TELL_EVERY_MS)) return;
    this.#shownAt = now;
    if (this.#block) this.#block.draw(this.#lines(acknowledgements, FEW));
    else this.#tell(tally(acknowledgements));
  }

  /** Whatever is said next is about something else. */
  end(): void {
    const latest = this.#latest;
    if (!latest) return;
    this.#latest = undefined;
    this.#shownAt = Number.NEGATIVE_INFINITY;
    if (this.#block) {
      this.#block.draw(this.#lines(latest, MOST));
      this.#block.end();
      return;
    }
    this.#tell(tally(latest));
    this.#told = undefined;
    for (const line of notDoneText(latest, MOST)) this.#options.tell(this.#options.clean(line));
  }

  #tell(text: string): void {
    if (text === this.#told) return;
    this.#told = text;
    this.#options.tell(`  ${text}`);
  }

  #lines(acknowledgements: readonly Acknowledgement[], most: number): readonly string[] {
    const done = acknowledgements.filter(({ state }) => state === "acknowledged").length;
    const share = acknowledgements.length === 0 ? 1 : done / acknowledgements.length;
    const filled = Math.floor(share * BAR);
    const bar = `${"█".repeat(filled)}${"░".repeat(BAR - filled)}`;
    return [
      `  ${bar} ${tally(acknowledgements)}`,
      ...notDoneText(acknowledgements, most).map(this.#options.clean),
    ];
  }
}
