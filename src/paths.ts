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
 * @param env needs HOME (posix) or APPDATA and LOCALAPPDATA (Windows); MCP_RUN_HOME moves everything
 * @param home what to use where the environment has no HOME: the account's home directory
 */
export function mcpRunPaths(
  env: Readonly<Record<string, string | undefined>>,
  platform: NodeJS.Platform,
  home: string,
): Paths {
  const { join } = platform === "win32" ? win32 : posix;
  const moved = env.MCP_RUN_HOME;
  if (moved) {
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
  const base = env.HOME || home;
  const state = join(base, ".local", "state", "mcp-run");
  return {
    config: join(base, ".config", "mcp-run"),
    data: join(base, ".local", "share", "mcp-run"),
    state,
    cache: join(base, ".cache", "mcp-run"),
    run: join(state, "run"),
  };
}
