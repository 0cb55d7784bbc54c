/**
 * A value that can't be printed by accident: string conversion, JSON, util.inspect and structured logging
 * all show «secret». Only `reveal()` gives the value, so every use of it can be found by name.
 */
import { timingSafeEqual } from "node:crypto";
import { inspect } from "node:util";

const PLACEHOLDER = "«secret»";

export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  /** Compares in constant time for values of equal length. */
  equals(other: Secret): boolean {
    const mine = Buffer.from(this.#value);
    const theirs = Buffer.from(other.#value);
    return mine.length === theirs.length && timingSafeEqual(mine, theirs);
  }

  get isEmpty(): boolean {
    return this.#value === "";
  }

  toString(): string {
    return PLACEHOLDER;
  }

  toJSON(): string {
    return PLACEHOLDER;
  }

  [Symbol.toPrimitive](): string {
    return PLACEHOLDER;
  }

  [inspect.custom](): string {
    return PLACEHOLDER;
  }
}
