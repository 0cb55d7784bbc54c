/**
 * Where mcp-run keeps its files. Everything derives from HOME alone (or $MCP_RUN_HOME): MCP clients strip
 * the XDG variables and the operator's shell has them, and both must meet at the same places.
 */
import { posix, win32 } from "node:path";

export interface Paths {
  /** Profiles, the pinned recipients and the store's identity: what a user edits or guards. */
  readonly config: string;
  /** The encrypted store. */
  readonly data: string;
  readonly state: string;
  readonly cache: string;
  /** Sockets and other files of running supervisors, 0700. */
  readonly run: string;
}

/**
 * The user's home: HOME where it names a place, else the account's. A relative or empty HOME would lead to
 * the working directory, which may be a cloned repository. An account that has none (a container's user
 * without an entry in /etc/passwd) gets the root folder, as from login(1).
 *
 * @param homeOfAccount may throw
 */
export function homeDirectory(
  env: Readonly<Record<string, string | undefined>>,
  platform: NodeJS.Platform,
  homeOfAccount: () => string,
): string {
  const { isAbsolute } = platform === "win32" ? win32 : posix;
  const home = platform === "win32" ? env.USERPROFILE : env.HOME;
  if (home && isAbsolute(home)) return home;
  try {
    return homeOfAccount();
  } catch {
    // It has none.
    return platform === "win32" ? "C:\\" : "/";
  }
}

/**
 * @param env needs APPDATA and LOCALAPPDATA on Windows; MCP_RUN_HOME moves everything
 * @param home see homeDirectory
 */
export function mcpRunPaths(
  env: Readonly<Record<string, string | undefined>>,
  platform: NodeJS.Platform,
  home: string,
): Paths {
  const { join, resolve } = platform === "win32" ? win32 : posix;
  if (env.MCP_RUN_HOME) {
    // Absolute, since a server with a working directory of its own is told of places below it.
    const moved = resolve(env.MCP_RUN_HOME);
    const state = join(moved, "state");
    return {
      config: join(moved, "config"),
      data: join(moved, "data"),
      state,
      cache: join(moved, "cache"),
      run: join(state, "run"),
    };
  }
  if (platform === "win32") {
    const roaming = join(env.APPDATA || join(home, "AppData", "Roaming"), "mcp-run");
    const local = join(env.LOCALAPPDATA || join(home, "AppData", "Local"), "mcp-run");
    const state = join(local, "state");
    return {
      config: roaming,
      data: join(local, "data"),
      state,
      cache: join(local, "cache"),
      run: join(state, "run"),
    };
  }
  const state = join(home, ".local", "state", "mcp-run");
  return {
    config: join(home, ".config", "mcp-run"),
    data: join(home, ".local", "share", "mcp-run"),
    state,
    cache: join(home, ".cache", "mcp-run"),
    run: join(state, "run"),
  };
}
