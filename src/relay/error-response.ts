/** What mcp-run itself tells a client, in place of a server that can't. */
import type { OverlongLine } from "./line.ts";
import type { LineSink } from "./line-sink.ts";

/** JSON-RPC «internal error»; MCP reserves codes of its own, so answers we make up use this one. */
const INTERNAL_ERROR = -32603;

/** JSON-RPC «method not found»: what a server says that does not know a probe. */
export const METHOD_NOT_FOUND = -32601;

/** One line with its newline. `id` is raw JSON, as `readEnvelope` gives it; `message` is plain text. */
export function errorResponse(id: string, message: string, code = INTERNAL_ERROR): Buffer {
  const error = JSON.stringify({ code, message });
  return Buffer.from(`{"jsonrpc":"2.0","id":${id},"error":${error}}\n`);
}

/** Tells the client that nobody waits any more for its answer to this request of a server. */
export function withdrawal(id: string): Buffer {
  const params = `{"requestId":${id},"reason":"the server was restarted"}`;
  return Buffer.from(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":${params}}\n`);
}

/**
 * Keeps both sides from waiting for a line that was discarded: a request is answered to who sent it, and
 * in place of an answer its receiver gets an error. Anything else is nobody's to wait for.
 */
export function answerOverlong(
  line: OverlongLine,
  maxLineBytes: number,
  sinks: { readonly toSender: LineSink; readonly toReceiver: LineSink },
): void {
  const { envelope, length } = line;
  if (envelope.type !== "request" && envelope.type !== "response") return;
  const sink = envelope.type === "request" ? sinks.toSender : sinks.toReceiver;
  const message = `message of ${length} bytes exceeds the limit of ${maxLineBytes}`;
  sink.write([errorResponse(envelope.id, message)]);
}
