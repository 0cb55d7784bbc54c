/** Something with an end that several use: it ends when the last of them has given it up. */
export class Shared {
  readonly #end: () => Promise<void>;
  #users = 1;

  /** @param end never rejects */
  constructor(end: () => Promise<void>) {
    this.#end = end;
  }

  /** One user more. Throws if it has ended: it can't be had again. */
  share(): this {
    if (this.#users === 0) throw new Error("what has ended can't be shared");
    this.#users++;
    return this;
  }

  /** One user less; each calls it once. For the last one it resolves when the end is over, for the others at once. */
  async giveUp(): Promise<void> {
    this.#users--;
    if (this.#users === 0) await this.#end();
  }
}
