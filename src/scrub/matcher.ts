/** Everything that searching for one revision of the needles takes; each part is made when it is first used. */
import { Automaton } from "./automaton.ts";
import { GramFilter } from "./gram-filter.ts";
import { maskFor } from "./mask.ts";
import { type Needle, NeedleTable } from "./needle-table.ts";
import { PrefixIndex } from "./prefix-index.ts";

/** An automaton takes about 21 bytes of memory for each byte of the needles. */
const MOST_AUTOMATON_BYTES = 1_048_576;

export class Matcher {
  readonly table: NeedleTable;
  #filter: GramFilter | undefined;
  #prefixes: PrefixIndex | undefined;
  #automaton: Automaton | undefined;
  readonly #masks = new Map<string, Buffer>();

  /** @param needles without duplicates, each at least 4 bytes long; may be empty */
  constructor(needles: readonly Needle[]) {
    this.table = new NeedleTable(needles);
  }

  get isEmpty(): boolean {
    return this.table.count === 0;
  }

  get filter(): GramFilter {
    this.#filter ??= new GramFilter(this.table);
    return this.#filter;
  }

  get prefixes(): PrefixIndex {
    this.#prefixes ??= new PrefixIndex(this.table);
    return this.#prefixes;
  }

  /** False if the needles are so many that an automaton would take too much memory. */
  get canAffordAutomaton(): boolean {
    return this.table.bytes.length <= MOST_AUTOMATON_BYTES;
  }

  get automaton(): Automaton {
    this.#automaton ??= new Automaton(this.table);
    return this.#automaton;
  }

  /** What is shown in place of an occurrence of this needle. */
  maskOf(needle: number): Buffer {
    const label = this.table.labels[needle]!;
    let mask = this.#masks.get(label);
    if (!mask) {
      mask = maskFor(label, this.table, this.prefixes);
      this.#masks.set(label, mask);
    }
    return mask;
  }
}
