/**
 * One request and its answer over HTTP: TLS always verified, no redirect followed, no proxy, the answer bounded in size
 * and time. Whatever the server does is an outcome; only the caller's own abort rejects.
 */
import http from "node:http";
import https from "node:https";
import type { Clock } from "../../src/clock.ts";
import { systemErrorCode } from "../../src/errors.ts";

const MAX_ANSWER_BYTES = 8 * 1024 * 1024;
/** Shorter than the time after which servers close an idle connection, so that no request meets a closing one. */
const IDLE_MS = 4_000;
const CONNECTIONS = 10;
/** Ms for one request from its start to the last byte of the answer; the caller's signal mostly comes first. */
const EXCHANGE_MS = 30_000;

export interface Exchange {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: object;
}

export type Outcome = Answer | NoAnswer;

export interface Answer {
  readonly type: "answer";
  readonly status: number;
  /** The body if it is a JSON object. */
  readonly json: Readonly<Record<string, unknown>> | undefined;
  /** The media type that the server named. */
  readonly contentType: string;
  /** Ms, where the server said when to come back. */
  readonly retryAfterMs: number | undefined;
}

export interface NoAnswer {
  readonly type: "no-answer";
  /** A system or TLS error's code, or `TIMEOUT`, `TOO_LARGE`. */
  readonly code: string;
}

export class Connection {
  readonly #agent: http.Agent;
  readonly #clock: Clock;
  readonly #closing = new AbortController();

  /** @param ca PEM of the only authority to be trusted; undefined for those that Node trusts */
  constructor(isEncrypted: boolean, ca: string | undefined, clock: Clock) {
    const options = { keepAlive: true, maxSockets: CONNECTIONS, timeout: IDLE_MS };
    // Spelled out, since NODE_TLS_REJECT_UNAUTHORIZED would change the default.
    this.#agent = isEncrypted
      ? new https.Agent({ ...options, rejectUnauthorized: true, ...(ca !== undefined && { ca }) })
      : new http.Agent(options);
    this.#clock = clock;
  }

  /** Rejects with the signal's reason when that is aborted. */
  async send(exchange: Exchange, signal: AbortSignal): Promise<Outcome> {
    signal.throwIfAborted();
    const limit = new AbortController();
    const timer = this.#clock.after(EXCHANGE_MS, () => limit.abort());
    try {
      return await this.#exchange(exchange, AbortSignal.any([signal, limit.signal, this.#closing.signal]));
    } catch (error) {
      signal.throwIfAborted();
      const code = limit.signal.aborted ? "TIMEOUT" : this.#closing.signal.aborted ? "CLOSED" : undefined;
      return { type: "no-answer", code: code ?? systemErrorCode(error) ?? "UNKNOWN" };
    } finally {
      timer.cancel();
    }
  }

  /** Ends what is under way, and the idle connections. */
  close(): void {
    this.#closing.abort();
    this.#agent.destroy();
  }

  #exchange({ method, url, headers, body }: Exchange, signal: AbortSignal): Promise<Answer> {
    const { request } = url.startsWith("https:") ? https : http;
    const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    return new Promise((resolve, reject) => {
      const sent = request(
        url,
        {
          method,
          agent: this.#agent,
          signal,
          headers: {
            accept: "application/json",
            ...(payload && { "content-type": "application/json", "content-length": payload.length }),
          },
        },
        (response) => {
          const chunks: Buffer[] = [];
          let size = 0;
          response.on("data", (chunk: Buffer) => {
            size += chunk.length;
            if (size > MAX_ANSWER_BYTES) response.destroy(Object.assign(new Error(), { code: "TOO_LARGE" }));
            else chunks.push(chunk);
          });
          response.on("error", reject);
          // Without its end, an answer that was cut off says so on no other event.
          response.on("close", () => reject(Object.assign(new Error(), { code: "ECONNRESET" })));
          response.on("end", () => {
            if (response.complete) resolve(answerOf(response, Buffer.concat(chunks)));
          });
        },
      );
      // Not among the options above, which Node prints under NODE_DEBUG=http.
      for (const [name, value] of Object.entries(headers)) sent.setHeader(name, value);
      sent.on("error", reject);
      sent.end(payload);
    });
  }
}

function answerOf(response: http.IncomingMessage, body: Buffer): Answer {
  const { "content-type": contentType = "", "retry-after": retryAfter } = response.headers;
  return {
    type: "answer",
    status: response.statusCode ?? 0,
    json: objectIn(body.toString()),
    contentType: contentType.split(";")[0]?.trim().toLowerCase() ?? "",
    retryAfterMs: retryAfter && /^\d{1,6}$/.test(retryAfter) ? Number(retryAfter) * 1000 : undefined,
  };
}

function objectIn(text: string): Answer["json"] {
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : undefined;
  } catch {
    // Whatever else it is, it is no answer of Vault; the status says the rest.
    return undefined;
  }
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
