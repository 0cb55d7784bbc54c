/** What `mcp-run check` has found out about one profile, and how it looks to people. */
import type { ErrorCode, McpRunError } from "../../errors.ts";
import { escapeControl } from "../../escape.ts";

export interface Finding {
  readonly severity: "error" | "warning";
  readonly message: string;
  /** Reads well after «Try ». */
  readonly hint?: string;
  /** Errors have one; it decides the exit code. */
  readonly code?: ErrorCode;
  readonly details?: readonly string[];
}

export interface CheckedSecret {
  readonly name: string;
  readonly from: string;
  readonly ok: boolean;
  readonly version?: string;
  /** Why it could not be had, and what to do. */
  readonly failure?: Finding;
}

export interface CheckedStart {
  readonly server: string;
  readonly protocolVersion: string;
  readonly toolCount?: number;
  readonly ms: number;
  /** Undefined for a profile without one; if it did not pass, the reason is among the findings. */
  readonly probe?: { readonly name: string; readonly ok: boolean };
}

/** Its bus, for a profile of a file with `fleet:`; what is wrong there is among the findings. */
export interface CheckedFleet {
  /** The name of this machine there. */
  readonly host: string;
  readonly ok: boolean;
  /** The one that let us in. */
  readonly server?: string;
}

export interface CheckResult {
  readonly profile: string;
  readonly file?: string;
  readonly ok: boolean;
  readonly findings: readonly Finding[];
  readonly secrets: readonly CheckedSecret[];
  readonly start?: CheckedStart;
  readonly fleet?: CheckedFleet;
}

/** @param message the error's own, or only its reason */
export function asFinding({ hint, code, details }: McpRunError, message: string): Finding {
  return { severity: "error", message, ...(hint && { hint }), code, details };
}

export function formatResult(result: CheckResult): string {
  const lines = [`${mark(result.ok)} ${result.profile}${result.file ? ` (${result.file})` : ""}`];
  for (const { ok, name, from, version, failure } of result.secrets) {
    const what = `${mark(ok)} ${name} from ${from}`;
    if (failure) lines.push(...formatFinding(failure, `${what}: `));
    else lines.push(`  ${what}${version ? `, version ${version}` : ""}`);
  }
  if (result.start) {
    const { server, protocolVersion, toolCount, ms, probe } = result.start;
    const tools = toolCount === undefined ? "no tools" : `${toolCount} tools`;
    lines.push(
      `  ${mark(true)} ${server} speaks ${protocolVersion}, ${tools}, ready after ${(ms / 1000).toFixed(1)} s`,
    );
    if (!probe) lines.push("  - without a probe the key itself is not exercised");
    else if (probe.ok) lines.push(`  ${mark(true)} its probe ${probe.name} passed`);
  }
  if (result.fleet?.ok)
    lines.push(`  ${mark(true)} ${result.fleet.server} lets ${result.fleet.host} into its fleet`);
  for (const finding of result.findings) {
    lines.push(...formatFinding(finding, finding.severity === "error" ? `${mark(false)} ` : "! "));
  }
  return `${lines.map((line) => escapeControl(line)).join("\n")}\n`;
}

function formatFinding({ message, hint, details = [] }: Finding, start: string): readonly string[] {
  const below = details.flatMap((detail) => detail.split("\n")).map((detail) => `    ${detail}`);
  return [`  ${start}${message}${hint ? `. Try ${hint}.` : ""}`, ...below];
}

function mark(ok: boolean): string {
  return ok ? "✔" : "✘";
}
