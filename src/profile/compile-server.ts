/** The part of a profile that says what is started, and in which surroundings. */
import { posix, win32 } from "node:path";
import { type Compilation, checkRange, expanded, textOf } from "./compilation.ts";
import { checkArguments, checkVariable, isMisplacedRef } from "./literals.ts";
import type { Profile } from "./profile.ts";
import { parseDuration, parseSize } from "./quantities.ts";
import { expandVariables, withoutVariables } from "./variables.ts";

const DEFAULT_STOP_GRACE_MS = 1_500;
const DEFAULT_FETCH_TIMEOUT_MS = 10_000;
const DEFAULT_MAX_LINE_BYTES = 64 * 2 ** 20;

const MOST_STOP_GRACE_MS = 10 * 60_000;
const LEAST_FETCH_TIMEOUT_MS = 100;
const MOST_FETCH_TIMEOUT_MS = 10 * 60_000;
const LEAST_LINE_BYTES = 64 * 2 ** 10;
const MOST_LINE_BYTES = 512 * 2 ** 20;
const LEAST_CACHE_AGE_MS = 60_000;
const MOST_CACHE_AGE_MS = 30 * 86_400_000;

type ServerPart = Pick<
  Profile,
  | "command"
  | "args"
  | "cwd"
  | "env"
  | "inheritEnv"
  | "stopGraceMs"
  | "fetchTimeoutMs"
  | "maxLineBytes"
  | "cacheMaxAgeMs"
  | "onCrash"
  | "stdout"
>;

export function compileServer(compilation: Compilation): ServerPart {
  const cwd = compileCwd(compilation);
  return {
    command: compileCommand(compilation),
    args: compileArgs(compilation),
    ...(cwd !== undefined && { cwd }),
    env: compileEnv(compilation),
    inheritEnv: compileInheritEnv(compilation),
    ...compileLimits(compilation),
    ...compileCache(compilation),
    onCrash: compilation.body.onCrash ?? "restart",
    stdout: compilation.body.scrub?.stdout ?? "warn",
  };
}

function compileCommand(compilation: Compilation): string {
  const { body, pathOf, findings, request } = compilation;
  const { command } = body;
  const path = pathOf("command");
  if (command === undefined) {
    // A `command` of the wrong kind has been reported already, at its own place.
    if (!isReported(path, compilation))
      findings.error({ path }, "`command` is missing", {
        hint: "`command: npx`, and the server's package under `args`",
      });
    return "";
  }
  const text = expanded(withoutVariables(command, "`command`"), path, compilation);
  refuseNul(text, path, "`command`", compilation);
  if (/^~[/\\]/.test(text)) {
    const { join } = request.platform === "win32" ? win32 : posix;
    findings.error({ path }, "`~` is not expanded in `command`", {
      hint: `\`${join(request.home, text.slice(2))}\``,
    });
  } else if (/^[\w@.-]+\s+\S/.test(text)) {
    findings.error({ path }, "`command` is one program, without its arguments", {
      hint: "the arguments under `args:`, as a list",
    });
  }
  return text;
}

function compileArgs(compilation: Compilation): readonly string[] {
  const { body, pathOf } = compilation;
  const args = (body.args ?? []).map((argument, index) => {
    const path = pathOf("args", index);
    const text = expanded(withoutVariables(textOf(argument, path, compilation), "`args`"), path, compilation);
    refuseNul(text, path, `\`args[${index}]\``, compilation);
    return text;
  });
  checkArguments(args, "args", (index) => pathOf("args", index), compilation);
  return args;
}

function compileCwd(compilation: Compilation): string | undefined {
  const { body, pathOf, findings, request } = compilation;
  if (body.cwd === undefined) return undefined;
  const path = pathOf("cwd");
  const before = findings.errors.length;
  const text = expanded(
    expandVariables(body.cwd, request.env, () => "a variable that holds a path"),
    path,
    compilation,
  );
  if (findings.errors.length > before) return undefined;
  refuseNul(text, path, "`cwd`", compilation);
  const paths = request.platform === "win32" ? win32 : posix;
  if (text === "~" || /^~[/\\]/.test(text)) return paths.join(request.home, text.slice(1));
  if (paths.isAbsolute(text)) return text;
  findings.error({ path }, "`cwd` is a relative path, and a client starts mcp-run anywhere", {
    hint: "an absolute path, or one that begins with `~/`",
  });
  return undefined;
}

