/** Failures with a file, as ProviderErrors that name its path and what to do. */
import { ProviderError, systemErrorCode } from "../../src/errors.ts";
import { shellWord } from "../../src/shell-word.ts";

/** @param error of a file operation
 * @param verb what was tried, such as "read" or "written" in «FILE can't be …» */
export function fileError(error: unknown, verb: string, path: string): ProviderError {
  if (error instanceof ProviderError) return error;
  if (systemErrorCode(error) === undefined) throw error;
  const code = systemErrorCode(error) as string;
  const what = `${path} can't be ${verb}`;
  switch (code) {
    case "EACCES":
    case "EPERM":
      return new ProviderError("denied", `${what}: permission denied (${code})`, {
        hint: `ls -ld ${shellWord(path)}, to see whose it is`,
      });
    case "EROFS":
      return new ProviderError("denied", `${what}: the file system is read-only (${code})`, {
        hint: "a place that can be written, by file: in the provider's settings or by MCP_RUN_HOME",
      });
    case "ENOSPC":
    case "EDQUOT":
    case "EFBIG":
      return new ProviderError("unavailable", `${what}: the disk is full (${code}); nothing was changed`, {
        hint: "the same again after making room",
      });
    case "ENOTDIR":
    case "EISDIR":
    case "ELOOP":
      return new ProviderError("invalid", `${what}: there is something else at this path (${code})`);
    default:
      return new ProviderError("unavailable", `${what} (${code})`);
  }
}

/** Runs a parser of this store's content, and says in its ProviderError which file is wrong. */
export function namingFile<T>(path: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    throw new ProviderError(error.failure, `${path} can't be read: ${error.reason}`, {
      hint: error.hint ?? "a backup of this file; it was left as it is",
    });
  }
}
