/**
 * Keeps what V8 has compiled between two starts: about a third of a start is compiling the same bundle again.
 * Node 22.1 and later do this themselves; for Node 20 each bundled file's code is kept here in a file of its own.
 * A file's cache holds the functions that the first start has used, so every command has caches of its own.
 * The cache is code, so its folder must be ours alone; whatever is wrong with it, the start goes on without.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import Module from "node:module";
import { basename, dirname, join } from "node:path";
import { Script } from "node:vm";

/** Ms after the start at which a process that goes on writes what it has compiled by then. */
const WRITE_AFTER_MS = 3_000;
const DIGEST_BYTES = 32;

interface CompiledFile {
  readonly script: Script;
  readonly cacheFile: string;
}

/** The part of Node's module loader that compiles a file; there is no public hook for it in Node 20. */
interface ModuleLoader {
  readonly prototype: { _compile(this: NodeJS.Module, code: string, file: string): unknown };
  wrap(code: string): string;
  enableCompileCache?(folder: string): unknown;
}

/**
 * From here on, files in `bundle` are compiled from the cache in `folder`, and missing ones are added to it.
 *
 * @param command which part of the cache is used: one word for the starts that run the same code
 * @param uid of the user; undefined on Windows
 */
export function useCodeCache(folder: string, command: string, bundle: string, uid: number | undefined): void {
  const loader = Module as unknown as ModuleLoader;
  if (!isOurs(folder, uid)) return;
  if (loader.enableCompileCache) loader.enableCompileCache(join(folder, command));
  else hookInto(loader, join(folder, `${process.version}-${process.arch}`, command), bundle);
}

function hookInto(loader: ModuleLoader, folder: string, bundle: string): void {
  const compiled: CompiledFile[] = [];
  const compileAsUsual = loader.prototype._compile;
  loader.prototype._compile = function (code, file) {
    if (!file.startsWith(bundle)) return compileAsUsual.call(this, code, file);
    const { size, mtimeMs } = statSync(file);
    const cacheFile = join(folder, `${basename(file)}-${size}-${Math.trunc(mtimeMs)}`);
    const cachedData = readCache(cacheFile);
    const script = new Script(loader.wrap(withoutShebang(code)), {
      filename: file,
      ...(cachedData && { cachedData }),
    });
    if (!cachedData || script.cachedDataRejected) compiled.push({ script, cacheFile });
    // Module.createRequire would do as well, and takes half a millisecond a file.
    const require = (id: string) => this.require(id);
    return script.runInThisContext().call(this.exports, this.exports, require, this, file, dirname(file));
  };
  const write = () => writeCache(folder, compiled.splice(0));
  setTimeout(write, WRITE_AFTER_MS).unref();
  process.on("exit", (exitCode) => {
    // One that failed has hardly used what the others will.
    if (exitCode === 0) write();
  });
}

/** V8 trusts the data that it is given, so a damaged file must not reach it: its digest stands before the data. */
function readCache(file: string): Buffer | undefined {
  try {
    const bytes = readFileSync(file);
    const data = bytes.subarray(DIGEST_BYTES);
    return digestOf(data).equals(bytes.subarray(0, DIGEST_BYTES)) ? data : undefined;
  } catch {
    // Not there yet, or not readable: then it is compiled.
    return undefined;
  }
}

function writeCache(folder: string, compiled: readonly CompiledFile[]): void {
  if (compiled.length === 0) return;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    for (const { script, cacheFile } of compiled) {
      const data = script.createCachedData();
      const draft = `${cacheFile}.${process.pid}`;
      writeFileSync(draft, Buffer.concat([digestOf(data), data]), { mode: 0o600 });
      renameSync(draft, cacheFile);
      removeOlder(folder, basename(cacheFile));
    }
  } catch {
    // A full or read-only disk costs the next start some time, and nothing else.
  }
}

/** Caches of the same file as it was before, and drafts that were never finished. */
function removeOlder(folder: string, name: string): void {
  const [file] = name.split(/-\d+-\d+$/);
  for (const other of readdirSync(folder)) {
    if (other !== name && other.split(/-\d+-\d+(\.\d+)?$/)[0] === file)
      rmSync(join(folder, other), { force: true });
  }
}

/** Makes the folder if need be; false if somebody else could have put code into it. */
function isOurs(folder: string, uid: number | undefined): boolean {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const found = statSync(folder);
    if (uid === undefined) return true;
    return found.uid === uid && (found.mode & 0o022) === 0;
  } catch {
    // No home, or a read-only one: then there is no cache.
    return false;
  }
}

function digestOf(data: Buffer): Buffer {
  return createHash("sha256").update(data).digest();
}

function withoutShebang(code: string): string {
  return code.startsWith("#!") ? `//${code}` : code;
}
