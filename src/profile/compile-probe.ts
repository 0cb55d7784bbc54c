/** What proves that a server works with the secrets it was given. */
import { nearest } from "../nearest.ts";
import type { Probe, ProgramProbe, RequestProbe } from "../relay/probe.ts";
import { type Compilation, checkRange, expanded } from "./compilation.ts";
import { compileProgram } from "./compile-program.ts";
import type { DocumentPath } from "./findings.ts";
import { checkProbeText } from "./literals.ts";
import { mapLeaves } from "./map-leaves.ts";
import { parseDuration } from "./quantities.ts";
import { withoutVariables } from "./variables.ts";

/** What the session itself is made of: mcp-run has said it already, or it is never answered. */
const METHODS_OF_SESSIONS = ["initialize", "server/discover", "subscriptions/listen"];

const WAYS = ["tool", "method", "program"] as const;
type Way = (typeof WAYS)[number];

/** What belongs to each way to ask. */
const BESIDE = { arguments: "tool", params: "method", timeout: "program" } as const;

const USUAL_TIMEOUT_MS = 30_000;
const LEAST_TIMEOUT_MS = 1_000;
const MOST_TIMEOUT_MS = 60_000;

export function compileProbe(compilation: Compilation): Probe | undefined {
  const { body, pathOf, findings } = compilation;
  const { probe: entry } = body;
  if (entry === undefined) return undefined;
  const [way, second] = WAYS.filter((key) => entry[key] !== undefined);
  if (second !== undefined) {
    findings.error(
      { path: pathOf("probe", second), part: "key" },
      `\`probe\` has both \`${way}\` and \`${second}\``,
      { hint: "one of them" },
    );
    return undefined;
  }
  if (way === undefined) {
    findings.error({ path: pathOf("probe"), part: "key" }, "`probe` needs `tool`, `method` or `program`", {
      hint: "`probe: { tool: NAME }`, a tool that only reads, and needs the secret for it",
    });
    return undefined;
  }
  const probe = compileWay(way, compilation);
  const negative = compileNegative(compilation);
  return probe && { ...probe, ...(negative && { negative }) };
}

function compileWay(way: Way, compilation: Compilation): RequestProbe | ProgramProbe | undefined {
  const { tool, method } = compilation.body.probe ?? {};
  refuseStrangers(way, compilation);
  if (way === "program") return program(compilation);
  if (tool !== undefined) return { tool, arguments: objectUnder("arguments", compilation) };
  checkMethod(method as string, compilation);
  return { method: method as string, params: objectUnder("params", compilation) };
}

/** What belongs to another way to ask. */
function refuseStrangers(way: Way, { body, pathOf, findings }: Compilation): void {
  for (const key of ["arguments", "params", "timeout"] as const) {
    if (body.probe?.[key] === undefined || BESIDE[key] === way) continue;
    const [own] = Object.entries(BESIDE).find(([, owner]) => owner === way) ?? [];
    findings.error(
      { path: pathOf("probe", key), part: "key" },
      `\`${key}\` has no meaning beside \`${way}\``,
      { hint: key === "timeout" || way === "program" ? "leaving it out" : `\`${own}\`` },
    );
  }
}

function program(compilation: Compilation): ProgramProbe | undefined {
  const { body, pathOf, findings } = compilation;
  const { program: words = [], timeout } = body.probe ?? {};
  const argv = compileProgram(words, pathOf("probe", "program"), "program", "a probe", compilation);
  const timeoutMs = timeout === undefined ? undefined : parseDuration(timeout);
  const path = pathOf("probe", "timeout");
  checkRange(path, timeoutMs, LEAST_TIMEOUT_MS, MOST_TIMEOUT_MS, "`1s` to `60s`", findings);
  return argv && { program: argv, timeoutMs: timeoutMs ?? USUAL_TIMEOUT_MS };
}

function compileNegative({ body, pathOf, findings, secretNames }: Compilation): Probe["negative"] {
  const { negative } = body.probe ?? {};
  if (typeof negative !== "object") return negative || undefined;
  for (const [index, name] of negative.entries()) {
    if (secretNames.has(name)) continue;
    const near = nearest(name, secretNames);
    const state = `there is no secret \`${name}\`${near ? `, did you mean \`${near}\`?` : ""}`;
    findings.error({ path: [...pathOf("probe", "negative"), index] }, state);
  }
  return negative;
}

function checkMethod(method: string, { pathOf, findings }: Compilation): void {
  const path = pathOf("probe", "method");
  const hint = "a request that only reads: `tools/list`, or `tool:` with the name of a tool";
  if (METHODS_OF_SESSIONS.includes(method))
    findings.error({ path }, `\`${method}\` proves nothing: it belongs to the session itself`, { hint });
  else if (method.startsWith("notifications/"))
    findings.error({ path }, "a notification is never answered, so it proves nothing", { hint });
}

/** The mapping that is sent with the request; `{}` without one. */
function objectUnder(
  key: "arguments" | "params",
  compilation: Compilation,
): Readonly<Record<string, unknown>> {
  const { body, pathOf } = compilation;
  return mapLeaves(body.probe?.[key] ?? {}, pathOf("probe", key), (leaf, path) =>
    checkedLeaf(leaf, path, compilation),
  ) as Record<string, unknown>;
}

function checkedLeaf(leaf: unknown, path: DocumentPath, compilation: Compilation): unknown {
  if (typeof leaf === "string") {
    checkProbeText(leaf, path, compilation);
    return expanded(withoutVariables(leaf, "`probe`"), path, compilation);
  }
  if (typeof leaf === "number" && !isExact(leaf))
    compilation.findings.error({ path }, "a number that JSON can't hold exactly", {
      hint: "quotes around it, if the server takes text there",
    });
  return leaf;
}

function isExact(number: number): boolean {
  return Number.isInteger(number) ? Number.isSafeInteger(number) : Number.isFinite(number);
}
