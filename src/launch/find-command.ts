/**
 * Finds the program before it is started, so that a failure can be told exactly: which PATH was searched,
 * which file is not executable, which interpreter of a script is missing. The spawn itself knows only ENOENT.
 */
import { accessSync, closeSync, constants, openSync, readSync, type Stats, statSync } from "node:fs";
import { basename, isAbsolute, posix, resolve, win32 } from "node:path";
import { McpRunError } from "../errors.ts";
import { shellWord } from "../shell-word.ts";

export interface CommandSearch {
  /** As the profile has it: a name, or a path with a separator in it. */
  readonly command: string;
  /** Absolute: what a relative path is relative to. */
  readonly cwd: string;
  /** The folders, joined as in PATH. */
  readonly searchPath: string;
  readonly platform: NodeJS.Platform;
  /** Windows: the endings that make a file executable, as in PATHEXT. */
  readonly pathExt?: string;
}

/** The absolute path of the program. Throws McpRunError `command-not-found` or `command-not-executable`. */
export function findCommand(search: CommandSearch): string {
  checkCwd(search);
  const file = search.platform === "win32" ? findOnWindows(search) : findOnPosix(search);
  if (search.platform !== "win32") checkInterpreter(file, search);
  return file;
}

function checkCwd({ command, cwd }: CommandSearch): void {
  const folder = lookAt(cwd);
  if (typeof folder === "string") {
    throw new McpRunError(
      "command-not-executable",
      `Cannot start ${command}: its cwd ${cwd} is out of reach (${folder})`,
      {
        hint: "`cwd:` with a directory that this user may enter",
      },
    );
  }
  if (folder?.isDirectory()) return;
  const state = folder ? "is not a directory" : "does not exist";
  throw new McpRunError("command-not-executable", `Cannot start ${command}: its cwd ${cwd} ${state}`, {
    hint: folder ? "`cwd:` with a directory" : `mkdir -p ${shellWord(cwd)}, or another \`cwd:\``,
  });
}

function findOnPosix({ command, cwd, searchPath }: CommandSearch): string {
  if (command.includes("/")) {
    const file = resolve(cwd, command);
    const problem = whyNotExecutable(file);
    if (problem === undefined) return file;
    throw problem === "missing" ? fileMissing(command, file) : notExecutable(command, file, problem);
  }
  let refused: McpRunError | undefined;
  for (const folder of searchPath.split(":")) {
    // An empty entry means the working directory (POSIX 8.3); from a client that is nobody's intention.
    if (folder === "") continue;
    const file = resolve(cwd, folder, command);
    const problem = whyNotExecutable(file);
    if (problem === undefined) return file;
    // A folder of PATH that this user may not enter has nothing for them: a shell passes over it too.
    if (problem === "mode" || problem === "directory") refused ??= notExecutable(command, file, problem);
  }
  throw refused ?? notOnPath(command, searchPath);
}

function findOnWindows({ command, cwd, searchPath, pathExt }: CommandSearch): string {
  const endings = ["", ...(pathExt || ".COM;.EXE;.BAT;.CMD").split(";")];
  const isPath = /[\\/]/.test(command);
  const folders = isPath ? [cwd] : searchPath.split(";").filter((folder) => folder !== "");
  for (const folder of folders) {
    for (const ending of endings) {
      const file = win32.resolve(folder, command + ending);
      const found = lookAt(file);
      if (typeof found === "object" && found.isFile()) return file;
    }
  }
  throw isPath ? fileMissing(command, win32.resolve(cwd, command)) : notOnPath(command, searchPath);
}

/** The code of the error if it can't be seen whether something is there: a folder that may not be entered, a loop of links. */
function lookAt(file: string): Stats | string | undefined {
  try {
    return statSync(file, { throwIfNoEntry: false });
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? "unknown";
  }
}

type Problem = "missing" | "directory" | "mode" | { readonly outOfReach: string };

