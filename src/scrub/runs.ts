/**
 * The hidden stretches of a stream: the union of all matches, as sorted runs that neither overlap nor
 * touch. Each run knows the match that begins first (the longest of those), which gives the mask its name.
 * Offsets are bytes, relative to the beginning of the chunk in hand; what is held lies at negative ones.
 */

export interface Run {
  start: number;
  end: number;
  /** The needle whose occurrence begins the run, and how long that occurrence is. */
  needle: number;
  firstLength: number;
  /** True if the mask has been put out: what is still to come of the run is dropped. */
  shown: boolean;
}

export class Runs {
  #runs: Run[] = [];

  get sorted(): readonly Run[] {
    return this.#runs;
  }

  /** Adds one match; cheap if it ends near or after the last run, as matches mostly do. */
  add(start: number, end: number, needle: number): void {
    const runs = this.#runs;
    const last = runs[runs.length - 1];
    if (last && last.start < start && start <= last.end) {
      if (end > last.end) last.end = end;
      return;
    }
    let behind = runs.length;
    while (behind > 0 && runs[behind - 1]!.start > end) behind--;
    let first = behind;
    while (first > 0 && runs[first - 1]!.end >= start) first--;
    const run: Run = { start, end, needle, firstLength: end - start, shown: false };
    if (first === behind) {
      if (behind === runs.length) runs.push(run);
      else runs.splice(behind, 0, run);
      return;
    }
    // The runs from `first` up to `behind` touch the match: they become one, in the first one's place.
    const merged = runs[first]!;
    merged.end = Math.max(runs[behind - 1]!.end, end);
    if (start < merged.start || (start === merged.start && run.firstLength > merged.firstLength)) {
      merged.start = start;
      merged.needle = needle;
      merged.firstLength = run.firstLength;
    }
    if (behind - first > 1) runs.splice(first + 1, behind - first - 1);
  }

  /** True if a match there would change nothing, not even the name; asks the last run only. */
  alreadyCover(start: number, end: number): boolean {
    const last = this.#runs[this.#runs.length - 1];
    return last !== undefined && last.start < start && end <= last.end;
  }

  /**
   * Moves the origin on by `length` after everything before `decided` was put out: forgets the runs that
   * ended there; a run that reaches `decided` or touches it stays, as shown if it began before.
   */
  moveOrigin(length: number, decided: number): void {
    if (this.#runs.length === 0) return;
    this.#runs = this.#runs.filter((run) => run.end >= decided);
    for (const run of this.#runs) {
      if (run.start < decided) run.shown = true;
      run.start -= length;
      run.end -= length;
    }
  }

  /** Forgets what was found but not put out: it will be looked for again. */
  dropPending(): void {
    this.#runs = this.#runs.filter((run) => run.shown);
  }
}
