/** Lines of the client that wait for a server, in their order. Copies: a chunk that a line lies in may be large. */
import { errorResponse } from "./error-response.ts";
import { Line } from "./line.ts";
import { keyOf } from "./message-id.ts";

interface Held {
  readonly line: Line;
  /** Raw JSON; of a request. */
  readonly id?: string;
  /** Ms on a steady clock. */
  readonly since: number;
}

export class HeldLines {
  #held: Held[] = [];
  #bytes = 0;

  add(line: Line, id: string | undefined, now: number): void {
    const copy = Buffer.from(line.bytes);
    this.#held.push({ line: new Line([], copy), since: now, ...(id !== undefined && { id }) });
    this.#bytes += copy.length;
  }

  /** Hands all of them over. */
  take(): readonly Line[] {
    return this.#clear().map(({ line }) => line);
  }

  has(id: string): boolean {
    return this.#held.some((held) => held.id !== undefined && keyOf(held.id) === keyOf(id));
  }

  /** Drops a request that its client no longer wants; false if it is not here. */
  drop(id: string): boolean {
    const at = this.#held.findIndex((held) => held.id !== undefined && keyOf(held.id) === keyOf(id));
    const [dropped] = at < 0 ? [] : this.#held.splice(at, 1);
    this.#bytes -= dropped?.line.bytes.length ?? 0;
    return dropped !== undefined;
  }

  /** An error for each request that has waited since before `since`; the others stay. */
  refuse(reason: string, since: number): readonly Buffer[] {
    const late = (held: Held) => held.id !== undefined && held.since <= since;
    const errors = this.#held.filter(late).map(({ id = "", line }) => {
      this.#bytes -= line.bytes.length;
      return errorResponse(id, reason);
    });
    this.#held = this.#held.filter((held) => !late(held));
    return errors;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get requests(): number {
    return this.#held.filter(({ id }) => id !== undefined).length;
  }

  #clear(): readonly Held[] {
    const held = this.#held;
    this.#held = [];
    this.#bytes = 0;
    return held;
  }
}
