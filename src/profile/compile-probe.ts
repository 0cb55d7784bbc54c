/** The request that proves that a server works with the secrets it was given. */
import type { Probe } from "../relay/probe.ts";
import { type Compilation, expanded } from "./compilation.ts";
import type { DocumentPath } from "./findings.ts";
import { checkProbeText } from "./literals.ts";
import { mapLeaves } from "./map-leaves.ts";
import { withoutVariables } from "./variables.ts";

/** What the session itself is made of: mcp-run has said it already, or it is never answered. */
const METHODS_OF_SESSIONS = ["initialize", "server/discover", "subscriptions/listen"];

/** What belongs to each way to ask. */
const BESIDE = { tool: "arguments", method: "params" } as const;

export function compileProbe(compilation: Compilation): Probe | undefined {
  const { body, pathOf, findings } = compilation;
  if (body.probe === undefined) return undefined;
  const { tool, method } = body.probe;
  if (tool !== undefined && method !== undefined) {
    findings.error({ path: pathOf("probe", "method"), part: "key" }, "`probe` has both `tool` and `method`", {
      hint: "one of them",
    });
    return undefined;
  }
  if (tool === undefined && method === undefined) {
    findings.error({ path: pathOf("probe"), part: "key" }, "`probe` needs `tool` or `method`", {
      hint: "`probe: { tool: NAME }`, a tool that only reads, and needs the secret for it",
    });
    return undefined;
  }
  if (tool !== undefined) return { tool, arguments: objectUnder("tool", compilation) };
  checkMethod(method as string, compilation);
  return { method: method as string, params: objectUnder("method", compilation) };
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
function objectUnder(way: keyof typeof BESIDE, compilation: Compilation): Readonly<Record<string, unknown>> {
  const { body, pathOf, findings } = compilation;
  const { [way]: right } = BESIDE;
  const wrong = way === "tool" ? "params" : "arguments";
  if (body.probe?.[wrong] !== undefined) {
    findings.error(
      { path: pathOf("probe", wrong), part: "key" },
      `\`${wrong}\` has no meaning beside \`${way}\``,
      {
        hint: `\`${right}\``,
      },
    );
  }
  return mapLeaves(body.probe?.[right] ?? {}, pathOf("probe", right), (leaf, path) =>
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
