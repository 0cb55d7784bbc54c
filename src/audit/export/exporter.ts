/**
 * Sends each record of the audit, and figures once a minute, to a receiver that speaks OTLP, through the SDK of
 * OpenTelemetry. Who tells something is never held up: queues are bounded, what does not fit is counted, and the end
 * waits for a second. What fails is told once. No variable of the environment is read: the profile says all of it.
 */
import { DiagLogLevel, diag } from "@opentelemetry/api";
import { ExportResultCode, setGlobalErrorHandler } from "@opentelemetry/core";
import {
  createOtlpNetworkExportDelegate,
  ExporterMetrics,
  OTLPExporterBase,
} from "@opentelemetry/otlp-exporter-base";
import {
  type IExporterMetricsHelper,
  type ISerializer,
  JsonLogsSerializer,
  JsonMetricsSerializer,
  LogsExporterMetricsHelper,
  MetricsExporterMetricsHelper,
} from "@opentelemetry/otlp-transformer";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchLogRecordProcessor, LoggerProvider } from "@opentelemetry/sdk-logs";
import { MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import { settledWithin } from "../../clock.ts";
import type { AuditEntry } from "../record.ts";
import { figures, type Observed } from "./figures.ts";
import { logRecordOf } from "./log-record.ts";
import { refusedIn } from "./partial-success.ts";
import { asFailure, ExportFailure, OtlpTransport, type TransportOptions } from "./transport.ts";

/** Ms that the end of a process may wait for its last records and figures, and then for what is given up. */
const CLOSE_MS = 900;
const GIVE_UP_MS = 100;
/** Ms for one batch, with all of its tries. */
const SEND_MS = 10_000;
const FIGURES_EVERY_MS = 60_000;
const BATCH_EVERY_MS = 1_000;
const MOST_WAITING = 2_048;
const BATCH_RECORDS = 512;
/** Characters of what the SDK says of itself. */
const MOST_WORDS = 200;

export interface ExporterOptions extends Pick<TransportOptions, "headers" | "clock"> {
  /** The base address, without a slash at its end. */
  readonly otlp: string;
  /** Of mcp-run. */
  readonly version: string;
  /** Who sends; names of OpenTelemetry's conventions. */
  readonly resource: Readonly<Record<string, string | number>>;
  readonly observe: () => Observed;
  /** Called once, at the first failure. */
  readonly onTrouble: (failure: ExportFailure) => void;
}

export class AuditExporter {
  readonly #options: ExporterOptions;
  /** Aborted: what is under way is given up. */
  readonly #over = new AbortController();
  readonly #logs: LoggerProvider;
  readonly #logger: ReturnType<LoggerProvider["getLogger"]>;
  readonly #meters: MeterProvider;
  readonly #count: (entry: AuditEntry) => void;
  #handed = 0;
  #delivered = 0;
  #isInTrouble = false;

  constructor(options: ExporterOptions) {
    this.#options = options;
    const { version, resource: attributes, observe } = options;
    this.#listenToSdk();
    const resource = resourceFromAttributes(attributes);
    const logs = this.#exporter("logs", JsonLogsSerializer, LogsExporterMetricsHelper, (records, refused) => {
      this.#delivered += Math.max(0, records.length - refused);
    });
    const metrics = this.#exporter("metrics", JsonMetricsSerializer, MetricsExporterMetricsHelper);
    const processor = new BatchLogRecordProcessor({
      exporter: logs,
      maxQueueSize: MOST_WAITING,
      maxExportBatchSize: BATCH_RECORDS,
      scheduledDelayMillis: BATCH_EVERY_MS,
      exportTimeoutMillis: 2 * SEND_MS,
    });
    const reader = new PeriodicExportingMetricReader({
      exporter: metrics,
      exportIntervalMillis: FIGURES_EVERY_MS,
      exportTimeoutMillis: 2 * SEND_MS,
    });
    this.#logs = new LoggerProvider({ resource, processors: [processor] });
    this.#logger = this.#logs.getLogger("mcp-run", version);
    this.#meters = new MeterProvider({ resource, readers: [reader] });
    this.#count = figures(this.#meters.getMeter("mcp-run", version), observe);
  }

  /** Never throws, and returns at once. */
  record(entry: AuditEntry, at: number): void {
    this.#handed++;
    this.#count(entry);
    this.#logger.emit(logRecordOf(entry, at));
  }

  /** Resolves with the number of records that nobody got. Bounded; never rejects. */
  async close(): Promise<number> {
    const ended = Promise.all([this.#logs.shutdown(), this.#meters.shutdown()]).catch((error: unknown) =>
      this.#tell(asFailure(error)),
    );
    await settledWithin(this.#options.clock, CLOSE_MS, ended);
    this.#over.abort(new ExportFailure("it did not answer before the end of mcp-run"));
    await settledWithin(this.#options.clock, GIVE_UP_MS, ended);
    return this.#handed - this.#delivered;
  }

  /** @param onDelivered how many of them were refused all the same */
  #exporter<T extends object>(
    kind: "logs" | "metrics",
    serializer: Pick<ISerializer<T, unknown>, "serializeRequest">,
    metricsHelper: IExporterMetricsHelper<T>,
    onDelivered: (items: T, refused: number) => void = () => undefined,
  ): OTLPExporterBase<T> {
    const { otlp, headers, clock } = this.#options;
    const transport = new OtlpTransport({
      url: `${otlp}/v1/${kind}`,
      headers,
      clock,
      signal: this.#over.signal,
    });
    let refused = 0;
    const delegate = createOtlpNetworkExportDelegate<T, object>(
      { timeoutMillis: SEND_MS, concurrencyLimit: 2, compression: "none" },
      {
        serializeRequest: (items) => serializer.serializeRequest(items),
        // The SDK would repeat what a receiver says.
        deserializeResponse: (answer) => {
          refused = this.#refusedIn(answer);
          return {};
        },
      },
      new ExporterMetrics({
        componentType: `otlp_http_json_${kind}_exporter`,
        metricsHelper,
        url: undefined,
        meterProvider: undefined,
        responseAttributesFromError: () => ({}),
      }),
      transport,
    );
    return new OTLPExporterBase({
      export: (items: T, done) =>
        delegate.export(items, (result) => {
          if (result.code === ExportResultCode.SUCCESS) onDelivered(items, refused);
          else this.#tell(asFailure(result.error));
          done(result);
        }),
      forceFlush: () => delegate.forceFlush(),
      shutdown: () => delegate.shutdown(),
      setMetrics: () => undefined,
    });
  }

  #refusedIn(answer: Uint8Array): number {
    const refused = refusedIn(answer);
    if (refused === undefined) this.#tell(new ExportFailure("its answer is not one of OTLP"));
    else if (refused > 0) this.#tell(new ExportFailure("it has refused a part"));
    return refused ?? 0;
  }

  /** What the SDK has to say of itself; where something could not be sent, that is told before. */
  #listenToSdk(): void {
    const say = (...words: readonly unknown[]) => {
      const text = words.filter((word) => typeof word === "string").join(" ");
      this.#tell(new ExportFailure(text.slice(0, MOST_WORDS)));
    };
    const nothing = () => undefined;
    diag.setLogger(
      { error: say, warn: say, info: nothing, debug: nothing, verbose: nothing },
      { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
    );
    setGlobalErrorHandler((error) => this.#tell(asFailure(error)));
  }

  #tell(failure: ExportFailure): void {
    if (this.#isInTrouble) return;
    this.#isInTrouble = true;
    this.#options.onTrouble(failure);
  }
}
