/**
 * A client's end of a program that it has started, as the SDK's StdioClientTransport is one; but where that kills a
 * program four seconds after the end of its stdin, this one lets it end: on a slow machine it has things to do then.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { Readable, Writable } from "node:stream";
import { getDefaultEnvironment } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamTransport } from "./sdk-clients.ts";

/** Ms after which a program is killed that does not end. */
const PATIENCE_MS = 60_000;

export interface ProgramToStart {
  readonly command: string;
  readonly args: readonly string[];
  /** Beside what the SDK gives to every program. */
  readonly env?: Readonly<Record<string, string>>;
}

export class ProgramTransport extends StreamTransport {
  readonly #child: ChildProcess;
  readonly stderr: Readable;
  readonly pid: number;

  constructor({ command, args, env }: ProgramToStart) {
    const child = spawn(command, args, { env: { ...getDefaultEnvironment(), ...env } });
    super({ stdin: child.stdin as Writable, stdout: child.stdout as Readable });
    this.#child = child;
    this.stderr = child.stderr as Readable;
    this.pid = child.pid ?? 0;
    child.stdin.on("error", () => undefined); // One that has ended takes nothing, and that is told below.
    child.once("error", (error) => this.onerror?.(error));
    child.once("close", () => this.onclose?.());
  }

  /** Ends its stdin, and resolves when it has ended. */
  override async close(): Promise<void> {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
    const ended = once(child, "exit");
    const timer = setTimeout(() => child.kill("SIGKILL"), PATIENCE_MS);
    child.stdin?.end();
    await ended;
    clearTimeout(timer);
  }
}
