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
  const method = "tool" in probe ? "tools/call" : probe.method;
  const params = "tool" in probe ? { name: probe.tool, arguments: probe.arguments } : probe.params;
  const answer = await askServer(
    server,
    method,
    era === "modern" ? { ...params, _meta: meta } : params,
    options,
  );
  const code = at(answer, "error", "code");
  if (code !== undefined) return `its probe ${nameOf(probe)} was refused (${code})`;
  if (at(answer, "result", "isError") === true) return `its probe ${nameOf(probe)} failed`;
  return answer.result === undefined ? `its probe ${nameOf(probe)} was not answered` : undefined;
}

function nameOf(probe: Probe): string {
  return "tool" in probe ? probe.tool : probe.method;
}
