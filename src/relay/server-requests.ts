/**
 * What servers have asked the client (`sampling/createMessage`, `elicitation/create`, `roots/list`) and not heard
 * yet. Every server counts its ids and progress tokens from 0, so those of the first generation pass as they
 * are, and those of each later one get a name of our own, which is put back in what the client answers.
 */

import { rawValue, withRawValue } from "./json-span.ts";
import type { Line } from "./line.ts";
import { keyIn, keyOf } from "./message-id.ts";

const ID = ["id"];
const TOKEN = ["params", "_meta", "progressToken"];
const REQUEST_ID = ["params", "requestId"];
const PROGRESS_TOKEN = ["params", "progressToken"];

/** Where a line of the client has to go, and its bytes as that generation has to hear them. */
export interface Addressed {
  readonly generation: number;
  readonly bytes: Buffer;
}

interface Asked {
  readonly generation: number;
  /** Raw JSON, as the server wrote it. */
  readonly ownId: string;
  /** Raw JSON, as the client knows it. */
  readonly id: string;
  /** The key of the progress token that the client got with it. */
  readonly token?: string;
}

export class ServerRequests {
  /** By the key of the id that the client knows. */
  readonly #open = new Map<string, Asked>();
  /** By the key of the token that the client knows: the generation's own token. */
  readonly #tokens = new Map<string, { readonly generation: number; readonly own: string }>();
  #count = 0;

  /** A request of a server: its bytes as the client has to hear them. `id` is its raw id. */
  asked(generation: number, id: string, bytes: Buffer): Buffer {
    const own = rawValue(bytes, TOKEN);
    if (generation === 1) {
      this.#note({ generation, ownId: id, id }, own, own);
      return bytes;
    }
    const name = JSON.stringify(`mcp-run-${generation}-${++this.#count}`);
    this.#note({ generation, ownId: id, id: name }, own, own && name);
    const renamed = withRawValue(bytes, ID, name);
    return own === undefined ? renamed : withRawValue(renamed, TOKEN, name);
  }

  /** The client's answer; undefined if nobody waits for it. */
  answered(id: string, line: Line): Addressed | undefined {
    const key = keyIn(this.#open, id);
    const asked = key === undefined ? undefined : this.#open.get(key);
    if (key === undefined || !asked) return undefined;
    this.#forget(key, asked);
    const { generation, ownId } = asked;
    return { generation, bytes: generation === 1 ? line.bytes : withRawValue(line.bytes, ID, ownId) };
  }

  /** The client's progress on a request of a server; undefined if that request is over. */
  progressed(line: Line): Addressed | undefined {
    const token = rawValue(line.bytes, PROGRESS_TOKEN);
    const key = token === undefined ? undefined : keyIn(this.#tokens, token);
    const found = key === undefined ? undefined : this.#tokens.get(key);
    if (!found) return undefined;
    return { generation: found.generation, bytes: withRawValue(line.bytes, PROGRESS_TOKEN, found.own) };
  }

  /** A server no longer wants an answer: the bytes for the client; undefined if it had not asked that. */
  withdrawn(generation: number, bytes: Buffer): Buffer | undefined {
    const own = rawValue(bytes, REQUEST_ID);
    if (own === undefined) return undefined;
    for (const [key, asked] of this.#open) {
      if (asked.generation !== generation || keyOf(asked.ownId) !== keyOf(own)) continue;
      this.#forget(key, asked);
      return generation === 1 ? bytes : withRawValue(bytes, REQUEST_ID, asked.id);
    }
    return undefined;
  }

  /** Nobody of this generation waits any more: the raw ids, as the client knows them. */
  abandon(generation: number): readonly string[] {
    const dead = [...this.#open].filter(([, asked]) => asked.generation === generation);
    for (const [key, asked] of dead) this.#forget(key, asked);
    return dead.map(([, { id }]) => id);
  }

  get size(): number {
    return this.#open.size;
  }

  #note(asked: Asked, own: string | undefined, shown: string | undefined): void {
    const token = shown === undefined ? undefined : keyOf(shown);
    if (own !== undefined && token !== undefined) {
      this.#tokens.set(token, { generation: asked.generation, own });
    }
    this.#open.set(keyOf(asked.id), { ...asked, ...(token !== undefined && { token }) });
  }

  #forget(key: string, { token }: Asked): void {
    this.#open.delete(key);
    if (token !== undefined) this.#tokens.delete(token);
  }
}
