/**
 * Paths of Vault's API. What a user wrote reaches the server segment by segment and encoded, so that `../`, `?`, `#`
 * and control characters stay part of a name and never lead to another API path.
 */

const MAX_PATH_LENGTH = 1024;
/** Behind a secret's path: where the candidate of a rotation lies until it is promoted. */
const SIDE_SUFFIX = "-mcp-run-pending";
const CONTROL_OR_HALF_A_PAIR = /[\p{Cc}\p{Cs}]/u;
/** Parts of the server itself rather than engines that keep secrets. */
const NO_ENGINES = ["sys", "auth"];

/** Why this can't be the path of a secret, or undefined if it can. */
export function pathProblem(path: string): string | undefined {
  const problem = mountProblem(path);
  if (problem) return problem;
  const segments = path.split("/");
  if (segments.length < 2) return "a ref to a Vault secret is written vault:MOUNT/PATH";
  if (NO_ENGINES.includes(segments[0] as string)) return `${segments[0]}/ keeps no secrets`;
  if (isSidePath(path)) return "this is the candidate of a rotation, which no profile may read";
  return undefined;
}

/** Why this can't be the path of a mount, or undefined if it can. */
export function mountProblem(path: string): string | undefined {
  if (path.length > MAX_PATH_LENGTH) return `a path in Vault has at most ${MAX_PATH_LENGTH} characters`;
  return path.split("/").every(isSegment)
    ? undefined
    : "a path in Vault has names with single / between, none of them . or .., and no control characters";
}

/** True for a name that a ref can hold; what a server lists may be something else. */
export function isSegment(name: string): boolean {
  return name !== "" && name !== "." && name !== ".." && !CONTROL_OR_HALF_A_PAIR.test(name);
}

/** The API path of these parts; each may have several segments. A `/` at an end is left out. */
export function apiPath(...parts: readonly string[]): string {
  return parts
    .flatMap((part) => part.split("/"))
    .filter((segment) => segment !== "")
    .map(encodeURIComponent)
    .join("/");
}

export function sidePath(path: string): string {
  return path + SIDE_SUFFIX;
}

export function isSidePath(path: string): boolean {
  return path.endsWith(SIDE_SUFFIX);
}
