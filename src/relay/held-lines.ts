/** Lines of the client that wait for a server, in their order. Copies: a chunk that a line lies in may be large. */
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

  /** Drops the requests that have waited since before `since`, and gives their raw ids; the others stay. */
  dropLate(since: number): readonly string[] {
    const late = this.#held.flatMap(({ id, since: heldSince }) =>
      id !== undefined && heldSince <= since ? [id] : [],
    );
    for (const id of late) this.drop(id);
    return late;
  }

  get bytes(): number {
    return this.#bytes;
  }

  #clear(): readonly Held[] {
    const held = this.#held;
    this.#held = [];
    this.#bytes = 0;
    return held;
  }
}
