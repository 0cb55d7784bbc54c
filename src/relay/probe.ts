/**
 * Proves that a server works with the secrets it has: a tool call or another request, in the client's era; or a
 * program that gets the same environment (src/launch/probe-program.ts runs it).
 */
import { programName } from "../shell-word.ts";
import { at } from "./message.ts";
import { askServer, type OwnRequestOptions, type ServerLine } from "./own-request.ts";

export type RequestProbe =
  | { readonly tool: string; readonly arguments: Readonly<Record<string, unknown>> }
  | { readonly method: string; readonly params: Readonly<Record<string, unknown>> };

/** It works if the program ends with exit code 0. */
export interface ProgramProbe {
  readonly program: readonly [string, ...string[]];
  /** Ms. */
  readonly timeoutMs: number;
}

export type Probe = (RequestProbe | ProgramProbe) & {
  /** It has to fail with a key that was revoked: with any of the profile, or with that of one of these secrets. */
  readonly negative?: true | readonly string[];
};

export function isProgramProbe(probe: RequestProbe | ProgramProbe): probe is ProgramProbe {
  return "program" in probe;
}

/** Undefined if the server answers well, else what is wrong: codes only, since an answer may hold a secret. */
export async function probeServer(
  probe: RequestProbe,
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

export function probeRequest(probe: RequestProbe): { readonly method: string; readonly params: object } {
  return "tool" in probe
    ? { method: "tools/call", params: { name: probe.tool, arguments: probe.arguments } }
    : { method: probe.method, params: probe.params };
}

/** What is wrong with this answer, as `probeServer` says it. */
export function wrongWith(probe: RequestProbe, answer: unknown): string | undefined {
  const code = at(answer, "error", "code");
  if (code !== undefined) return `its probe ${probeName(probe)} was refused${codeText(code)}`;
  if (at(answer, "result", "isError") === true) return `its probe ${probeName(probe)} failed`;
  return at(answer, "result") === undefined ? `its probe ${probeName(probe)} was not answered` : undefined;
}

/** The tool, the method or the program. */
export function probeName(probe: RequestProbe | ProgramProbe): string {
  if (isProgramProbe(probe)) return programName(probe.program);
  return "tool" in probe ? probe.tool : probe.method;
}

/** An error code of a server as it may stand in a message of ours: what is no number could be anything. */
export function codeText(code: unknown): string {
  return typeof code === "number" ? ` (${code})` : "";
}
