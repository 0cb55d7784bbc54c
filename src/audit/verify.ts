/**
 * Whether the audit is what was written. The chain in each file finds what was changed inside of it; anchors that
 * were noted before and kept elsewhere find what was cut off its end, removed as a whole, or written anew.
 */
import { NOTHING_BEFORE, readSealed, type SealedRecord } from "./chain.ts";
import { auditFiles, linesOf } from "./files.ts";
import type { Anchor } from "./head.ts";
import type { ChainEnd } from "./record.ts";
import { isExpired } from "./retention.ts";

/** Of one file; more would not tell more. */
const MOST_PROBLEMS = 10;

export interface Problem {
  readonly file: string;
  /** Counted from 1, as editors do. */
  readonly line?: number;
  /** A state: «line 3 was changed». */
  readonly problem: string;
}

export interface VerifiedFile {
  readonly name: string;
  /** Whole records, the opening one not counted. */
  readonly records: number;
  /** The last whole one; undefined if there is none. */
  readonly end: Anchor | undefined;
  readonly previous: ChainEnd | undefined;
  /** Its writer was killed in the midst of a line, or is still at it. */
  readonly isTorn: boolean;
  readonly problems: readonly Problem[];
}

export interface Verdict {
  readonly files: number;
  readonly records: number;
  readonly problems: readonly Problem[];
  /** Files whose last line is half written, which is no problem. */
  readonly torn: readonly string[];
  /** Files of the anchors that were too old to be kept. */
  readonly expired: number;
}

/** @param anchors undefined if none were kept. Throws McpRunError `access-denied` if something can't be read. */
export async function verifyAudit(
  folder: string,
  anchors: readonly Anchor[] | undefined,
  now: number,
): Promise<Verdict> {
  const names = await auditFiles(folder);
  const anchorOf = new Map(anchors?.map((anchor) => [anchor.file, anchor]));
  const found = new Map<string, VerifiedFile>();
  for (const name of names) found.set(name, await verifyFile(folder, name, anchorOf.get(name)));
  const files = [...found.values()];
  const missing = [...anchorOf.keys()].filter((name) => !found.has(name));
  const gone = missing.filter((name) => !isExpired(name, now));
  const problems = [
    ...files.flatMap((file) => [...file.problems, ...beforeIt(file, found, now)]),
    ...gone.map((file) => ({ file, problem: "it was removed" })),
  ];
  return {
    files: files.length,
    records: files.reduce((sum, { records }) => sum + records, 0),
    problems,
    torn: files.filter(({ isTorn }) => isTorn).map(({ name }) => name),
    expired: missing.length - gone.length,
  };
}

/** @param anchor what was noted of this file */
export async function verifyFile(folder: string, name: string, anchor?: Anchor): Promise<VerifiedFile> {
  const problems: Problem[] = [];
  let previous: ChainEnd | undefined;
  let end: Anchor | undefined;
  let noted: string | undefined;
  let isTorn = false;
  let line = 0;
  let before: SealedRecord | undefined;
  for await (const { bytes, isWhole } of linesOf(folder, name)) {
    if (!isWhole) {
      isTorn = true;
      break;
    }
    line++;
    const sealed = readSealed(bytes);
    const problem = sealed ? problemOf(sealed, before, line, name) : "is not a record";
    if (problem && problems.length < MOST_PROBLEMS)
      problems.push({ file: name, line, problem: `line ${line} ${problem}` });
    if (sealed) {
      if (line === 1) previous = previousOf(sealed);
      if (sealed.record.seq === anchor?.seq) noted = sealed.hash;
      end = { file: name, seq: sealed.record.seq, hash: sealed.hash };
    }
    before = sealed;
  }
  if (anchor && noted !== anchor.hash) problems.push({ file: name, problem: awayFrom(anchor, end) });
  return { name, records: Math.max(line - 1, 0), end, previous, isTorn, problems };
}

function problemOf(
  { record, prev, isIntact }: SealedRecord,
  before: SealedRecord | undefined,
  line: number,
  name: string,
): string | undefined {
  if (!isIntact) return "was changed";
  if (line === 1) {
    if (record.event !== "open" || record.seq !== 0 || prev !== NOTHING_BEFORE)
      return "is not the first that was written";
    return record.file === name ? undefined : `belongs to a file of another name, ${String(record.file)}`;
  }
  // What comes after something that is no record has nothing to be measured by.
  if (!before || prev === before.hash) return undefined;
  return "does not follow the line before it: something was removed, added or moved";
}

function awayFrom(anchor: Anchor, end: Anchor | undefined): string {
  if (end && end.seq >= anchor.seq) return `record ${anchor.seq} is not the one that was noted`;
  return `it was cut: it ends with ${end ? `record ${end.seq}` : "no record"}, and had ${anchor.seq} when that was noted`;
}

function previousOf({ record }: SealedRecord): ChainEnd | undefined {
  const { file, hash } = (record.previous ?? {}) as Partial<ChainEnd>;
  return typeof file === "string" && typeof hash === "string" ? { file, hash } : undefined;
}

/** The file of the day before, which the same process wrote. */
function beforeIt(
  { name, previous }: VerifiedFile,
  found: ReadonlyMap<string, VerifiedFile>,
  now: number,
): readonly Problem[] {
  if (!previous || isExpired(previous.file, now)) return [];
  const file = found.get(previous.file);
  if (!file) return [{ file: previous.file, problem: `it was removed, and ${name} goes on from it` }];
  if (file.end?.hash === previous.hash) return [];
  return [{ file: previous.file, problem: `it does not end with the record that ${name} goes on from` }];
}
