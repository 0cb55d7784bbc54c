/**
 * Where one process writes down what happens: in order, in its own file for each day, and without ever holding up
 * or failing who tells it. What can't be written is kept, up to a bound, and written with the next record that can.
 */
import { type Clock, settledWithin, type Timer } from "../clock.ts";
import { McpRunError, systemErrorCode } from "../errors.ts";
import { dayOf, KEPT_DAYS, makeAuditFolder } from "./files.ts";
import { type AuditEntry, type AuditWriter, isDurable } from "./record.ts";
import { removeExpired } from "./retention.ts";
import { AuditFile } from "./writer.ts";

/** Records that wait for a disk that takes nothing; later ones are counted only. Calls leave room for the others. */
const MOST_WAITING = 11_000;
const MOST_CALLS_WAITING = 10_000;
/** Records that are written at once: no session waits for more of them to be hashed. */
const BATCH = 250;
/** Ms that calls wait for others, unless something that matters more is written first: they may come by thousands. */
const CALLS_WAIT_MS = 200;
/** Ms that the end of a process may wait for its last records. */
const CLOSE_MS = 2_000;

export interface AuditLogOptions extends AuditWriter {
  /** Made (0700) if it is not there. */
  readonly folder: string;
  /** Undefined on Windows. */
  readonly uid: number | undefined;
  /** Of mcp-run. */
  readonly version: string;
  readonly clock: Clock;
  /** Days for which its files are kept; 90 by default. */
  readonly keptDays?: number | undefined;
  /** Called once, at the first record that can't be written. */
  readonly onTrouble: (error: McpRunError) => void;
}

interface Waiting {
  readonly at: number;
  readonly entry: AuditEntry;
  /** Of records before this one that are lost. */
  readonly lost: number;
}

export class AuditLog {
  readonly #options: AuditLogOptions;
  readonly #waiting: Waiting[] = [];
  #lost = 0;
  #file: AuditFile | undefined;
  #writing: Promise<void> | undefined;
  #isInTrouble = false;
  /** The last try has failed. */
  #isStuck = false;
  #timer: Timer | undefined;

  /** Touches nothing yet: the file is made for the first record. */
  constructor(options: AuditLogOptions) {
    this.#options = options;
  }

  /** Never throws, and returns at once. */
  record(entry: AuditEntry, at = this.#options.clock.now()): void {
    const isCall = entry.event === "call";
    if (this.#waiting.length >= (isCall ? MOST_CALLS_WAITING : MOST_WAITING)) {
      this.#lost++;
      this.#writeSoon();
      return;
    }
    this.#waiting.push({ at, entry, lost: this.#lost });
    this.#lost = 0;
    // Each try makes its lines anew: not for each of a thousand calls, where a disk takes nothing.
    if (isCall && (this.#isStuck || this.#waiting.length < BATCH)) this.#writeSoon();
    else void this.#write();
  }

  /** Resolves when everything so far is written, those records that matter on the disk; false if that can't be. */
  async flushed(): Promise<boolean> {
    await this.#write();
    return this.#waiting.length === 0;
  }

  /** What is not written, oldest first, and how many more are lost. */
  get unwritten(): { readonly entries: readonly AuditEntry[]; readonly lost: number } {
    const lost = this.#waiting.reduce((sum, one) => sum + one.lost, this.#lost);
    return { entries: this.#waiting.map(({ entry }) => entry), lost };
  }

  /** Resolves when all is written, or can't be. Bounded; never rejects. */
  async close(): Promise<void> {
    await settledWithin(this.#options.clock, CLOSE_MS, this.#finish());
  }

  #writeSoon(): void {
    this.#timer ??= this.#options.clock.after(
      CALLS_WAIT_MS,
      () => {
        this.#timer = undefined;
        void this.#write();
      },
      { background: true },
    );
  }

  async #finish(): Promise<void> {
    this.#timer?.cancel();
    await this.#write();
    const file = this.#file;
    this.#file = undefined;
    await file?.close().catch((error: unknown) => this.#tell(error));
  }

  /** One at a time; who comes meanwhile is taken along. */
  #write(): Promise<void> {
    if (!this.#writing && this.#waiting.length > 0) this.#writing = this.#writeAll();
    return this.#writing ?? Promise.resolve();
  }

  async #writeAll(): Promise<void> {
    try {
      while (this.#waiting.length > 0) await this.#writeNext();
    } catch (error) {
      this.#isStuck = true;
      this.#tell(error);
    } finally {
      // In the same breath: a record that comes later has to start the next one.
      this.#writing = undefined;
    }
  }

  async #writeNext(): Promise<void> {
    const [first] = this.#waiting;
    if (!first) return;
    const file = await this.#fileFor(first.at);
    // A clock that goes back does not open a day again: the order of the lines is what happened.
    const next = this.#waiting.slice(0, BATCH);
    const end = next.findIndex(({ at }) => dayOf(at) > file.day);
    const batch = end === -1 ? next : next.slice(0, end);
    await file.append(
      batch.map(({ at, entry, lost }) => ({ at, fields: this.#fields(entry, lost) })),
      batch.some(({ entry }) => isDurable(entry)),
    );
    this.#waiting.splice(0, batch.length);
    this.#isStuck = false;
  }

  #fields({ event, ...entry }: AuditEntry, lost: number) {
    const { host, user, pid } = this.#options;
    return { event, host, user, pid, ...entry, ...(lost > 0 && { lost }) };
  }

  async #fileFor(at: number): Promise<AuditFile> {
    const before = this.#file;
    if (before && before.day >= dayOf(at) && !(await before.isGone())) return before;
    const { folder, uid, host, user, pid, version, keptDays = KEPT_DAYS } = this.#options;
    await makeAuditFolder(folder, uid);
    const file = await AuditFile.create({
      folder,
      host,
      user,
      pid,
      version,
      keptDays,
      previous: before?.end,
      now: at,
    });
    this.#file = file;
    await before?.close();
    await removeExpired(folder, at).catch((error: unknown) => this.#tell(error));
    return file;
  }

  #tell(error: unknown): void {
    if (this.#isInTrouble) return;
    this.#isInTrouble = true;
    this.#options.onTrouble(asTrouble(error, this.#options.folder));
  }
}

function asTrouble(error: unknown, folder: string): McpRunError {
  if (error instanceof McpRunError) return error;
  const code = systemErrorCode(error) ?? "a bug in mcp-run";
  const hint =
    code === "ENOSPC" || code === "EDQUOT"
      ? "making room on that disk"
      : "making that folder writable for the user that runs mcp-run";
  return new McpRunError("access-denied", `Cannot write the audit to ${folder}: ${code}`, { hint });
}
