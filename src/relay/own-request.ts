/** Requests of our own to a server, in the middle of a client's session: sent, waited for, and never left behind. */
import { type Clock, untilAborted, withDeadline } from "../clock.ts";
import { type JsonObject, messageOf } from "./message.ts";
import { keyOf } from "./message-id.ts";
import type { Session } from "./session.ts";

/** A way to one server. */
export interface ServerLine {
  readonly number: number;
  /** Whole lines. */
  send(bytes: Buffer): void;
  /** Aborted with the reason when the server has gone. */
  readonly gone: AbortSignal;
}

export interface OwnRequestOptions {
  readonly session: Session;
  readonly clock: Clock;
  /** Ms for each answer. */
  readonly timeoutMs: number;
}

export class NoAnswerError extends Error {
  override readonly name = "NoAnswerError";
}

let count = 0;

/** Asks on our own account; `params` as an object. Rejects with NoAnswerError, or the reason why the server went. */
export function askServer(
  server: ServerLine,
  method: string,
  params: object,
  options: OwnRequestOptions,
): Promise<JsonObject> {
  const id = JSON.stringify(`mcp-run-own-${++count}`);
  const line = Buffer.from(
    `{"jsonrpc":"2.0","id":${id},"method":"${method}","params":${JSON.stringify(params)}}\n`,
  );
  return sendAndWait(server, id, line, options);
}

/** Sends a request as it is, and takes its answer. `id` is its raw id, which nothing else to this server may have. */
export async function sendAndWait(
  server: ServerLine,
  id: string,
  line: Buffer,
  { session, clock, timeoutMs }: OwnRequestOptions,
): Promise<JsonObject> {
  const answer = new Promise<JsonObject>((resolve) => {
    session.expect(server.number, id, ({ bytes }) => resolve(messageOf(bytes)));
  });
  server.send(line);
  try {
    return await untilAborted(
      server.gone,
      withDeadline(
        clock,
        timeoutMs,
        answer,
        () => new NoAnswerError(`no answer within ${timeoutMs / 1000} s`),
      ),
    );
  } finally {
    session.forgetExpected(server.number, keyOf(id));
  }
}
