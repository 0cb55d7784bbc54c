/** A program of the user's own that mcp-run runs beside a server: an issuer's hook, a probe. */
import { posix, win32 } from "node:path";
import { type Compilation, expanded, textOf } from "./compilation.ts";
import type { DocumentPath } from "./findings.ts";
import { checkArguments } from "./literals.ts";
import type { Scalar } from "./schema.ts";
import { withoutVariables } from "./variables.ts";

/** A bare name is looked up in PATH; a relative path would be taken from who knows which folder. */
const PROGRAM = /^(?:[^/\\]+|(?:~[/\\]|[/\\]|[A-Za-z]:[/\\]).*)$/s;

/**
 * Its argv, a `~/` in front of it replaced; undefined if there is no such program.
 *
 * @param path of the words
 * @param what the key that they stand under
 * @param whose `a hook`
 */
export function compileProgram(
  words: readonly Scalar[],
  path: DocumentPath,
  what: string,
  whose: string,
  compilation: Compilation,
): readonly [string, ...string[]] | undefined {
  const { findings, request } = compilation;
  const argv = words.map((word, index) => {
    const place = [...path, index];
    return expanded(withoutVariables(textOf(word, place, compilation), `\`${what}\``), place, compilation);
  });
  checkArguments(argv, what, (index) => [...path, index], compilation);
  const nul = argv.findIndex((word) => word.includes("\0"));
  if (nul >= 0) findings.error({ path: [...path, nul] }, `\`${what}[${nul}]\` holds a NUL character`);
  const [program = "", ...args] = argv;
  if (!PROGRAM.test(program)) {
    findings.error({ path: [...path, 0] }, `the program of ${whose} needs a bare name or an absolute path`, {
      hint: "`~/` in front of it, if it is in your home folder",
    });
    return undefined;
  }
  const { join } = request.platform === "win32" ? win32 : posix;
  return [/^~[/\\]/.test(program) ? join(request.home, program.slice(2)) : program, ...args];
}
