/**
 * Which requests of the client the server still owes an answer: who stops a server waits for them, and who
 * finds it dead answers them. A `subscriptions/listen` never ends and never counts, nor does what the client
 * has cancelled. At most 100,000 requests are remembered; what comes while so many are open does not count.
 */
import { batchMembers } from "./batch.ts";
import type { Line } from "./line.ts";
import { at, messageOf } from "./message.ts";
import { keyIn, keyOf, twinOf } from "./message-id.ts";

export const MAX_UNANSWERED = 100_000;

export interface ClientRequest {
  /** Raw JSON, as it has to stand in the answer. */
  readonly id: string;
  readonly method: string;
}

export class RequestLedger {
  /** In the order in which they came. */
  readonly #open = new Map<string, ClientRequest>();
  readonly #onIdle: (() => void) | undefined;
  #hasAnswered = false;

  /** `onIdle` is called each time the last unanswered request is answered or cancelled. */
  constructor(options: { readonly onIdle?: () => void } = {}) {
    this.#onIdle = options.onIdle;
  }

  /** To be called before the line goes to the server. */
  clientSaid(line: Line): void {
    const { envelope } = line;
    if (envelope.type === "request") {
      if (envelope.method === "subscriptions/listen" || this.#open.size >= MAX_UNANSWERED) return;
      this.#open.set(keyOf(envelope.id), envelope);
    } else if (envelope.type === "notification" && envelope.method === "notifications/cancelled") {
      this.#forget(cancelledId(line.bytes));
    } else if (envelope.type === "batch") {
      for (const member of batchMembers(line.bytes)) this.clientSaid(member);
    }
  }

  serverSaid(line: Line): void {
    const { envelope } = line;
    if (envelope.type === "response") this.answered(envelope.id);
    else if (envelope.type === "batch")
      for (const member of batchMembers(line.bytes)) this.serverSaid(member);
  }

  /** The same for an answer whose line was too long to be relayed. Gives the request that it answers. */
  answered(id: string): ClientRequest | undefined {
    const request = this.#forget(id);
    if (request) this.#hasAnswered = true;
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
