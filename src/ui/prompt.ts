/** Takes a secret from a person or a pipe: never echoed, never from argv. */
import { createInterface, type Interface, type ReadLineOptions } from "node:readline";
import type { Readable } from "node:stream";
import { Writable } from "node:stream";
import { McpRunError } from "../errors.ts";
import { Secret } from "../secrets/secret.ts";

/** Longest value that is read from a pipe, in bytes; the stores' own bounds are smaller. */
const MAX_INPUT_BYTES = 4 * 1024 * 1024;

/**
 * Asks on the terminal without an echo. Throws McpRunError `interrupted` on Ctrl-C or Ctrl-D, and the signal's
 * reason when that is aborted.
 */
export function promptHidden(
  question: string,
  input: Readable,
  terminal: Writable,
  signal: AbortSignal,
): Promise<Secret> {
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = asking({ input, output: silent, signal });
  // Only now is the terminal's own echo off: whoever sees the question may type at once.
  terminal.write(question);
  return new Promise((resolve, reject) => {
    lines.once("line", (line) => {
      resolve(new Secret(line));
      lines.close();
    });
    lines.once("SIGINT", () => lines.close());
    lines.once("close", () => {
      terminal.write("\n");
      reject(signal.reason ?? new McpRunError("interrupted", "Cannot go on: nothing was entered"));
    });
  });
}

/** Asks on the terminal for a line that may be seen. Throws as promptHidden does. */
export function promptLine(
  question: string,
  input: Readable,
  terminal: Writable,
  signal: AbortSignal,
): Promise<string> {
  const lines = asking({ input, output: terminal, signal });
  return new Promise((resolve, reject) => {
    lines.once("SIGINT", () => lines.close());
    lines.once("close", () => {
      reject(signal.reason ?? new McpRunError("interrupted", "Cannot go on: nothing was answered"));
    });
    lines.question(question, (line) => {
      resolve(line.trim());
      lines.close();
    });
  });
}

/** A terminal that has gone fails at every touch, also when it is let go: that ends the question as Ctrl-D does. */
function asking(options: Pick<ReadLineOptions, "input" | "output" | "signal">): Interface {
  const lines = createInterface({ ...options, terminal: true, historySize: 0 });
  let hasFailed = false;
  lines.on("error", () => {
    if (hasFailed) return;
    hasFailed = true;
    lines.close();
  });
  return lines;
}

/**
 * Reads all of a pipe as UTF-8; one trailing newline is dropped. Throws McpRunError for too much or not UTF-8, and
 * the signal's reason when that is aborted: whoever writes to the pipe may never end it.
 */
export async function readPiped(input: Readable, signal: AbortSignal): Promise<Secret> {
  signal.throwIfAborted();
  const chunks: Buffer[] = [];
  let size = 0;
  const giveUp = () => input.destroy(signal.reason);
  signal.addEventListener("abort", giveUp, { once: true });
  try {
    for await (const chunk of input) {
      const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk);
      size += bytes.length;
      if (size > MAX_INPUT_BYTES) {
        throw new McpRunError(
          "usage",
          `Cannot read the value from stdin: it is longer than ${MAX_INPUT_BYTES} bytes`,
        );
      }
      chunks.push(bytes);
    }
  } finally {
    // Of a file that has been read nobody hears any more that it was destroyed.
    signal.removeEventListener("abort", giveUp);
  }
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Buffer.concat(chunks));
  } catch {
    throw new McpRunError("usage", "Cannot read the value from stdin: it is not UTF-8", {
      hint: "piping it through base64 first",
    });
  }
  return new Secret(text.replace(/\r?\n$/, ""));
}
