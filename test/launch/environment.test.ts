import { spawnSync } from "node:child_process";
import { dirname } from "node:path";
import { describe, expect, it } from "vitest";
import {
  commandSearchPath,
  DEFAULT_INHERITED,
  programEnvironment,
  type ServerEnvironmentOptions,
  serverEnvironment,
} from "../../src/launch/environment.ts";
import { Secret } from "../../src/secrets/secret.ts";

const CANARY = "canary-5d1e0a";
const CLIENT = {
  HOME: "/home/u",
  PATH: "/usr/bin",
  TERM: "xterm",
  USER: "u",
  LOGNAME: "u",
  SHELL: "/bin/sh",
};

function server(changes: Partial<ServerEnvironmentOptions> = {}) {
  return serverEnvironment({
    env: {},
    secrets: new Map(),
    secretNames: [],
    namesRead: new Set(),
    platform: "linux",
    inheritEnv: [],
    nodeFolder: "/opt/node/bin",
    ambient: CLIENT,
    ...changes,
  });
}

describe("the default list", () => {
  it("is the MCP SDK's", () => {
    expect(DEFAULT_INHERITED).toEqual({
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
    });
  });

  it("is the one that the installed SDK uses", async () => {
    const { DEFAULT_INHERITED_ENV_VARS } = await import("@modelcontextprotocol/sdk/client/stdio.js");

    expect(DEFAULT_INHERITED[process.platform === "win32" ? "win32" : "posix"]).toEqual(
      DEFAULT_INHERITED_ENV_VARS,
    );
  });
});

describe("the environment of a server", () => {
  it("is the default list, the profile's values and the secrets, and nothing else", () => {
    const env = server({
      ambient: { ...CLIENT, EDITOR: "vi", HTTPS_PROXY: "http://proxy", NPM_TOKEN: CANARY },
      inheritEnv: ["HTTPS_PROXY", "NOT_SET"],
      env: { API_URL: "https://api" },
      secrets: new Map([["TOKEN", new Secret(CANARY)]]),
    });

    expect(env).toEqual({
      ...CLIENT,
      PATH: "/opt/node/bin:/usr/bin",
      HTTPS_PROXY: "http://proxy",
      API_URL: "https://api",
      TOKEN: CANARY,
    });
  });

  it("under `none` is empty but for what the profile sets", () => {
    expect(server({ inheritEnv: "none" })).toEqual({});
    expect(server({ inheritEnv: "none", env: { A: "1" } })).toEqual({ A: "1" });
  });

  it("under `all` has everything but the credentials", () => {
    const env = server({ inheritEnv: "all", ambient: { ...CLIENT, EDITOR: "vi", VAULT_TOKEN: CANARY } });

    expect(env).toEqual({ ...CLIENT, PATH: "/opt/node/bin:/usr/bin", EDITOR: "vi" });
  });

  it.each([[["AWS_SECRET_ACCESS_KEY"]], ["all"]] as const)(
    "never inherits a credential by %j",
    (inheritEnv) => {
      const env = server({ inheritEnv, ambient: { AWS_SECRET_ACCESS_KEY: CANARY } });

      expect(env).not.toHaveProperty("AWS_SECRET_ACCESS_KEY");
    },
  );

  it.each([[["NOTIFY_SOCKET", "WATCHDOG_USEC"]], ["all"]] as const)(
    "never inherits by %j the word of a service to systemd",
    (inheritEnv) => {
      const ambient = {
        NOTIFY_SOCKET: "/run/systemd/notify",
        WATCHDOG_USEC: "1",
        WATCHDOG_PID: "2",
        EDITOR: "vi",
      };

      const env = server({ inheritEnv, ambient });

      expect(Object.keys(env).filter((name) => /^(NOTIFY|WATCHDOG)_/.test(name))).toEqual([]);
      expect(server({ inheritEnv, ambient, env: { NOTIFY_SOCKET: "/n" } })).toMatchObject({
        NOTIFY_SOCKET: "/n",
      });
    },
  );

  it("passes a credential that the profile sets by name", () => {
    const env = server({
      ambient: { VAULT_ADDR: "https://ours", AWS_SECRET_ACCESS_KEY: "ours" },
      env: { VAULT_ADDR: "https://theirs" },
      secrets: new Map([["AWS_SECRET_ACCESS_KEY", new Secret(CANARY)]]),
      secretNames: ["AWS_SECRET_ACCESS_KEY"],
    });

    expect(env).toMatchObject({ VAULT_ADDR: "https://theirs", AWS_SECRET_ACCESS_KEY: CANARY });
  });

  it("does not inherit what a provider has read, except the default list", () => {
    const env = server({
      inheritEnv: "all",
      ambient: { ...CLIENT, SOME_TOKEN: CANARY },
      namesRead: new Set(["SOME_TOKEN", "HOME"]),
    });

    expect(env).toHaveProperty("HOME");
    expect(env).not.toHaveProperty("SOME_TOKEN");
  });

  it("takes a secret over an ambient variable and over `env`", () => {
    const env = server({
      inheritEnv: "all",
      ambient: { TOKEN: "ambient" },
      env: { TOKEN: "plain" },
      secrets: new Map([["TOKEN", new Secret(CANARY)]]),
      secretNames: ["TOKEN"],
    });

    expect(env.TOKEN).toBe(CANARY);
  });

  it("has no variable for an optional secret that is missing, even if an ambient one has its name", () => {
    expect(
      server({ inheritEnv: "all", ambient: { TOKEN: "stale" }, secretNames: ["TOKEN"] }),
    ).not.toHaveProperty("TOKEN");
  });

  it("leaves out shell functions, as the SDK does", () => {
    const ambient = { TERM: "() { :; }; echo", "BASH_FUNC_f%%": "() { :; }", PATH: "/bin" };

    expect(server({ inheritEnv: "all", ambient })).toEqual({ PATH: "/opt/node/bin:/bin" });
  });

  it.each([
    ["the client's", { PATH: "/usr/bin:/bin" }, {}, "/opt/node/bin:/usr/bin:/bin"],
    ["none at all", {}, {}, "/opt/node/bin:/usr/local/bin:/usr/bin:/bin"],
    ["the profile's own", { PATH: "/usr/bin" }, { PATH: "/only" }, "/only"],
  ])("has the folder of node in front of PATH: %s", (_name, ambient, env, path) => {
    expect(server({ ambient, env }).PATH).toBe(path);
  });

  it("on Windows knows names whatever their case, and keeps the spelling of the last word on it", () => {
    const env = server({
      platform: "win32",
      nodeFolder: "C:\\node",
      inheritEnv: ["ProgramData"],
      ambient: {
        Path: "C:\\Windows",
        SystemRoot: "C:\\Windows",
        programdata: "C:\\PD",
        vault_token: CANARY,
        Token: "x",
      },
      secrets: new Map([["TOKEN", new Secret(CANARY)]]),
      secretNames: ["TOKEN"],
    });

    expect(env).toEqual({
      PATH: "C:\\node;C:\\Windows",
      SYSTEMROOT: "C:\\Windows",
      ProgramData: "C:\\PD",
      TOKEN: CANARY,
    });
  });

  it("is not changed by a variable that is called like a property of every object", () => {
    const env = server({ inheritEnv: ["constructor", "__proto__"], ambient: CLIENT });

    expect(Object.keys(env).sort()).toEqual(Object.keys(CLIENT).sort());
  });
});

