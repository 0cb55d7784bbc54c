/** A record of the audit as OpenTelemetry has it: an event with the same fields. */
import { type AnyValue, type LogRecord, SeverityNumber } from "@opentelemetry/api-logs";
import type { AuditEntry } from "../record.ts";

/** @param at ms since the epoch */
export function logRecordOf(entry: AuditEntry, at: number): LogRecord {
  const { event, ...fields } = entry;
  const severity = severityOf(entry);
  const attributes = Object.entries(fields).map(([key, value]) => [
    `mcp_run.${snake(key)}`,
    value as AnyValue,
  ]);
  return {
    eventName: `mcp_run.${event.replaceAll("-", "_")}`,
    // A number before the start of this process would be taken for one on another clock.
    timestamp: new Date(at),
    severityNumber: SeverityNumber[severity],
    severityText: severity,
    body: fields.profile === undefined ? event : `${event} ${fields.profile}`,
    attributes: Object.fromEntries(attributes),
  };
}

function severityOf(entry: AuditEntry): "INFO" | "WARN" | "ERROR" {
  switch (entry.event) {
    case "leak":
    case "denied":
    case "start-failed":
      return "ERROR";
    case "refresh-failed":
    case "not-swapped":
    case "restart":
      return "WARN";
    case "call":
      return entry.outcome === "error" || entry.outcome === "lost" ? "WARN" : "INFO";
    case "rotation":
      return entry.state === "failed" || entry.state === "incomplete" ? "WARN" : "INFO";
    default:
      return "INFO";
  }
}

/** `serverPid` as `server_pid`. */
function snake(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
