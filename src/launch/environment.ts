/**
 * The environment of a server or a program: what it inherits, what the profile adds, and what never passes.
 * The only file of this room that touches `process.env`, and only as a default. A secret beats `env`, `env`
 * beats everything inherited, and what is withheld is withheld even where the profile asks for it by name.
 *
 * Node decodes inherited values as UTF-8, and can hand on nothing but UTF-8: a byte that is not valid UTF-8
 * reaches the program as U+FFFD. See docs/stopping.md for who is affected.
 */
import { posix, win32 } from "node:path";
import type { Secret } from "../secrets/secret.ts";
import { isCredentialName, SUPERVISION_NAMES } from "./withheld-names.ts";

export type AmbientEnvironment = Readonly<Record<string, string | undefined>>;
export type Environment = Readonly<Record<string, string>>;

/** What the MCP SDK hands to a server by default (typescript-sdk, client/stdio). Pinned by a test. */
export const DEFAULT_INHERITED = {
  posix: ["HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER"],
  win32: [
    "APPDATA",
    "HOMEDRIVE",
    "HOMEPATH",
    "LOCALAPPDATA",
    "PATH",
    "PROCESSOR_ARCHITECTURE",
    "SYSTEMDRIVE",
    "SYSTEMROOT",
    "TEMP",
    "USERNAME",
    "USERPROFILE",
    "PROGRAMFILES",
  ],
} as const;

/** Where programs are looked for when nobody says: a client that sets no PATH at all still has `sh`. */
const PATH_OF_LAST_RESORT = "/usr/local/bin:/usr/bin:/bin";

export interface ProgramEnvironmentOptions {
  /** Plain values: the profile's `env`, and the paths of delivered files. */
  readonly env: Environment;
  /** The secrets that are delivered as variables. */
  readonly secrets: ReadonlyMap<string, Secret>;
  /** Every secret name of the profile, delivered or not: an ambient variable never stands in for one. */
  readonly secretNames: Iterable<string>;
  /** What providers and `env:` refs have read. Names of the default list are inherited all the same. */
  readonly namesRead: ReadonlySet<string>;
  readonly platform: NodeJS.Platform;
  readonly ambient?: AmbientEnvironment;
}

export interface ServerEnvironmentOptions extends ProgramEnvironmentOptions {
  /** Names besides the default list; `none` inherits nothing, not even PATH. */
  readonly inheritEnv: readonly string[] | "none" | "all";
  /** The folder of the running node; goes to the front of an inherited PATH. */
  readonly nodeFolder: string;
}

/** The whole environment of a served MCP server (design.md section 6). */
export function serverEnvironment(options: ServerEnvironmentOptions): Environment {
  const { platform, inheritEnv, ambient = process.env } = options;
  const child = new NamedValues(platform);
  if (inheritEnv !== "none") {
    const wanted = inheritEnv === "all" ? Object.keys(ambient) : [...defaultNames(platform), ...inheritEnv];
    inherit(child, new Set(wanted), options);
    // A shell function in a variable is code; the SDK leaves it out too.
    for (const [name, value] of child.entries()) if (value.startsWith("()")) child.delete(name);
    for (const name of SUPERVISION_NAMES) child.delete(name);
    child.set("PATH", pathWith(options.nodeFolder, child.get("PATH"), platform));
  }
  return withOwnValues(child, options);
}

/** The environment of `exec`: the caller's, less what is withheld, and the profile's own values. */
export function programEnvironment(options: ProgramEnvironmentOptions): Environment {
  const { platform, ambient = process.env } = options;
  const child = new NamedValues(platform);
  inherit(child, new Set(Object.keys(ambient)), options);
  return withOwnValues(child, options);
}

/**
 * Where the command is looked for: the program's own PATH; where it has none (`inheritEnv: none`), ours.
 */
export function commandSearchPath(
  env: Environment,
  nodeFolder: string,
  platform: NodeJS.Platform,
  ambient: AmbientEnvironment = process.env,
): string {
  const own = new NamedValues(platform, env).get("PATH");
  return own ?? pathWith(nodeFolder, new NamedValues(platform, ambient).get("PATH"), platform);
}

function inherit(child: NamedValues, wanted: ReadonlySet<string>, options: ProgramEnvironmentOptions): void {
  const { platform, ambient = process.env } = options;
  const available = new NamedValues(platform, ambient);
  const secretNames = new NameSet(platform, options.secretNames);
  const namesRead = new NameSet(platform, options.namesRead);
  const basic = new NameSet(platform, defaultNames(platform));
  for (const name of wanted) {
    const value = available.get(name);
    if (value === undefined || secretNames.has(name) || isCredentialName(name, platform)) continue;
    if (namesRead.has(name) && !basic.has(name)) continue;
    child.set(name, value);
  }
}

function withOwnValues(child: NamedValues, { env, secrets }: ProgramEnvironmentOptions): Environment {
  for (const [name, value] of Object.entries(env)) child.set(name, value);
  for (const [name, secret] of secrets) child.set(name, secret.reveal());
  return child.toObject();
}

function pathWith(nodeFolder: string, path: string | undefined, platform: NodeJS.Platform): string {
  const { delimiter } = platform === "win32" ? win32 : posix;
  const rest = path || (platform === "win32" ? "" : PATH_OF_LAST_RESORT);
  return rest === "" ? nodeFolder : `${nodeFolder}${delimiter}${rest}`;
}

/** The names that a server inherits without a word in its profile. */
export function defaultNames(platform: NodeJS.Platform): readonly string[] {
  return DEFAULT_INHERITED[platform === "win32" ? "win32" : "posix"];
}

/** A set of variable names; on Windows they are the same whatever their case. */
export class NameSet {
  readonly #names: ReadonlySet<string>;
  readonly #platform: NodeJS.Platform;

  constructor(platform: NodeJS.Platform, names: Iterable<string>) {
    this.#platform = platform;
    this.#names = new Set([...names].map((name) => comparable(name, platform)));
  }

  has(name: string): boolean {
    return this.#names.has(comparable(name, this.#platform));
  }
}

/** Variables by name, in the order they came; on Windows `Path` and `PATH` are one. */
class NamedValues {
  readonly #platform: NodeJS.Platform;
  readonly #entries = new Map<string, { name: string; value: string }>();

  constructor(platform: NodeJS.Platform, initial: AmbientEnvironment = {}) {
    this.#platform = platform;
    for (const [name, value] of Object.entries(initial)) if (value !== undefined) this.set(name, value);
  }

  get(name: string): string | undefined {
    return this.#entries.get(comparable(name, this.#platform))?.value;
  }

  set(name: string, value: string): void {
    this.#entries.set(comparable(name, this.#platform), { name, value });
  }

  delete(name: string): void {
    this.#entries.delete(comparable(name, this.#platform));
  }

  entries(): [string, string][] {
    return [...this.#entries.values()].map(({ name, value }) => [name, value]);
  }

  toObject(): Environment {
    return Object.fromEntries(this.entries());
  }
}

function comparable(name: string, platform: NodeJS.Platform): string {
  return platform === "win32" ? name.toUpperCase() : name;
}