describe("the environment of a program under exec", () => {
  it("is the caller's, untouched, less the credentials and plus the secrets", () => {
    const env = programEnvironment({
      env: { API_URL: "https://api" },
      secrets: new Map([["TOKEN", new Secret(CANARY)]]),
      secretNames: ["TOKEN", "ABSENT"],
      namesRead: new Set(["CI_TOKEN", "PATH"]),
      platform: "linux",
      ambient: {
        ...CLIENT,
        "BASH_FUNC_f%%": "() { :; }",
        TOKEN: "ambient",
        ABSENT: "ambient",
        CI_TOKEN: CANARY,
        OP_SESSION_x: CANARY,
        MCP_RUN_AGE_KEY: CANARY,
        EMPTY: "",
      },
    });

    expect(env).toEqual({
      ...CLIENT,
      "BASH_FUNC_f%%": "() { :; }",
      EMPTY: "",
      API_URL: "https://api",
      TOKEN: CANARY,
    });
  });
});

describe("where a command is looked for", () => {
  it("is the PATH of the program, and ours where it has none", () => {
    expect(commandSearchPath({ PATH: "/a" }, "/node", "linux", { PATH: "/b" })).toBe("/a");
    expect(commandSearchPath({}, "/node", "linux", { PATH: "/b" })).toBe("/node:/b");
    expect(commandSearchPath({ path: "C:\\a" }, "C:\\node", "win32", {})).toBe("C:\\a");
  });
});

describe("inherited bytes that are not UTF-8", () => {
  it.runIf(process.platform !== "win32")("reach Node as U+FFFD, which is what we can pass on", () => {
    const script = `X=$(printf 'a\\351z') exec '${process.execPath}' -p 'JSON.stringify(process.env.X)'`;

    const { stdout } = spawnSync("/bin/sh", ["-c", script], {
      env: { PATH: dirname(process.execPath) },
      encoding: "utf8",
    });

    expect(stdout).toBe('"a�z"\n');
  });
});
