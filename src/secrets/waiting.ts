/** Which provider waits for which: a circle is found before anybody waits in it. */
export class Waiting {
  /** An entry A -> [B, B, C]: A waits for two answers of B and one of C. */
  readonly #for = new Map<string, string[]>();

  /** The names on the way from `needed` back to `name`, both included, if `name` would wait for itself. */
  circle(name: string, needed: string): readonly string[] | undefined {
    return this.#wayBetween(needed, name);
  }

  /** Notes that `name` waits for `needed` until `work` has settled. */
  async during<T>(name: string, needed: string, work: () => Promise<T>): Promise<T> {
    const waitsFor = this.#for.get(name) ?? [];
    this.#for.set(name, waitsFor);
    waitsFor.push(needed);
    try {
      return await work();
    } finally {
      waitsFor.splice(waitsFor.indexOf(needed), 1);
    }
  }

  isWaiting(name: string): boolean {
    return (this.#for.get(name)?.length ?? 0) > 0;
  }

  #wayBetween(from: string, to: string): readonly string[] | undefined {
    if (from === to) return [to];
    for (const next of this.#for.get(from) ?? []) {
      const rest = this.#wayBetween(next, to);
      if (rest) return [from, ...rest];
    }
    return undefined;
  }
}
