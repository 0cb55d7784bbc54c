import { describe, expect, it } from "vitest";
import { mcpRunPaths } from "../src/paths.ts";

describe("mcpRunPaths", () => {
  it("derives from HOME alone, whatever XDG says", () => {
    const env = { HOME: "/home/a", XDG_CONFIG_HOME: "/elsewhere", XDG_DATA_HOME: "/elsewhere" };

    expect(mcpRunPaths(env, "linux", "/ignored")).toEqual({
      config: "/home/a/.config/mcp-run",
      data: "/home/a/.local/share/mcp-run",
      state: "/home/a/.local/state/mcp-run",
      cache: "/home/a/.cache/mcp-run",
      run: "/home/a/.local/state/mcp-run/run",
    });
  });

  it("is the same on macOS, and takes the account's home where HOME is not set", () => {
    expect(mcpRunPaths({}, "darwin", "/Users/a").config).toBe("/Users/a/.config/mcp-run");
  });

  it("uses the application folders of Windows", () => {
    const env = { APPDATA: "C:\\R", LOCALAPPDATA: "C:\\L" };

    expect(mcpRunPaths(env, "win32", "C:\\Users\\a")).toEqual({
      config: "C:\\R\\mcp-run",
      data: "C:\\L\\mcp-run\\data",
      state: "C:\\L\\mcp-run\\state",
      cache: "C:\\L\\mcp-run\\cache",
      run: "C:\\L\\mcp-run\\state\\run",
    });
  });

  it.each(["linux", "darwin"] as const)("moves as a whole with MCP_RUN_HOME on %s", (platform) => {
    const paths = mcpRunPaths({ HOME: "/home/a", MCP_RUN_HOME: "/moved" }, platform, "/home/a");

    for (const path of Object.values(paths)) expect(path.startsWith("/moved/")).toBe(true);
  });
});
