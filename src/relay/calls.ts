/**
 * Follows tool calls from the moment a server gets them until its answer: the tool, the time, how it ended. Neither
 * parameters nor results nor ids; of a message only the few values are read that say this. Pure.
 */
import { spanOf } from "./json-span.ts";
import type { Line } from "./line.ts";
import { at, messageOf } from "./message.ts";

export const CALL = "tools/call";

/** Bytes of a tool's name as it is written; a longer one is no name. */
const MOST_NAME_BYTES = 512;
const IS_ERROR = Buffer.from('"isError"');
/** JSON-RPC 2.0: internal error, as mcp-run answers for a server. */
const INTERNAL_ERROR = -32603;

export interface EndedCall {
  /** As the client wrote it; empty where it wrote none. */
  readonly tool: string;
  /**
   * `lost`: its server ended first, or the client gave its id to another request. `cancelled`: by the client.
   * `tool-error`: a result that says so of itself.
   */
  readonly outcome: "ok" | "tool-error" | "error" | "cancelled" | "lost";
  /** Of JSON-RPC, for `error`. */
  readonly code?: number;
  readonly ms: number;
  readonly generation: number;
}

/** A request of the client. */
interface Asked {
  readonly method: string;
}

interface OpenCall {
  readonly tool: string;
  readonly since: number;
  readonly generation: number;
}

export class CallWatch {
  /** By the request itself: its id is somebody else's word. */
  readonly #open = new Map<Asked, OpenCall>();
  readonly #now: () => number;
  readonly #onEnded: (call: EndedCall) => void;

  /** @param now ms on a steady clock */
  constructor(now: () => number, onEnded: (call: EndedCall) => void) {
    this.#now = now;
    this.#onEnded = onEnded;
  }

  /** This generation gets the request now. */
  began(request: Asked, line: Line, generation: number): void {
    if (request.method !== CALL) return;
    this.#open.set(request, { tool: toolIn(line.bytes), since: this.#now(), generation });
  }

  /** @param line undefined for an answer that was too long to be passed on */
  answered(request: Asked, line: Line | undefined): void {
    const call = this.#taken(request);
    if (!call) return;
    this.#end(call, line ? outcomeOf(line) : { outcome: "error", code: INTERNAL_ERROR });
  }

  cancelled(request: Asked): void {
    const call = this.#taken(request);
    if (call) this.#end(call, { outcome: "cancelled" });
  }

  lost(request: Asked): void {
    const call = this.#taken(request);
    if (call) this.#end(call, { outcome: "lost" });
  }

  #taken(request: Asked): OpenCall | undefined {
    const call = this.#open.get(request);
    this.#open.delete(request);
    return call;
  }

  #end({ tool, since, generation }: OpenCall, how: Pick<EndedCall, "outcome" | "code">): void {
    this.#onEnded({ tool, ...how, ms: this.#now() - since, generation });
  }
}

function toolIn(line: Buffer): string {
  const span = spanOf(line, ["params", "name"]);
  if (!span || span.end - span.start > MOST_NAME_BYTES) return "";
  const name = at(messageOf(`{"name":${line.toString("utf8", span.start, span.end)}}`), "name");
  return typeof name === "string" ? name : "";
}

function outcomeOf(line: Line): Pick<EndedCall, "outcome" | "code"> {
  const { bytes, envelope } = line;
  if (envelope.type === "response" && envelope.isError) {
    const span = spanOf(bytes, ["error", "code"]);
    const code = span && Number(bytes.toString("latin1", span.start, Math.min(span.end, span.start + 20)));
    return { outcome: "error", ...(Number.isSafeInteger(code) && { code: code as number }) };
  }
  // Most results don't say it at all, and a native search finds that out.
  if (!bytes.includes(IS_ERROR)) return { outcome: "ok" };
  const span = spanOf(bytes, ["result", "isError"]);
  const isError = span !== undefined && bytes.toString("latin1", span.start, span.end) === "true";
  return { outcome: isError ? "tool-error" : "ok" };
}
