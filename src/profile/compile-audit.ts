/** What the audit of a profile holds and how long it is kept, and where it is sent: never with a literal key. */
import { isLoopback } from "../loopback.ts";
import { nearest } from "../nearest.ts";
import { parseTemplate, templateNames } from "../secrets/template.ts";
import { type Compilation, checkRange, expanded } from "./compilation.ts";
import { checkHeader, isMisplacedRef } from "./literals.ts";
import type { AuditPlan, ExportPlan, HeaderTemplate, Profile } from "./profile.ts";
import { parseDuration } from "./quantities.ts";
import { expandVariables, withoutVariables } from "./variables.ts";

const DAY_MS = 86_400_000;
const KEPT_DAYS = 90;
const KEPT_DAYS_OF_DEVELOPMENT = 30;
const MOST_DAYS = 3_650;

/** RFC 9110, 5.6.2: a token. */
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$/;
/** The exporter's own. */
const TAKEN_HEADERS =
  /^(?:content-(?:length|type|encoding)|host|connection|transfer-encoding|user-agent|expect|upgrade|te|trailer)$/i;

/** @param secretsFrom the names that it brings are known only when it has been fetched */
export function compileAudit(secretsFrom: Profile["secretsFrom"], compilation: Compilation): AuditPlan {
  const { body, pathOf, findings } = compilation;
  const { calls = "off", retention } = body.audit ?? {};
  const keptMs = retention === undefined ? undefined : parseDuration(retention);
  checkRange(pathOf("audit", "retention"), keptMs, DAY_MS, MOST_DAYS * DAY_MS, "`1d` to `3650d`", findings);
  const byDefault = body.environment === "development" ? KEPT_DAYS_OF_DEVELOPMENT : KEPT_DAYS;
  const exportPlan = compileExport(secretsFrom, compilation);
  return {
    calls,
    keptDays: keptMs === undefined ? byDefault : Math.ceil(keptMs / DAY_MS),
    ...(exportPlan && { export: exportPlan }),
  };
}

function compileExport(
  secretsFrom: Profile["secretsFrom"],
  compilation: Compilation,
): ExportPlan | undefined {
  const wanted = compilation.body.audit?.export;
  if (wanted === undefined || wanted === "off") return undefined;
  const headers = Object.entries(wanted.headers ?? {}).map(([name, template]) =>
    compileHeader(name, template, secretsFrom, compilation),
  );
  return { otlp: compileAddress(wanted.otlp, compilation), headers };
}

function compileAddress(written: string, compilation: Compilation): string {
  const { pathOf, findings, request } = compilation;
  const path = pathOf("audit", "export", "otlp");
  const before = findings.errors.length;
  const text = expanded(
    expandVariables(written, request.env, () => "`headers`, for what is a credential"),
    path,
    compilation,
  );
  const problem = findings.errors.length > before ? undefined : problemOfAddress(text);
  if (problem)
    findings.error({ path }, `\`otlp\` ${problem.state}`, { hint: problem.hint, hidesValue: true });
  // As it is understood, and not as it is written: a blank behind it would stand before `/v1/logs`.
  return problem || !URL.canParse(text) ? text : new URL(text).href.replace(/\/+$/, "");
}

function problemOfAddress(text: string): { readonly state: string; readonly hint: string } | undefined {
  if (!URL.canParse(text)) return { state: "is no address", hint: "`https://otel.example.com:4318`" };
  const { protocol, hostname, username, password, search, hash, pathname } = new URL(text);
  if (username !== "" || password !== "")
    return { state: "has a login in it", hint: "`headers: { Authorization: … }` beside it" };
  if (protocol !== "https:" && !(protocol === "http:" && isLoopback(hostname)))
    return { state: "would be sent in plain text", hint: "`https://`; `http://` only to this machine" };
  if (search !== "" || hash !== "" || /[?#]/.test(text))
    return { state: "must end with its path", hint: "an address without `?` and `#`" };
  if (/\/v1\/(?:logs|metrics|traces)\/*$/.test(pathname))
    return { state: "is that of one kind of data", hint: "the address before `/v1/`" };
  return undefined;
}

function compileHeader(
  name: string,
  template: string,
  secretsFrom: Profile["secretsFrom"],
  compilation: Compilation,
): HeaderTemplate {
  const { pathOf, findings, secretNames, providerWords } = compilation;
  const path = [...pathOf("audit", "export", "headers"), name];
  const nothing = { name, template, needs: [] };
  if (!HEADER_NAME.test(name) || TAKEN_HEADERS.test(name)) {
    const state = HEADER_NAME.test(name) ? "is set by mcp-run itself" : "is no name of a header";
    findings.error({ path, part: "key" }, `\`${name}\` ${state}`, { hint: "another name" });
    return nothing;
  }
  expanded(withoutVariables(template, "headers"), path, compilation);
  if (isMisplacedRef("TOKEN", template, providerWords)) {
    findings.error({ path }, `\`${name}\` is a ref, which is not read here`, {
      hint: `\`NAME: { from: "${template}", deliver: none }\` under \`secrets:\`, and \`{{NAME}}\` here`,
    });
    return nothing;
  }
  const parsed = parseTemplate(template);
  const problem = parsed.ok
    ? /[^\t\x20-\x7e]/.test(template)
      ? "a header is plain ASCII"
      : ""
    : parsed.reason;
  if (!parsed.ok || problem !== "") {
    findings.error({ path }, `\`${name}\` can't be used: ${problem}`, { hidesValue: true });
    return nothing;
  }
  const literal = parsed.parts.filter((part) => typeof part === "string").join(" ");
  checkHeader(name, literal, path, compilation);
  const needs = templateNames(parsed.parts);
  for (const needed of needs) {
    if (secretNames.has(needed) || secretsFrom.length > 0) continue;
    const near = nearest(needed, secretNames);
    const message = `there is no secret \`${needed}\`${near ? `, did you mean \`${near}\`?` : ""}`;
    const hint = `\`${needed}: { from: …, deliver: none }\` under \`secrets:\``;
    findings.error({ path, find: `{{${needed}` }, message, near ? {} : { hint });
  }
  return { name, template, needs };
}
