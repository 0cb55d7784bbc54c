/** The first line of a stream: all that either side of a connection has to say. */
import type { Readable } from "node:stream";

export type FirstLine =
  | { readonly type: "line"; readonly text: string }
  | { readonly type: "too-long" }
  /** The stream has ended, or broke, before its first newline. */
  | { readonly type: "none" };

/**
 * Resolves with the first line, without its newline, and leaves the stream paused: what comes after it is never read.
 *
 * @param mostBytes with the newline
 */
export function firstLineOf(stream: Readable, mostBytes: number): Promise<FirstLine> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  return new Promise((resolve) => {
    const settle = (line: FirstLine) => {
      stream.off("data", take).off("end", over).off("close", over).pause();
      resolve(line);
    };
    const take = (chunk: Buffer) => {
      const end = chunk.indexOf(0x0a);
      bytes += end < 0 ? chunk.length : end + 1;
      if (bytes > mostBytes) return settle({ type: "too-long" });
      chunks.push(end < 0 ? chunk : chunk.subarray(0, end));
      if (end >= 0) settle({ type: "line", text: Buffer.concat(chunks).toString() });
    };
    const over = () => settle({ type: "none" });
    stream.on("data", take).on("end", over).on("close", over);
  });
}
