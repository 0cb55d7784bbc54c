/** The built mcp-run with a throw-away home of its own, started as a user would. */
import { spawnSync } from "node:child_process";
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { BOUNDED } from "./processes.ts";

export const ROOT = join(import.meta.dirname, "../..");
export const MAIN = join(ROOT, "dist/main.cjs");

/** False where the checkout, or node, is in a folder that this user may not enter; needs root. */
export function isWithinReachOf(uid: number): boolean {
  const look = `require("fs").accessSync(${JSON.stringify(MAIN)})`;
  return spawnSync(process.execPath, ["-e", look], { uid, gid: uid, cwd: "/" }).status === 0;
}

export interface Ran {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** Runs as this user; needs root. */
  readonly uid?: number;
}

export class Installation {
  readonly home = mkdtempSync(join(tmpdir(), "mcp-run-test-"));

  get env(): Record<string, string> {
    return {
      HOME: this.home,
      PATH: process.env.PATH ?? "",
      MCP_RUN_HOME: this.home,
      MCP_RUN_KEYCHAIN: "off",
    };
  }

  /** Writes a file below the home, 0600 in 0700 folders, and returns its path. */
  write(path: string, text: string | Uint8Array): string {
    const file = join(this.home, path);
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    writeFileSync(file, text, { mode: 0o600 });
    return file;
  }

  profile(name: string, body: string): string {
    return this.write(`config/profiles/${name}.yaml`, body);
  }

  run(args: readonly string[], { input = "", env = {}, cwd = this.home, uid }: RunOptions = {}): Ran {
    const ran = spawnSync(process.execPath, [MAIN, ...args], {
      env: Object.fromEntries(
        Object.entries({ ...this.env, ...env }).filter(([, value]) => value !== undefined),
      ),
      cwd,
      input,
      encoding: "utf8",
      ...BOUNDED,
      maxBuffer: 64 * 1024 * 1024,
      ...(uid !== undefined && { uid, gid: uid }),
    });
    return { status: ran.status, signal: ran.signal, stdout: ran.stdout, stderr: ran.stderr };
  }

  /** Stores a secret and fails loudly if that did not work. */
  set(ref: string, value: string): void {
    const ran = this.run(["secrets", "set", ref], { input: value });
    if (ran.status !== 0) throw new Error(`secrets set ${ref} ended with ${ran.status}: ${ran.stderr}`);
  }

  /** Gives everything to another user; needs root. */
  giveTo(uid: number): void {
    chownSync(this.home, uid, uid);
    for (const entry of readdirSync(this.home, { recursive: true, encoding: "utf8" }))
      chownSync(join(this.home, entry), uid, uid);
  }

  read(path: string): Buffer {
    return readFileSync(join(this.home, path));
  }

  has(path: string): boolean {
    return existsSync(join(this.home, path));
  }

  /** Files below the home that hold this text, by relative path. */
  filesWith(text: string): string[] {
    return readdirSync(this.home, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .filter((file) => contentOf(file).includes(text));
  }

  remove(): void {
    // A program that was killed may be writing there for a moment.
    rmSync(this.home, { recursive: true, force: true, maxRetries: 10 });
  }
}

/** Nothing of a draft that has got its name between the listing and now: files that stay are looked at as well. */
function contentOf(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT" && file.endsWith(".tmp")) return Buffer.alloc(0);
    throw error;
  }
}
