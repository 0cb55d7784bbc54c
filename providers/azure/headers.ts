/** The headers of an answer, in the shape that the SDK reads them. */
import type { IncomingHttpHeaders } from "node:http";

export class Headers implements Iterable<[string, string]> {
  readonly #values: Map<string, string>;

  constructor(headers: IncomingHttpHeaders) {
    this.#values = new Map(
      Object.entries(headers).flatMap(([name, value]) => {
        const first = Array.isArray(value) ? value[0] : value;
        return first === undefined ? [] : [[name.toLowerCase(), first] as const];
      }),
    );
  }

  get(name: string): string | undefined {
    return this.#values.get(name.toLowerCase());
  }

  has(name: string): boolean {
    return this.#values.has(name.toLowerCase());
  }

  set(name: string, value: string | number | boolean): void {
    this.#values.set(name.toLowerCase(), String(value));
  }

  delete(name: string): void {
    this.#values.delete(name.toLowerCase());
  }

  toJSON(): Record<string, string> {
    return Object.fromEntries(this.#values);
  }

  [Symbol.iterator](): Iterator<[string, string]> {
    return this.#values[Symbol.iterator]();
  }
}
