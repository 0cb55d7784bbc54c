/**
 * Which requests of the client the server still owes an answer: who stops a server waits for them, and who
 * finds it dead answers them. A `subscriptions/listen` never ends and never counts, nor does what the client
 * has cancelled. At most 100,000 requests are remembered; what comes while so many are open does not count.
 */
import { batchMembers } from "./batch.ts";
import type { CallWatch } from "./calls.ts";
import type { Line } from "./line.ts";
import { at, messageOf } from "./message.ts";
import { keyIn, keyOf, twinOf } from "./message-id.ts";

export const MAX_UNANSWERED = 100_000;

export interface ClientRequest {
  /** Raw JSON, as it has to stand in the answer. */
  readonly id: string;
  readonly method: string;
}

export interface LedgerOptions {
  readonly onIdle?: () => void;
  readonly calls?: CallWatch | undefined;
  readonly generation?: number;
}

export class RequestLedger {
  /** In the order in which they came. */
  readonly #open = new Map<string, ClientRequest>();
  readonly #onIdle: (() => void) | undefined;
  readonly #calls: CallWatch | undefined;
  readonly #generation: number;
  #hasAnswered = false;

  /**
   * `onIdle` is called each time the last unanswered request is answered or cancelled; `calls` is told of what becomes
   * of the tool calls of this `generation`.
   */
  constructor({ onIdle, calls, generation = 0 }: LedgerOptions = {}) {
    this.#onIdle = onIdle;
    this.#calls = calls;
    this.#generation = generation;
  }

  /** To be called before the line goes to the server. */
  clientSaid(line: Line): void {
    const { envelope } = line;
    if (envelope.type === "request") {
      if (envelope.method === "subscriptions/listen" || this.#open.size >= MAX_UNANSWERED) return;
      const key = keyOf(envelope.id);
      const before = this.#open.get(key);
      if (before) this.#calls?.lost(before);
      this.#open.set(key, envelope);
      this.#calls?.began(envelope, line, this.#generation);
    } else if (envelope.type === "notification" && envelope.method === "notifications/cancelled") {
      const request = this.#forget(cancelledId(line.bytes));
      if (request) this.#calls?.cancelled(request);
    } else if (envelope.type === "batch") {
      for (const member of batchMembers(line.bytes)) this.clientSaid(member);
    }
  }

  serverSaid(line: Line): void {
    const { envelope } = line;
    if (envelope.type === "response") this.answered(envelope.id, line);
    else if (envelope.type === "batch")
      for (const member of batchMembers(line.bytes)) this.serverSaid(member);
  }

  /** Gives the request that it answers. `line` is absent where it was too long to be relayed. */
  answered(id: string, line?: Line): ClientRequest | undefined {
    const request = this.#forget(id);
    if (!request) return undefined;
    this.#hasAnswered = true;
    this.#calls?.answered(request, line);
    return request;
  }

  /** The request, while it is unanswered. */
  get(id: string): ClientRequest | undefined {
    const key = keyIn(this.#open, id);
    return key === undefined ? undefined : this.#open.get(key);
  }

  /** True once the server has answered any request of the client, be it with an error. */
  get hasAnswered(): boolean {
    return this.#hasAnswered;
  }

  get unanswered(): number {
    return this.#open.size;
  }

  /** The unanswered requests, oldest first. */
  get requests(): readonly ClientRequest[] {
    return Array.from(this.#open.values(), ({ id, method }) => ({ id, method }));
  }

  /** Hands the unanswered requests over to who will answer them; they count no longer. */
  takeUnanswered(): readonly ClientRequest[] {
    const { requests } = this;
    if (this.#calls) for (const request of this.#open.values()) this.#calls.lost(request);
    this.#open.clear();
    return requests;
  }

  #forget(id: string | undefined): ClientRequest | undefined {
    if (id === undefined || this.#open.size === 0) return undefined;
    let key = keyOf(id);
    let request = this.#open.get(key);
    if (!request) {
      key = twinOf(key);
      request = this.#open.get(key);
      if (!request) return undefined;
    }
    this.#open.delete(key);
    if (this.#open.size === 0) this.#onIdle?.();
    return request;
  }
}

/** The `requestId` of a `notifications/cancelled`, as raw JSON; the scanner has not looked into `params`. */
function cancelledId(line: Buffer): string | undefined {
  const id = at(messageOf(line), "params", "requestId");
  return typeof id === "string" || typeof id === "number" ? JSON.stringify(id) : undefined;
}
