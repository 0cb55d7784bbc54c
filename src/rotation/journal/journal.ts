/**
 * What a rotation has done, one file for each: every line is on the disk before the next step begins, so that whoever
 * comes after a crash knows what may have happened. 0600 in a 0700 folder; at most one process writes to it.
 */
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, open, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../clock.ts";
import { McpRunError, systemErrorCode } from "../../errors.ts";
import { makePrivateFolder, syncFolder } from "../../private-folder.ts";
import { type JournalLine, type PlanLine, parseLine } from "./journal-line.ts";
import { withJournalLock } from "./journal-lock.ts";

const ID = /^\d{8}-\d{6}-[0-9a-z]{6}$/;
const NEWLINE = 10;

export interface JournalPlace {
  readonly folder: string;
  /** Undefined on Windows. */
  readonly uid: number | undefined;
  readonly clock: Clock;
  /** Where a line goes that can't be written any more once the rotation has to go on; without the newline. */
  readonly onUnwritten: (line: string) => void;
}

type Unstamped<T> = T extends JournalLine ? Omit<T, "v" | "at"> : never;
export type NewLine = Unstamped<Exclude<JournalLine, PlanLine>>;

/** `20261121-093015-k3x9ab`, UTC. */
export function newRotationId(now: number): string {
  const [date, time] = new Date(now).toISOString().replaceAll(/[-:]/g, "").split(/[T.]/);
  const random = Array.from(randomBytes(6), (byte) => (byte % 36).toString(36)).join("");
  return `${date}-${time}-${random}`;
}

export function isRotationId(text: string): boolean {
  return ID.test(text);
}

export class Journal {
  readonly plan: PlanLine;
  readonly #lines: JournalLine[];
  readonly #handle: FileHandle;
  readonly #path: string;
  readonly #place: JournalPlace;
  /** Bytes of whole lines. */
  #size: number;
  /** Not on the disk yet, in their order. */
  #unwritten: string[] = [];
  #mustGoOn = false;

  private constructor(
    place: JournalPlace,
    path: string,
    handle: FileHandle,
    size: number,
    lines: JournalLine[],
  ) {
    const [plan] = lines;
    if (plan?.kind !== "plan") throw damaged(path, 1);
    this.plan = plan;
    this.#place = place;
    this.#path = path;
    this.#handle = handle;
    this.#size = size;
    this.#lines = lines;
  }

  /** Runs `work` with a new journal. Throws McpRunError if there can be none; then nothing has been done. */
  static async create<T>(
    place: JournalPlace,
    plan: Omit<PlanLine, "v" | "kind" | "at">,
    signal: AbortSignal,
    work: (journal: Journal) => Promise<T>,
  ): Promise<T> {
    await makeJournalFolder(place);
    return withJournalLock(place, plan.rotation, signal, async () => {
      const path = pathOf(place.folder, plan.rotation);
      const line: PlanLine = { v: 1, kind: "plan", at: new Date(place.clock.now()).toISOString(), ...plan };
      const handle = await opened(path, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY);
      const journal = new Journal(place, path, handle, 0, [line]);
      try {
        try {
          await journal.#write(line);
          await syncFolder(place.folder);
        } catch (error) {
          await rm(path, { force: true });
          throw error;
        }
        return await work(journal);
      } finally {
        await handle.close();
      }
    });
  }

  /** Runs `work` with the journal of a rotation that has begun. A torn last line never was. Throws McpRunError. */
  static async open<T>(
    place: JournalPlace,
    rotation: string,
    signal: AbortSignal,
    work: (journal: Journal) => Promise<T>,
  ): Promise<T> {
    refuseOtherNames(rotation);
    // Without a journal there is nothing to lock either.
    await readJournal(place.folder, rotation);
    await makeJournalFolder(place);
    return withJournalLock(place, rotation, signal, async () => {
      const { lines, size } = await readJournal(place.folder, rotation);
      const path = pathOf(place.folder, rotation);
      const handle = await opened(path, constants.O_WRONLY | (constants.O_NOFOLLOW ?? 0));
      try {
        return await work(new Journal(place, path, handle, size, lines));
      } finally {
        await handle.close();
      }
    });
  }

  /** With those that could not be written. */
  get lines(): readonly JournalLine[] {
    return this.#lines;
  }

  /** False while the disk lacks lines of it. */
  get isWhole(): boolean {
    return this.#unwritten.length === 0;
  }

  /** From now on a line that can't be written stops nothing: it goes to `onUnwritten`. */
  mustGoOn(): void {
    this.#mustGoOn = true;
  }

  /** Resolves when the line is on the disk. Throws McpRunError where that can't be, unless it must go on. */
  async append(line: NewLine): Promise<JournalLine> {
    const stamped = { v: 1, at: new Date(this.#place.clock.now()).toISOString(), ...line } as JournalLine;
    try {
      await this.#write(stamped);
    } catch (error) {
      if (!this.#mustGoOn) {
        this.#unwritten.pop();
        throw error;
      }
      this.#place.onUnwritten(JSON.stringify(stamped));
    }
    this.#lines.push(stamped);
    return stamped;
  }

  /** Lines that could not be written go before it, so that the file is always the beginning of the whole. */
  async #write(line: JournalLine): Promise<void> {
    this.#unwritten.push(`${JSON.stringify(line)}\n`);
    const bytes = Buffer.from(this.#unwritten.join(""));
    try {
      // What half a write, or a crash, has left behind the last whole line.
      await this.#handle.truncate(this.#size);
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await this.#handle.write(
          bytes,
          done,
          bytes.length - done,
          this.#size + done,
        );
        done += bytesWritten;
      }
      await this.#handle.datasync();
    } catch (error) {
      const code = systemErrorCode(error);
      if (code === undefined) throw error;
      throw new McpRunError("backend-unavailable", `Cannot write the journal ${this.#path}: ${code}`, {
        hint: "again when the disk takes it",
      });
    }
    this.#size += bytes.length;
    this.#unwritten = [];
  }
}

