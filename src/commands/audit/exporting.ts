/** Where the records of a profile are sent besides: who sends them, with which headers, and what is said of failures. */
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { version } from "../../../package.json";
import { AuditExporter } from "../../audit/export/exporter.ts";
import type { Observed } from "../../audit/export/figures.ts";
import { ExportFailure } from "../../audit/export/transport.ts";
import type { AuditEntry } from "../../audit/record.ts";
import type { ExportPlan, HeaderTemplate, Profile } from "../../profile/profile.ts";
import type { Secret } from "../../secrets/secret.ts";
import { parseTemplate, renderTemplate } from "../../secrets/template.ts";
import type { CommandContext } from "../context.ts";

/** Values of the profile's secrets by name; what is not there is absent. */
export type Values = () => Promise<ReadonlyMap<string, Secret>>;

export class AuditExport {
  readonly #exporter: AuditExporter;
  readonly #context: CommandContext;
  readonly #origin: string;

  constructor(
    context: CommandContext,
    { environment }: Profile,
    { otlp, headers }: ExportPlan,
    values: Values,
    observe: () => Observed,
  ) {
    this.#context = context;
    this.#origin = new URL(otlp).origin;
    this.#exporter = new AuditExporter({
      otlp,
      version,
      clock: context.clock,
      headers: async () => rendered(headers, await values()),
      observe,
      resource: {
        "service.name": "mcp-run",
        "service.version": version,
        "service.instance.id": randomUUID(),
        "host.name": hostname(),
        "process.pid": process.pid,
        "process.owner": context.loginName(),
        ...(environment !== undefined && { "deployment.environment.name": environment }),
      },
      onTrouble: (failure) =>
        this.#warn(`the audit is not sent to ${this.#origin}: ${failure.message}`, hintFor(failure)),
    });
  }

  record(entry: AuditEntry, at: number): void {
    this.#exporter.record(entry, at);
  }

  /** Bounded; never rejects. */
  async close(): Promise<void> {
    const lost = await this.#exporter.close();
    if (lost > 0)
      this.#warn(`${lost} records of the audit were not sent to ${this.#origin}; its files have them`);
  }

  #warn(message: string, hint?: string): void {
    this.#context.printer.emit({ type: "warning", message, ...(hint !== undefined && { hint }) });
  }
}

function rendered(
  headers: readonly HeaderTemplate[],
  values: ReadonlyMap<string, Secret>,
): Readonly<Record<string, string>> {
  const texts = headers.map(({ name, template, needs }) => {
    const absent = needs.find((needed) => !values.has(needed));
    if (absent !== undefined) throw new ExportFailure(`the secret ${absent} for its headers is absent`);
    const parsed = parseTemplate(template);
    if (!parsed.ok) throw new Error("a header was not checked");
    const text = renderTemplate(parsed.parts, (needed) => values.get(needed)?.reveal() ?? "");
    if (/[^\t\x20-\x7e\x80-\xff]/.test(text))
      throw new ExportFailure(`the header ${name} would hold a character that can't stand there`);
    return [name, text] as const;
  });
  return Object.fromEntries(texts);
}

function hintFor({ status, message }: ExportFailure): string | undefined {
  if (status === 401 || status === 403) return "another secret in `audit.export.headers`";
  if (status === 404 || status === 405 || status === 415)
    return "the base address of an OTLP/HTTP receiver, which takes JSON";
  if (status !== undefined && status >= 300 && status < 400) return "the address that it points to";
  if (/CERT|VERIFY|SIGNATURE/.test(message)) return "NODE_EXTRA_CA_CERTS, with the CA of that receiver";
  return /^E[A-Z_]+$/.test(message) ? "curl from this machine, to see whether it can be reached" : undefined;
}
