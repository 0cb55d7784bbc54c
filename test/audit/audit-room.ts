/** A folder of its own for an audit, a clock, and logs of several processes that write to it. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Anchor } from "../../src/audit/head.ts";
import { AuditLog, type AuditLogOptions } from "../../src/audit/log.ts";
import type { AuditEntry } from "../../src/audit/record.ts";
import { type Verdict, verifyAudit, verifyFile } from "../../src/audit/verify.ts";
import type { McpRunError } from "../../src/errors.ts";
import { VirtualClock } from "../helpers/virtual-clock.ts";

/** Noon, so that a test has to want midnight to get there. */
export const NOON = Date.UTC(2026, 10, 21, 12);
export const DAY = 86_400_000;

export class AuditRoom {
  readonly home = mkdtempSync(join(tmpdir(), "mcp-run-audit-"));
  readonly folder = join(this.home, "state/audit");
  readonly clock = new VirtualClock(NOON);
  /** What could not be written, as it was told. */
  readonly troubles: McpRunError[] = [];
  #pid = 100;

  log(changes: Partial<AuditLogOptions> = {}): AuditLog {
    return new AuditLog({
      folder: this.folder,
      uid: process.getuid?.(),
      host: "laptop",
      user: "alice",
      pid: this.#pid++,
      version: "0.1.0",
      clock: this.clock,
      onTrouble: (error) => this.troubles.push(error),
      ...changes,
    });
  }

  /** A process that writes these down and ends. */
  async written(entries: readonly AuditEntry[], changes: Partial<AuditLogOptions> = {}): Promise<void> {
    const log = this.log(changes);
    for (const entry of entries) log.record(entry);
    await log.close();
  }

  get wasMade(): boolean {
    return existsSync(this.folder);
  }

  get files(): readonly string[] {
    return readdirSync(this.folder).sort();
  }

  path(name = this.files[0] ?? ""): string {
    return join(this.folder, name);
  }

  lines(name?: string): readonly Record<string, unknown>[] {
    const text = readFileSync(this.path(name), "utf8");
    return text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
  }

  async anchors(): Promise<readonly Anchor[]> {
    const files = await Promise.all(this.files.map((name) => verifyFile(this.folder, name)));
    return files.flatMap(({ end }) => end ?? []);
  }

  verify(anchors?: readonly Anchor[]): Promise<Verdict> {
    return verifyAudit(this.folder, anchors, this.clock.now());
  }

  remove(): void {
    rmSync(this.home, { recursive: true, force: true });
  }
}

export const LAUNCH: AuditEntry = {
  event: "launch",
  profile: "github",
  mode: "run",
  program: "npx",
  serverPid: 4711,
  generation: 1,
  secrets: [{ name: "TOKEN", from: "local:github-token", version: "3", fingerprint: "ab".repeat(16) }],
  ms: 12,
};

export const SWAP: AuditEntry = {
  event: "swap",
  profile: "github",
  serverPid: 4712,
  generation: 2,
  secrets: [{ name: "TOKEN", from: "local:github-token", version: "4" }],
  ms: 200,
};

export const RESTART: AuditEntry = { event: "restart", profile: "github", serverPid: 4713, generation: 3 };

export const END: AuditEntry = { event: "end", profile: "github", exitCode: 0 };

export const CALL: AuditEntry = {
  event: "call",
  profile: "github",
  tool: "search",
  outcome: "ok",
  ms: 3,
  generation: 1,
};
