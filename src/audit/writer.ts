/** One file that grows: whole lines or none, also where a write fails half way. */
import { constants } from "node:fs";
import { type FileHandle, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { systemErrorCode } from "../errors.ts";
import { syncFolder } from "../private-folder.ts";
import { NOTHING_BEFORE, sealed } from "./chain.ts";
import { auditFileName, dayOf } from "./files.ts";
import type { AuditWriter, ChainEnd } from "./record.ts";

export interface FileOptions extends AuditWriter {
  readonly folder: string;
  /** Of mcp-run. */
  readonly version: string;
  readonly keptDays: number;
  /** The file that this process wrote to before. */
  readonly previous?: ChainEnd | undefined;
  /** Ms since the epoch. */
  readonly now: number;
}

export class AuditFile {
  readonly name: string;
  readonly day: string;
  readonly #handle: FileHandle;
  #seq = 0;
  #hash = NOTHING_BEFORE;
  /** Bytes of whole lines. */
  #size = 0;
  #hasRemains = false;

  private constructor(name: string, now: number, handle: FileHandle) {
    this.name = name;
    this.day = dayOf(now);
    this.#handle = handle;
  }

  /** Makes a new file, 0600, with its first line. Throws system errors; then there is none. */
  static async create(options: FileOptions): Promise<AuditFile> {
    const { folder, host, user, pid, version, keptDays, previous, now } = options;
    const fileName = { host, pid, openedAt: now, keptDays };
    const { name, handle } = await createFile(folder, (twin) => auditFileName(fileName, twin));
    const file = new AuditFile(name, now, handle);
    try {
      const opened = { event: "open", file: name, host, user, pid, version, ...(previous && { previous }) };
      await file.append([{ at: now, fields: opened }], true);
      await syncFolder(folder);
    } catch (error) {
      await file.close();
      await rm(join(folder, name), { force: true });
      throw error;
    }
    return file;
  }

  /** The last line that is written. */
  get end(): ChainEnd {
    return { file: this.name, hash: this.#hash };
  }

  /** True if somebody has removed it. */
  async isGone(): Promise<boolean> {
    return (await this.#handle.stat()).nlink === 0;
  }

  /**
   * Adds a line for each. Throws system errors; then no line is there, unless the disk refuses even to shorten the
   * file: in that case the next call does so first.
   *
   * @param isDurable resolves only when they are on the disk
   */
  async append(
    records: readonly { readonly at: number; readonly fields: { readonly event: string } }[],
    isDurable: boolean,
  ): Promise<void> {
    let [seq, hash] = [this.#seq, this.#hash];
    const lines = records.map(({ at, fields }) => {
      const next = sealed({ seq: seq++, at: new Date(at).toISOString(), ...fields }, hash);
      hash = next.hash;
      return next.line;
    });
    const bytes = Buffer.from(lines.join(""));
    if (this.#hasRemains) await this.#removeRemains();
    this.#hasRemains = true;
    try {
      await this.#write(bytes);
      if (isDurable) await this.#handle.datasync();
    } catch (error) {
      await this.#removeRemains().catch(ignoreSecondFailure);
      throw error;
    }
    this.#hasRemains = false;
    this.#size += bytes.length;
    this.#seq = seq;
    this.#hash = hash;
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  async #write(bytes: Buffer): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await this.#handle.write(bytes, done, bytes.length - done, this.#size + done);
      done += bytesWritten;
    }
  }

  async #removeRemains(): Promise<void> {
    await this.#handle.truncate(this.#size);
    this.#hasRemains = false;
  }
}

/** Two machines that share a home can have processes of the same name, number and time. */
async function createFile(
  folder: string,
  nameFor: (twin: string) => string,
): Promise<{ name: string; handle: FileHandle }> {
  const { O_CREAT, O_EXCL, O_WRONLY } = constants;
  for (let twin = ""; ; twin += Math.trunc(Math.random() * 36).toString(36)) {
    const name = nameFor(twin);
    try {
      return { name, handle: await open(join(folder, name), O_CREAT | O_EXCL | O_WRONLY, 0o600) };
    } catch (error) {
      if (systemErrorCode(error) !== "EEXIST" || twin.length > 16) throw error;
    }
  }
}

function ignoreSecondFailure(): void {
  // The first one is told, and the next line tries again.
}