/** Undefined if it can be run. */
function whyNotExecutable(file: string): Problem | undefined {
  const found = lookAt(file);
  if (typeof found === "string") return { outOfReach: found };
  if (!found) return "missing";
  if (found.isDirectory()) return "directory";
  return isExecutable(file) ? undefined : "mode";
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function fileMissing(command: string, file: string): McpRunError {
  const resolved = isAbsolute(command) ? "" : ` (looked for at ${file})`;
  return new McpRunError("command-not-found", `Cannot start ${command}: there is no such file${resolved}`, {
    hint: "the path of a file that is there",
  });
}

function notExecutable(command: string, file: string, problem: Exclude<Problem, "missing">): McpRunError {
  if (typeof problem === "object") {
    const message = `Cannot start ${command}: ${file} is out of reach (${problem.outOfReach})`;
    return new McpRunError("command-not-executable", message, {
      hint: "the path of a program in a folder that this user may enter",
    });
  }
  if (problem === "directory") {
    return new McpRunError("command-not-executable", `Cannot start ${command}: ${file} is a directory`, {
      hint: "the path of a program in it",
    });
  }
  return new McpRunError("command-not-executable", `Cannot start ${command}: ${file} is not executable`, {
    hint: `chmod +x ${shellWord(file)}`,
  });
}

function notOnPath(command: string, searchPath: string): McpRunError {
  if (/\s/.test(command)) {
    return new McpRunError("command-not-found", `Cannot start ${command}: no program has this name`, {
      hint: "`args:` for what follows the program's name",
    });
  }
  const advice =
    command === "npx" || command === "npm" || command === "node"
      ? `installing Node.js with npm, or the absolute path of ${command} (\`command -v ${command}\` in a terminal shows it)`
      : `the absolute path of ${command}: apps that are not started from a terminal have a shorter PATH (\`command -v ${command}\` in a terminal shows it)`;
  return new McpRunError("command-not-found", `Cannot start ${command}: it is in no folder of PATH`, {
    hint: advice,
    details: [`PATH: ${searchPath || "(empty)"}`],
  });
}

/** The kernel reads at most this much of a script's first line (BINPRM_BUF_SIZE in linux/binfmts.h). */
const SHEBANG_BYTES = 256;

function checkInterpreter(file: string, { command, searchPath, cwd }: CommandSearch): void {
  const shebang = /^#![ \t]*([^ \t\n]+)[ \t]*([^\n]*)/.exec(firstBytes(file));
  const interpreter = shebang?.[1];
  if (!interpreter) return;
  const fail = (missing: string, hint: string) => {
    const message = `Cannot start ${command}: ${file} needs ${missing}, which is not there`;
    throw new McpRunError("command-not-found", message, { hint });
  };
  if (interpreter.endsWith("\r")) {
    const message = `Cannot start ${command}: the first line of ${file} ends like a Windows line`;
    throw new McpRunError("command-not-found", message, { hint: `sed -i 's/\\r$//' ${shellWord(file)}` });
  }
  if (lookAt(resolve(cwd, interpreter)) === undefined) {
    fail(interpreter, `installing ${basename(interpreter)}, or mending the file's first line`);
  }
  const program =
    basename(interpreter) === "env" ? /^[^-\s=][^\s=]*/.exec(shebang?.[2] ?? "")?.[0] : undefined;
  if (program === undefined || program.includes("/")) return;
  const folders = searchPath.split(":").filter((folder) => folder !== "");
  if (!folders.some((folder) => whyNotExecutable(posix.resolve(cwd, folder, program)) === undefined)) {
    fail(`${program} on PATH`, `installing ${program}, or \`env: { PATH: … }\` with its folder`);
  }
}

/** Empty for a program that may be run but not read. */
function firstBytes(file: string): string {
  let descriptor: number;
  try {
    descriptor = openSync(file, "r");
  } catch {
    return "";
  }
  try {
    const bytes = Buffer.alloc(SHEBANG_BYTES);
    return bytes.toString("latin1", 0, readSync(descriptor, bytes));
  } finally {
    closeSync(descriptor);
  }
}
