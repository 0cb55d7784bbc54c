import { describe, expect, it } from "vitest";
import { variablesNotPassedOn } from "../../src/launch/vanished-variables.ts";

const REDUCED = { HOME: "/home/u", PATH: "/usr/bin", USER: "u" };

describe("variables of the client's config that the server will not see", () => {
  it("are named, sorted", () => {
    const ambient = { ...REDUCED, LOG_LEVEL: "debug", API_URL: "x" };

    expect(variablesNotPassedOn(ambient, REDUCED, [], "linux")).toEqual(["API_URL", "LOG_LEVEL"]);
  });

  it.each([
    ["is passed on", { LOG_LEVEL: "debug" }, { LOG_LEVEL: "info" }, []],
    ["was read by a provider", { KEYS: "x" }, {}, ["KEYS"]],
    ["is a credential for fetching", { VAULT_TOKEN: "x", MCP_RUN_HOME: "y" }, {}, []],
    ["belongs to the default list", { TERM: "xterm" }, {}, []],
    ["comes from the system", { __CF_USER_TEXT_ENCODING: "x" }, {}, []],
  ])("do not include one that %s", (_name, more, child, used) => {
    expect(variablesNotPassedOn({ ...REDUCED, ...more }, child, used, "linux")).toEqual([]);
  });

  it.each(["PWD", "SHLVL", "_", "HOSTNAME", "DISPLAY", "XPC_SERVICE_NAME", "INVOCATION_ID"])(
    "can't be told where %s shows a whole environment",
    (mark) => {
      expect(variablesNotPassedOn({ ...REDUCED, LOG_LEVEL: "debug", [mark]: "x" }, {}, [], "linux")).toEqual(
        [],
      );
    },
  );

  it("can't be told among many", () => {
    const many = Object.fromEntries(Array.from({ length: 13 }, (_, index) => [`V${index}`, "x"]));

    expect(variablesNotPassedOn({ ...REDUCED, ...many }, {}, [], "linux")).toEqual([]);
  });

  it("on Windows are told apart from what libuv adds, whatever their case", () => {
    const ambient = { Path: "C:\\", SystemRoot: "C:\\", windir: "C:\\", UserDomain: "D", Log_Level: "debug" };

    expect(variablesNotPassedOn(ambient, {}, [], "win32")).toEqual(["Log_Level"]);
    expect(variablesNotPassedOn({ ...ambient, ComSpec: "cmd" }, {}, [], "win32")).toEqual([]);
  });
});