/** A rotation as its journal tells it, for reading alone: another process may be at it. */
export interface RecordedRotation {
  readonly plan: PlanLine;
  readonly lines: readonly JournalLine[];
}

/** The rotations that have not come to their end, oldest first. One that can't be read is told to `onDamaged`. */
export async function unfinishedRotations(
  folder: string,
  onDamaged: (error: McpRunError) => void,
): Promise<readonly RecordedRotation[]> {
  const found: RecordedRotation[] = [];
  for (const rotation of await rotationsIn(folder)) {
    try {
      const { lines } = await readJournal(folder, rotation);
      const [plan] = lines;
      if (plan?.kind === "plan" && !endOf(lines)) found.push({ plan, lines });
    } catch (error) {
      if (!(error instanceof McpRunError)) throw error;
      onDamaged(error);
    }
  }
  return found;
}

/** Throws McpRunError `usage` where it has come to its end. */
export function refuseEnded({ plan, lines }: RecordedRotation): void {
  const end = endOf(lines);
  if (!end) return;
  throw new McpRunError(
    "usage",
    `Cannot go on with rotation ${plan.rotation}: it has ended (${end.outcome}) at ${end.at}`,
    { hint: "a new rotation" },
  );
}

function endOf(lines: readonly JournalLine[]) {
  const last = lines.at(-1);
  return last?.kind === "end" && last.outcome !== "incomplete" ? last : undefined;
}

/** The ids of all rotations that have a journal, oldest first; none where there is no folder. */
export async function rotationsIn(folder: string): Promise<readonly string[]> {
  try {
    const names = await readdir(folder);
    return names
      .flatMap((name) => (name.endsWith(".jsonl") ? [name.slice(0, -6)] : []))
      .filter(isRotationId)
      .sort();
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return [];
    throw error;
  }
}

/** Every line of it and the bytes that they take. Throws McpRunError `usage` if there is none, or one is damaged. */
export async function readJournal(
  folder: string,
  rotation: string,
): Promise<{ readonly lines: JournalLine[]; readonly size: number }> {
  refuseOtherNames(rotation);
  const path = pathOf(folder, rotation);
  const bytes = await contentOf(path, rotation);
  const size = bytes.lastIndexOf(NEWLINE) + 1;
  const written = bytes.subarray(0, size).toString("utf8").split("\n").slice(0, -1);
  const lines = written.map((text, index) => {
    const line = parseLine(text);
    if (!line || (line.kind === "plan") !== (index === 0)) throw damaged(path, index + 1);
    return line;
  });
  if (lines.length === 0) throw unknownRotation(rotation, folder);
  return { lines, size };
}

async function contentOf(path: string, rotation: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === "ENOENT") throw unknownRotation(rotation, path);
    if (code === undefined) throw error;
    throw new McpRunError("access-denied", `Cannot read the journal ${path}: ${code}`);
  }
}

async function opened(path: string, flags: number): Promise<FileHandle> {
  try {
    return await open(path, flags, 0o600);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === undefined) throw error;
    throw new McpRunError("access-denied", `Cannot write the journal ${path}: ${code}`);
  }
}

/** Throws McpRunError `access-denied`. */
async function makeJournalFolder({ folder, uid }: JournalPlace): Promise<void> {
  const fail = (state: string, hint: string) =>
    new McpRunError("access-denied", `Cannot keep journals in ${folder}: ${state}`, { hint });
  try {
    await makePrivateFolder(folder, uid, fail);
  } catch (error) {
    const code = error instanceof McpRunError ? undefined : systemErrorCode(error);
    if (code === undefined) throw error;
    throw fail(code, "a home directory that can be written to");
  }
}

function pathOf(folder: string, rotation: string): string {
  return join(folder, `${rotation}.jsonl`);
}

function refuseOtherNames(rotation: string): void {
  if (isRotationId(rotation)) return;
  throw new McpRunError(
    "usage",
    `Cannot find rotation ${JSON.stringify(rotation)}: that is no rotation's id`,
    {
      hint: "the id that the rotation has printed, such as 20261121-093015-k3x9ab",
    },
  );
}

function unknownRotation(rotation: string, place: string): McpRunError {
  return new McpRunError("usage", `Cannot find rotation ${rotation}: there is no journal of it at ${place}`, {
    hint: "the machine and the user that it was begun with",
  });
}

function damaged(path: string, line: number): McpRunError {
  return new McpRunError("usage", `Cannot use the journal ${path}: line ${line} is damaged`, {
    hint: "a copy of the file, or looking at the secrets of its first line by hand",
  });
}
