/** Proves that a server works with the secrets it has: a tool call or another request, in the client's era. */
import { at } from "./message.ts";
import { askServer, type OwnRequestOptions, type ServerLine } from "./own-request.ts";

export type Probe =
  | { readonly tool: string; readonly arguments: Readonly<Record<string, unknown>> }
  | { readonly method: string; readonly params: Readonly<Record<string, unknown>> };

/** Undefined if the server answers well, else what is wrong: codes only, since an answer may hold a secret. */
export async function probeServer(
  probe: Probe,
  server: ServerLine,
  options: OwnRequestOptions,
): Promise<string | undefined> {
  const { era, meta } = options.session.recall;
  const { method, params } = probeRequest(probe);
  const answer = await askServer(
    server,
    method,
    era === "modern" ? { ...params, _meta: meta } : params,
    options,
  );
  return wrongWith(probe, answer);
}

export function probeRequest(probe: Probe): { readonly method: string; readonly params: object } {
  return "tool" in probe
    ? { method: "tools/call", params: { name: probe.tool, arguments: probe.arguments } }
    : probe;
}

/** What is wrong with this answer, as `probeServer` says it. */
export function wrongWith(probe: Probe, answer: unknown): string | undefined {
  const code = at(answer, "error", "code");
  if (code !== undefined) return `its probe ${probeName(probe)} was refused${codeText(code)}`;
  if (at(answer, "result", "isError") === true) return `its probe ${probeName(probe)} failed`;
  return at(answer, "result") === undefined ? `its probe ${probeName(probe)} was not answered` : undefined;
}

/** The tool or the method. */
export function probeName(probe: Probe): string {
  return "tool" in probe ? probe.tool : probe.method;
}

/** An error code of a server as it may stand in a message of ours: what is no number could be anything. */
export function codeText(code: unknown): string {
  return typeof code === "number" ? ` (${code})` : "";
}
