/** What is counted of what happens: instruments and their attributes, by names that stay. docs/telemetry.md lists them. */
import type { Attributes, Meter } from "@opentelemetry/api";
import type { AuditEntry } from "../record.ts";

/** What is looked at when figures are collected. */
export interface Observed {
  /** Values that were masked so far. */
  readonly scrubbed: number;
  readonly secrets: readonly {
    readonly name: string;
    readonly ageMs?: number | undefined;
    readonly maxAgeMs?: number | undefined;
  }[];
}

/** Seconds; OpenTelemetry's conventions for MCP. */
const CALL_BUCKETS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300];

/** Returns what counts a record. */
export function figures(meter: Meter, observe: () => Observed): (entry: AuditEntry) => void {
  const counter = (name: string, unit: string, description: string) =>
    meter.createCounter(`mcp_run.${name}`, { unit, description });
  const counters = {
    launch: counter("launches", "{launch}", "Programs that were started."),
    swap: counter("swaps", "{swap}", "Servers that have taken over with other secrets."),
    restart: counter("restarts", "{restart}", "Servers that were started again after one had ended."),
    refresh: counter("refreshes", "{look}", "Looks at the secrets that went well."),
    "refresh-failed": counter("refresh.failures", "{failure}", "Looks that began to fail."),
    leak: counter("leaks", "{message}", "Secrets that a server told its client, once for each method."),
    denied: counter("denials", "{denial}", "Accesses that were refused."),
    "start-failed": counter("start.failures", "{failure}", "Programs that could not be started."),
    rotation: counter("rotations", "{rotation}", "Rotations that have ended."),
  };
  const duration = meter.createHistogram("mcp.server.operation.duration", {
    unit: "s",
    description: "How long tool calls took, from when the server got them.",
    advice: { explicitBucketBoundaries: CALL_BUCKETS },
  });
  const scrubbed = meter.createObservableCounter("mcp_run.scrubbed", {
    unit: "{value}",
    description: "Values that were masked on stderr.",
  });
  const age = meter.createObservableGauge("mcp_run.secret.age", {
    unit: "s",
    description: "How old the version of a secret is.",
  });
  const maxAge = meter.createObservableGauge("mcp_run.secret.max_age", {
    unit: "s",
    description: "How old it may be.",
  });
  meter.addBatchObservableCallback(
    (result) => {
      const now = observe();
      result.observe(scrubbed, now.scrubbed);
      for (const { name, ageMs, maxAgeMs } of now.secrets) {
        const attributes = { "mcp_run.secret.name": name };
        if (ageMs !== undefined) result.observe(age, ageMs / 1_000, attributes);
        if (maxAgeMs !== undefined) result.observe(maxAge, maxAgeMs / 1_000, attributes);
      }
    },
    [scrubbed, age, maxAge],
  );

  return (entry) => {
    if (entry.event === "call") {
      const { tool, ms } = entry;
      duration.record(ms / 1_000, {
        "mcp.method.name": "tools/call",
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": tool,
        ...errorType(entry),
      });
    } else if (entry.event === "rotation") {
      if (entry.step === "end") counters.rotation.add(1, { "mcp_run.state": entry.state });
    } else if (isCounted(entry, counters)) counters[entry.event].add(1, attributesOf(entry));
  };
}

type Counted =
  | "launch"
  | "swap"
  | "restart"
  | "refresh"
  | "refresh-failed"
  | "leak"
  | "denied"
  | "start-failed";

function isCounted(
  entry: AuditEntry,
  counters: object,
): entry is Extract<AuditEntry, { readonly event: Counted }> {
  return Object.hasOwn(counters, entry.event);
}

function attributesOf(entry: Extract<AuditEntry, { readonly event: Counted }>): Attributes {
  switch (entry.event) {
    case "launch":
      return { "mcp_run.mode": entry.mode };
    case "denied":
      return { "mcp_run.during": entry.during };
    case "start-failed":
      return { "error.type": entry.code };
    case "leak":
      return { "mcp_run.masked": entry.isMasked };
    default:
      return {};
  }
}

/** As the conventions have it: a JSON-RPC error goes by its code, a result that is an error by `tool_error`. */
function errorType({ outcome, code }: Extract<AuditEntry, { readonly event: "call" }>): Attributes {
  if (outcome === "ok") return {};
  if (outcome === "tool-error") return { "error.type": "tool_error" };
  if (outcome !== "error") return { "error.type": outcome };
  const status = code === undefined ? {} : { "rpc.response.status_code": String(code) };
  return { "error.type": code === undefined ? "error" : String(code), ...status };
}
