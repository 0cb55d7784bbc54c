/**
 * Anchors: how far each file has come, and the hash of its last record. A line each, as checksum tools write them,
 * behind a first line that tells how many there are.
 */
import { McpRunError } from "../errors.ts";

export interface Anchor {
  readonly file: string;
  readonly seq: number;
  readonly hash: string;
}

const FIRST = /^# mcp-run audit head 1: (\d+) files\b/;
const LINE = /^([0-9a-f]{64}) (\d{1,15}) (\S+)$/;

/** @param at ms since the epoch */
export function formatAnchors(anchors: readonly Anchor[], host: string, at: number): string {
  const first = `# mcp-run audit head 1: ${anchors.length} files on ${host} at ${new Date(at).toISOString()}`;
  return [first, ...anchors.map(({ file, seq, hash }) => `${hash} ${seq} ${file}`)]
    .map((line) => `${line}\n`)
    .join("");
}

/** Throws McpRunError `usage` for anything but what formatAnchors gives, whole. */
export function parseAnchors(text: string, source: string): readonly Anchor[] {
  const fail = (state: string) =>
    new McpRunError("usage", `Cannot read the anchors in ${source}: ${state}`, {
      hint: "a file that holds all that mcp-run audit head has printed",
    });
  const [first = "", ...lines] = text.trimEnd().split(/\r?\n/);
  const [, count] = FIRST.exec(first) ?? [];
  if (count === undefined) throw fail("line 1 is not the first line of mcp-run audit head");
  if (lines.length !== Number(count)) throw fail(`${count} files are announced, and ${lines.length} follow`);
  return lines.map((line, index) => {
    const [, hash, seq, file] = LINE.exec(line) ?? [];
    if (hash === undefined || file === undefined) throw fail(`line ${index + 2} is not an anchor`);
    return { file, seq: Number(seq), hash };
  });
}