function compileEnv(compilation: Compilation): Readonly<Record<string, string>> {
  const { body, pathOf, findings, request, providerWords } = compilation;
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(body.env ?? {})) {
    const path = pathOf("env", name);
    const written = textOf(value, path, compilation);
    if (isMisplacedRef(name, written, providerWords)) {
      findings.error({ path }, `\`${name}\` is a ref, and \`env\` holds plain values only`, {
        hint: `the same line under \`secrets:\``,
      });
      continue;
    }
    checkVariable(name, written, path, compilation);
    const advice = (variable: string) => `\`${name}: env:${variable}\` under \`secrets:\``;
    env[name] = expanded(expandVariables(written, request.env, advice), path, compilation);
    refuseNul(env[name], path, `\`${name}\``, compilation);
  }
  return env;
}

function compileInheritEnv({ body, pathOf, findings }: Compilation): readonly string[] | "none" | "all" {
  const wanted = body.inheritEnv ?? [];
  if (typeof wanted === "string") return wanted;
  for (const [index, name] of wanted.entries()) {
    const path = pathOf("inheritEnv", index);
    if (name === "all" || name === "none") {
      findings.error({ path }, `\`${name}\` is not the name of a variable`, {
        hint: `\`inheritEnv: ${name}\``,
      });
    } else if (/[=\0]/.test(name)) {
      findings.error({ path }, "a variable's name can't hold `=` or a NUL byte", {
        hint: "only the name; a value goes under `env:`",
      });
    }
  }
  return wanted;
}

function compileLimits(
  compilation: Compilation,
): Pick<Profile, "stopGraceMs" | "fetchTimeoutMs" | "maxLineBytes"> {
  const { body, pathOf, findings } = compilation;
  const stopGraceMs = body.stopGrace === undefined ? undefined : parseDuration(body.stopGrace);
  const fetchTimeoutMs = body.fetchTimeout === undefined ? undefined : parseDuration(body.fetchTimeout);
  const maxLineBytes = body.maxLine === undefined ? undefined : parseSize(body.maxLine);
  checkRange(pathOf("stopGrace"), stopGraceMs, 0, MOST_STOP_GRACE_MS, "`0s` to `10m`", findings);
  checkRange(
    pathOf("fetchTimeout"),
    fetchTimeoutMs,
    LEAST_FETCH_TIMEOUT_MS,
    MOST_FETCH_TIMEOUT_MS,
    "`100ms` to `10m`",
    findings,
  );
  checkRange(
    pathOf("maxLine"),
    maxLineBytes,
    LEAST_LINE_BYTES,
    MOST_LINE_BYTES,
    "`64KiB` to `512MiB`",
    findings,
  );
  return {
    stopGraceMs: stopGraceMs ?? DEFAULT_STOP_GRACE_MS,
    fetchTimeoutMs: fetchTimeoutMs ?? DEFAULT_FETCH_TIMEOUT_MS,
    maxLineBytes: maxLineBytes ?? DEFAULT_MAX_LINE_BYTES,
  };
}

function compileCache(compilation: Compilation): Pick<Profile, "cacheMaxAgeMs"> {
  const { cache } = compilation.body;
  const cacheMaxAgeMs = cache === undefined || cache === "off" ? undefined : parseDuration(cache.maxAge);
  if (cacheMaxAgeMs === undefined) return {};
  checkRange(
    compilation.pathOf("cache", "maxAge"),
    cacheMaxAgeMs,
    LEAST_CACHE_AGE_MS,
    MOST_CACHE_AGE_MS,
    "`1m` to `30d`",
    compilation.findings,
  );
  return { cacheMaxAgeMs };
}

function refuseNul(
  text: string,
  path: readonly (string | number)[],
  what: string,
  { findings }: Compilation,
): void {
  if (text.includes("\0"))
    findings.error({ path }, `${what} holds a NUL byte, which no program can be given`);
}

function isReported(path: readonly (string | number)[], { findings }: Compilation): boolean {
  const wanted = path.join("\0");
  return findings.errors.some(({ place }) => "path" in place && place.path.join("\0") === wanted);
}
