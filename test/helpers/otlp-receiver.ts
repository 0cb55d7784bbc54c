/**
 * A receiver of OTLP/HTTP on loopback that takes JSON as the specification has it: the paths, the content type, and
 * protobuf's JSON mapping with OTLP's exceptions (hex ids, enums as numbers, 64-bit numbers as text or numbers). What
 * it takes it keeps, raw and decoded; what it would not take it answers with 400.
 */
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { PrivateCa } from "./private-ca.ts";

type Json = Readonly<Record<string, unknown>>;

export interface ReceivedLog {
  readonly eventName: string;
  readonly severityText: string;
  readonly severityNumber: number;
  readonly body: unknown;
  /** Ms since the epoch. */
  readonly at: number;
  readonly attributes: Json;
  readonly resource: Json;
}

export interface ReceivedPoint {
  readonly name: string;
  readonly unit: string;
  readonly kind: "sum" | "gauge" | "histogram";
  readonly attributes: Json;
  /** The count of a histogram. */
  readonly value: number;
  readonly bounds?: readonly number[];
}

export type AnswerFor = (
  path: string,
) => { readonly status: number; readonly body?: string; readonly headers?: Json } | "never";

export class OtlpReceiver {
  readonly logs: ReceivedLog[] = [];
  /** The points of the last export of each process. */
  points: readonly ReceivedPoint[] = [];
  readonly headers: IncomingHttpHeaders[] = [];
  /** Everything that came, as it came. */
  raw = "";
  requests = 0;
  readonly #server: Server;
  #answer: AnswerFor = () => ({ status: 200, body: "{}" });

  readonly #scheme: "http" | "https";

  private constructor(tls: PrivateCa | undefined) {
    this.#scheme = tls ? "https" : "http";
    const take = (request: IncomingMessage, response: ServerResponse) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("error", () => undefined);
      request.on("end", () => {
        const text = Buffer.concat(chunks).toString("utf8");
        this.requests++;
        this.headers.push(request.headers);
        this.raw += `${JSON.stringify(request.headers)}\n${text}\n`;
        const answer = this.#answer(request.url ?? "");
        if (answer === "never") return;
        const problem =
          answer.status === 200 ? this.#take(request.url ?? "", request.headers, text) : undefined;
        response.writeHead(problem ? 400 : answer.status, {
          "content-type": "application/json",
          ...(answer.headers as Record<string, string> | undefined),
        });
        response.end(problem ?? answer.body ?? "");
      });
    };
    this.#server = tls ? createSecureServer(tls, take) : createServer(take);
  }

  static async start(tls?: PrivateCa): Promise<OtlpReceiver> {
    const receiver = new OtlpReceiver(tls);
    await new Promise<void>((resolve) => receiver.#server.listen(0, "127.0.0.1", resolve));
    return receiver;
  }

  get address(): string {
    return `${this.#scheme}://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** From now on. */
  answerWith(answer: AnswerFor): void {
    this.#answer = answer;
  }

  /** As if nothing had come. */
  forget(): void {
    this.logs.length = 0;
    this.points = [];
    this.headers.length = 0;
    this.raw = "";
    this.requests = 0;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #take(path: string, headers: IncomingHttpHeaders, text: string): string | undefined {
    if (headers["content-type"] !== "application/json") return "content type";
    const message = JSON.parse(text) as Json;
    if (path === "/v1/logs") this.logs.push(...logsIn(message));
    else if (path === "/v1/metrics") this.points = pointsIn(message);
    else return `path ${path}`;
    return undefined;
  }
}

function logsIn(message: Json): readonly ReceivedLog[] {
  return list(message.resourceLogs).flatMap((ofResource) =>
    list(ofResource.scopeLogs).flatMap((ofScope) =>
      list(ofScope.logRecords).map((record) => ({
        eventName: String(record.eventName),
        severityText: String(record.severityText),
        severityNumber: Number(record.severityNumber),
        body: plain(record.body as Json),
        at: Number(BigInt(String(record.timeUnixNano)) / 1_000_000n),
        attributes: attributesOf(record.attributes),
        resource: attributesOf((ofResource.resource as Json).attributes),
      })),
    ),
  );
}

function pointsIn(message: Json): readonly ReceivedPoint[] {
  return list(message.resourceMetrics).flatMap((ofResource) =>
    list(ofResource.scopeMetrics).flatMap((ofScope) =>
      list(ofScope.metrics).flatMap((metric) => {
        const kind = (["sum", "gauge", "histogram"] as const).find((one) => one in metric);
        if (!kind) throw new Error(`metric ${String(metric.name)} has no data`);
        return list((metric[kind] as Json).dataPoints).map((point) => ({
          name: String(metric.name),
          unit: String(metric.unit),
          kind,
          attributes: attributesOf(point.attributes),
          value: Number(point.count ?? point.asInt ?? point.asDouble),
          ...(kind === "histogram" && { bounds: point.explicitBounds as readonly number[] }),
        }));
      }),
    ),
  );
}

function list(value: unknown): readonly Json[] {
  if (!Array.isArray(value)) throw new Error("a list is missing");
  return value;
}

function attributesOf(value: unknown): Json {
  return Object.fromEntries(list(value).map(({ key, value: inner }) => [String(key), plain(inner as Json)]));
}

function plain(value: Json): unknown {
  if ("stringValue" in value) return value.stringValue;
  if ("intValue" in value) return Number(value.intValue);
  if ("doubleValue" in value) return value.doubleValue;
  if ("boolValue" in value) return value.boolValue;
  if ("arrayValue" in value) return list((value.arrayValue as Json).values).map(plain);
  if ("kvlistValue" in value) return attributesOf((value.kvlistValue as Json).values);
  throw new Error(`no value: ${JSON.stringify(value)}`);
}
