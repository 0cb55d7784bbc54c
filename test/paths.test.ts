import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { homeDirectory, mcpRunPaths } from "../src/paths.ts";

describe("mcpRunPaths", () => {
  it("derives from the home alone, whatever XDG says", () => {
    const env = { XDG_CONFIG_HOME: "/elsewhere", XDG_DATA_HOME: "/elsewhere" };

    expect(mcpRunPaths(env, "linux", "/home/a")).toEqual({
      config: "/home/a/.config/mcp-run",
      data: "/home/a/.local/share/mcp-run",
      state: "/home/a/.local/state/mcp-run",
      cache: "/home/a/.cache/mcp-run",
      run: "/home/a/.local/state/mcp-run/run",
    });
  });

  it("is the same on macOS", () => {
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

  it("is absolute although MCP_RUN_HOME is not", () => {
    const { config } = mcpRunPaths({ MCP_RUN_HOME: "with space" }, "linux", "/home/a");

    expect(config).toBe(join(process.cwd(), "with space", "config"));
  });
});

describe("homeDirectory", () => {
  it("is HOME, or USERPROFILE on Windows", () => {
    const env = { HOME: "/home/a", USERPROFILE: "C:\\Users\\a" };

    expect(homeDirectory(env, "linux", () => "/account")).toBe("/home/a");
    expect(homeDirectory(env, "win32", () => "C:\\account")).toBe("C:\\Users\\a");
  });

  it.each([undefined, "", "relative", "./here"])(
    "is the account's for HOME=%j, never below the working directory",
    (HOME) => {
      expect(homeDirectory({ HOME }, "linux", () => "/account")).toBe("/account");
    },
  );

  it("is the root folder for an account that has none", () => {
    const none = () => {
      throw new Error("ENOENT");
    };

    expect(homeDirectory({}, "linux", none)).toBe("/");
  });
});
