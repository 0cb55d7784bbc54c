/**
 * Posts what is exported: TLS verified, no redirect followed, an answer bounded, tried again where OTLP says so, and
 * never longer than it is told to. Its failures are worded here: what a receiver or a system says is not repeated.
 * OTLP specification, OTLP/HTTP: failures and retries.
 */
import http from "node:http";
import https from "node:https";
import type { ExportResponse, IExporterTransport } from "@opentelemetry/otlp-exporter-base";
import { type Clock, pause, untilAborted } from "../../clock.ts";
import { systemErrorCode } from "../../errors.ts";

const MOST_ANSWER_BYTES = 1_048_576;
const RETRYABLE = new Set([429, 502, 503, 504]);
/** ECONNREFUSED, EAI_AGAIN; not what TLS or Node itself objects to, which stays as it is. */
const IS_OF_NETWORK = /^E(?!RR_)[A-Z_]+$/;
const FIRST_PAUSE_MS = 500;
const MOST_PAUSE_MS = 5_000;

export interface TransportOptions {
  readonly url: string;
  /** Rejects with an ExportFailure if something for them is missing. */
  headers(): Promise<Readonly<Record<string, string>>>;
  readonly clock: Clock;
  /** Aborted: whatever is under way is given up. */
  readonly signal: AbortSignal;
}

/** Why something could not be sent; the message is a state, and holds nobody else's words. */
export class ExportFailure extends Error {
  override readonly name = "ExportFailure";
  /** Of HTTP. */
  readonly status: number | undefined;

  constructor(state: string, status?: number) {
    super(state);
    this.status = status;
  }
}

/** Why the last try failed, which says more than that there was no time for another. */
interface Before {
  failure?: ExportFailure;
}

interface Answer {
  readonly status: number;
  readonly retryAfter: string | undefined;
  readonly body: Uint8Array;
}

export class OtlpTransport implements IExporterTransport {
  readonly #options: TransportOptions;
  readonly #url: URL;
  readonly #agent: http.Agent;

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#url = new URL(options.url);
    const settings = { keepAlive: true, maxSockets: 2 };
    // Spelled out, since NODE_TLS_REJECT_UNAUTHORIZED would change the default.
    this.#agent =
      this.#url.protocol === "http:"
        ? new http.Agent(settings)
        : new https.Agent({ ...settings, rejectUnauthorized: true });
  }

  /** Never rejects. */
  async send(data: Uint8Array, timeoutMs: number): Promise<ExportResponse> {
    const { clock, signal } = this.#options;
    const before: Before = {};
    const over = new AbortController();
    // Not AbortSignal.any: of each signal that it makes, `signal` would keep a trace for as long as mcp-run runs.
    const giveUp = () => over.abort(signal.reason);
    if (signal.aborted) giveUp();
    signal.addEventListener("abort", giveUp);
    const overdue = () => over.abort(new ExportFailure("it did not answer in time"));
    const timer = clock.after(timeoutMs, overdue, { background: true });
    try {
      return await this.#sendUntil(data, over.signal, before);
    } catch (error) {
      const why = over.signal.aborted ? (before.failure ?? over.signal.reason) : error;
      return { status: "failure", error: asFailure(why) };
    } finally {
      timer.cancel();
      signal.removeEventListener("abort", giveUp);
    }
  }

  shutdown(): void {
    this.#agent.destroy();
  }

  async #sendUntil(data: Uint8Array, signal: AbortSignal, before: Before): Promise<ExportResponse> {
    const headers = {
      ...(await untilAborted(signal, this.#options.headers())),
      "content-type": "application/json",
    };
    for (let most = FIRST_PAUSE_MS; ; most = Math.min(2 * most, MOST_PAUSE_MS)) {
      const answer = await this.#post(headers, data, signal).catch((error: unknown) => {
        if (signal.aborted || !IS_OF_NETWORK.test(systemErrorCode(error) ?? "")) throw error;
        before.failure = asFailure(error);
        return undefined;
      });
      if (answer && answer.status < 300) return { status: "success", data: answer.body };
      if (answer) before.failure = new ExportFailure(`HTTP ${answer.status}`, answer.status);
      if (answer && !RETRYABLE.has(answer.status)) throw before.failure;
      await pause(this.#options.clock, pauseMs(answer?.retryAfter, most), signal);
    }
  }

  #post(headers: Record<string, string>, data: Uint8Array, signal: AbortSignal): Promise<Answer> {
    const { request } = this.#url.protocol === "http:" ? http : https;
    return new Promise((resolve, reject) => {
      const sent = request(this.#url, { method: "POST", agent: this.#agent, signal }, (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on("data", (chunk: Buffer) => {
          size += chunk.length;
          if (size <= MOST_ANSWER_BYTES) chunks.push(chunk);
          else response.destroy(new ExportFailure("its answer is far too long"));
        });
        response.on("error", reject);
        response.on("end", () => {
          const { statusCode: status = 0, headers: said } = response;
          resolve({ status, retryAfter: said["retry-after"], body: Buffer.concat(chunks) });
        });
      });
      // Not among the options above, which Node prints under NODE_DEBUG=http.
      for (const [name, value] of Object.entries(headers)) sent.setHeader(name, value);
      sent.on("error", reject);
      sent.end(data);
    });
  }
}

/** Full jitter, unless the receiver says how long. */
function pauseMs(retryAfter: string | undefined, most: number): number {
  if (retryAfter !== undefined && /^\d{1,5}$/.test(retryAfter)) return Number(retryAfter) * 1_000;
  return Math.random() * most;
}

export function asFailure(error: unknown): ExportFailure {
  if (error instanceof ExportFailure) return error;
  const code = systemErrorCode(error);
  return new ExportFailure(code ?? "a bug in mcp-run, or in what it sends with");
}
