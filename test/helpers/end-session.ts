/**
 * Ends a session as its client does, by the end of mcp-run's stdin, and waits for as long as that takes: the SDK's
 * transport sends TERM after 2 s and KILL after 4 s, so that on a busy machine nothing would be written at the end.
 */
import type { ChildProcess } from "node:child_process";
import type { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { isAlive, until } from "./processes.ts";

/** Resolves when mcp-run has ended; the transport is closed then. */
export async function endSession(transport: StdioClientTransport): Promise<void> {
  // There is no other way to it.
  const { _process: child } = transport as unknown as { readonly _process?: ChildProcess };
  const { pid } = transport;
  if (!child || pid === null) throw new Error("the session has ended already");
  child.stdin?.end();
  await until("mcp-run has ended", () => !isAlive(pid), 60_000);
}
