import { describe, expect, it } from "vitest";
import { loadProfile } from "../../src/profile/load.ts";
import { cpuTime } from "../helpers/cpu-time.ts";
import { diagnosticsOf, expectCode, fileOf, messagesOf, room } from "./room.ts";

describe("what is said of a bad file", () => {
  it("names place, line and mend, for all mistakes at once, in their order", async () => {
    const text = await diagnosticsOf(`version: 1
profiles:
  p:
    command: npx
    secrects: { A: local:a }
    args: -y
    secrets:
      B: { from: "loacl:b", optional: true }
      C: [local:c]
      D: { from: "keychain:d", optionl: true }
`);

    expect(text).toBe(`mcp-run.yaml:5:5: unknown key \`secrects\`, did you mean \`secrets\`?
    5 |     secrects: { A: local:a }
      |     ^^^^^^^^
mcp-run.yaml:6:11: \`args\` must be a list, not text
    6 |     args: -y
      |           ^^
mcp-run.yaml:8:18: there is no provider \`loacl\`, did you mean \`local\`?
    8 |       B: { from: "loacl:b", optional: true }
      |                  ^^^^^^^^^
mcp-run.yaml:9:10: \`C\` must be text or a mapping, not a list
    9 |       C: [local:c]
      |          ^^^^^^^^^
mcp-run.yaml:10:32: unknown key \`optionl\`, did you mean \`optional\`?
   10 |       D: { from: "keychain:d", optionl: true }
      |                                ^^^^^^^`);
  });

  it("counts the mistakes in one line", async () => {
    const { request, main } = room();
    const file = main("version: 1\nprofiles:\n  p: { command: npx, a: 1, b: 2 }\n");

    const error = await expectCode(loadProfile("p", request), "profile-invalid");

    expect(error.message).toBe(`Cannot load ${file}: 2 errors`);
    expect(error.exitCode).toBe(78);
    expect(error.hint).toBeUndefined();
  });

  it("stops after fifty", async () => {
    const keys = Array.from({ length: 60 }, (_, index) => `k${index}: 1`);
    const text = await diagnosticsOf(fileOf(["command: npx", ...keys].join("\n")));

    expect(text.match(/unknown key/g)).toHaveLength(50);
    expect(text).toMatch(/\nand 10 more$/);
  });

  it("shows control characters instead of obeying them", async () => {
    const text = await diagnosticsOf(
      'version: 1\nprofiles:\n  p: { command: npx, "a\u009b31m\u202e\\e[1m": 1, \t"x": 1 }\n',
    );

    expect(text).toBe(`mcp-run.yaml:3:22: unknown key \`a\\u009b31m\\u202e\\e[1m\`
    3 |   p: { command: npx, "a\\u009b31m\\u202e\\e[1m": 1,  "x": 1 }
      |                      ^^^^^^^^^^^^^^^^^^^^^^^
  Try one of \`description\`, \`command\`, \`args\`, \`cwd\`, \`env\`, \`inheritEnv\`, \`secrets\`, \`secretsFrom\`, \`secretsInArgs\`, \`stopGrace\`, \`fetchTimeout\`, \`maxLine\`, \`scrub\`, \`onCrash\`, \`cache\`, \`refresh\`, \`probe\`, \`environment\`, \`audit\`
mcp-run.yaml:3:41: unknown key \`x\`
    3 |   p: { command: npx, "a\\u009b31m\\u202e\\e[1m": 1,  "x": 1 }
      |                                                   ^^^
  Try one of \`description\`, \`command\`, \`args\`, \`cwd\`, \`env\`, \`inheritEnv\`, \`secrets\`, \`secretsFrom\`, \`secretsInArgs\`, \`stopGrace\`, \`fetchTimeout\`, \`maxLine\`, \`scrub\`, \`onCrash\`, \`cache\`, \`refresh\`, \`probe\`, \`environment\`, \`audit\``);
  });

  it("shows of a long line what is around the caret", async () => {
    const text = await diagnosticsOf(
      `version: 1\nprofiles:\n  p: { description: "${"lorem ".repeat(100)}", command: npx, bad: 1, args: ["${"ipsum ".repeat(100)}"] }\n`,
    );

    const [, line = "", caret = ""] = text.split("\n");
    expect(line).toMatch(/^ {4}3 \| ….*command: npx, bad: 1, args: .*…$/);
    expect(line.length).toBeLessThan(130);
    expect(line.slice(caret.indexOf("^"), caret.lastIndexOf("^") + 1)).toBe("bad");
  });
});

describe("a file that is no profile file at all", () => {
  it.each([
    ["", "1:1: the file is empty"],
    ["\n# only a comment\n", "1:1: the file is empty"],
    ["---\n...\n", "1:1: the file is empty"],
    ["- a\n- b\n", "1:1: the file must hold a mapping, not a list"],
    ["hello\n", "1:1: the file must hold a mapping, not text"],
    ["42", "1:1: the file must hold a mapping, not a number"],
    ["a: b: c\n", "1:4: not valid YAML: nested mappings are not allowed in compact mappings"],
    ["version: 1\nprofiles:\n\tp: x\n", "3:1: not valid YAML: tabs are not allowed as indentation"],
    ['a: "never closed\n', '2:1: not valid YAML: missing closing "quote'],
    ["a: [1, 2\n", "2:1: not valid YAML: flow sequence in block collection must be sufficiently indented"],
    ["a: 1\na: 2\n", "2:1: duplicate key `a`"],
    ["a: 1\n---\nb: 2\n", "2:1: the file holds more than one document"],
    ["a: *nowhere\n", "1:4: an alias whose anchor does not stand before it"],
    ["a: &a [*a]\n", "1:8: an alias inside its own anchor"],
    ["a: !secret x\n", "1:4: unresolved tag: !secret"],
    ["a: !!binary aGk=\n", "1:13: tags are not used in profiles"],
    ["%YAML 1.1\n---\na: yes\n", "1:1: the file asks for another version of YAML than 1.2"],
    ["? [a, b]\n: c\n", "1:3: a key that is not text"],
    ["__proto__: 1\n", "1:1: `__proto__` can't be a key"],
    [`a: ${"[".repeat(33)}\n`, "1:36: nested more than 32 deep"],
  ])("%j is refused with one clear error", async (text, expected) => {
    const printed = await diagnosticsOf(text);

    expect(printed.split("\n")[0]).toContain(`mcp-run.yaml:${expected}`);
    expect(printed.match(/^mcp-run\.yaml:/gm)).toHaveLength(1);
  });

  it("that is an alias bomb is refused quickly", async () => {
    const letters = "abcdefghi";
    const lines = [...letters].map((letter, index) =>
      index === 0
        ? "a: &a [1,1,1,1,1,1,1,1,1,1]"
        : `${letter}: &${letter} [${`*${letters[index - 1]},`.repeat(9)}]`,
    );
    const start = cpuTime();

    const printed = await diagnosticsOf(lines.join("\n"));

    expect(printed).toContain("its aliases expand to too much for a profile");
    expect(cpuTime() - start).toBeLessThan(15_000);
  });

  it("that is made of too many pieces is refused quickly", async () => {
    const start = cpuTime();

    const printed = await diagnosticsOf("a: [".padEnd(2 ** 20, ","));

    expect(printed).toContain("the file holds too much for a profile");
    expect(cpuTime() - start).toBeLessThan(15_000);
  });
});

describe("the top of a file", () => {
  it.each([
    ["version: 2\nprofiles: {p: {command: npx}}", "1:10: `version` must be `1`"],
    ["version: '1'\nprofiles: {p: {command: npx}}", "1:10: `version` must be `1`"],
    ["profiles: {p: {command: npx}}", "1:1: `version` is missing"],
    ["version: 1", "1:1: `profiles` is missing"],
    ["version: 1\nprofiles:", "2:1: `profiles` must be a mapping, not empty"],
    ["version: 1\nprofiles: [p]", "2:11: `profiles` must be a mapping, not a list"],
    ["version: 1\nprofiles: {p: }", "2:12: the profile `p` must be a mapping, not empty"],
    ["version: 1\nprofiles: {p: npx}", "2:15: the profile `p` must be a mapping, not text"],
    ["version: 1\nfleet: {}\nprofiles: {p: {command: npx}}", "2:1: `servers` is missing"],
    [
      "version: 1\nprovider: {}\nprofiles: {p: {command: npx}}",
      "2:1: unknown key `provider`, did you mean `providers`?",
    ],
    ["version: 1\nproviders: {a: {}}\nprofiles: {p: {command: npx}}", "2:13: `type` is missing"],
    [
      "version: 1\nproviders: {1a: {type: local}}\nprofiles: {p: {command: npx}}",
      "2:13: `1a` is not a valid name",
    ],
    ["version: 1\nargs: []\nprofiles: {p: {command: npx}}", "2:1: unknown key `args`"],
    [
      "version: 1\ndefaults: []\nprofiles: {p: {command: npx}}",
      "2:11: `defaults` must be a mapping, not a list",
    ],
  ])("%j is refused", async (text, expected) => {
    expect((await diagnosticsOf(text)).split("\n")[0]).toContain(`mcp-run.yaml:${expected}`);
  });

  it("says where a profile's key belongs", async () => {
    const text = await diagnosticsOf("version: 1\nargs: []\nprofiles: {p: {command: npx}}");

    expect(text).toContain("Try `args` inside a profile: below `profiles: NAME:`");
  });
});

describe("the keys of a profile", () => {
  it.each([
    ["args: []", "0:1: `command` is missing"],
    ["command: ''", "1:10: `command` must not be empty"],
    ["command: [npx]", "1:10: `command` must be text, not a list"],
    ["command: 3", "1:10: `command` must be text, not a number"],
    ["command: npx -y server", "1:10: `command` is one program, without its arguments"],
    ["command: ~/bin/server", "1:10: `~` is not expanded in `command`"],
    ['command: "a\\0b"', "1:10: `command` holds a NUL byte, which no program can be given"],
    ["command: npx\nargs: [[a]]", "2:8: `args[0]` must be text, not a list"],
    ["command: npx\nargs: [~]", "2:8: `args[0]` must be text, not empty"],
    ["command: npx\ncwd: work", "2:6: `cwd` is a relative path, and a client starts mcp-run anywhere"],
    ["command: npx\nenv: { 1A: x }", "2:8: `1A` is not a valid name"],
    ["command: npx\nenv: { A-B: x }", "2:8: `A-B` is not a valid name"],
    ["command: npx\nenv: { A: }", "2:8: `A` must be text, not empty"],
    ["command: npx\nenv: { A: { b: c } }", "2:11: `A` must be text, not a mapping"],
    ["command: npx\nenv:", "2:1: `env` must be a mapping, not empty"],
    ["command: npx\nenv: [A=b]", "2:6: `env` must be a mapping, not a list"],
    ["command: npx\ninheritEnv: some", "2:13: `inheritEnv` must be `none` or `all` or a list, not text"],
    ["command: npx\ninheritEnv: [all]", "2:14: `all` is not the name of a variable"],
    ["command: npx\ninheritEnv: [A=b]", "2:14: a variable's name can't hold `=` or a NUL byte"],
    ["command: npx\nsecretsInArgs: [1A]", "2:17: `secretsInArgs[0]` can't be"],
    ["command: npx\nstopGrace: 1500", "2:12: `stopGrace` must be a duration with its unit"],
    ["command: npx\nstopGrace: 1500 ms", "2:12: `stopGrace` must be a duration with its unit"],
    ["command: npx\nstopGrace: 11m", "2:12: `stopGrace` is out of its range"],
    ["command: npx\nfetchTimeout: 0s", "2:15: `fetchTimeout` is out of its range"],
    ["command: npx\nmaxLine: 64MB", "2:10: `maxLine` must be a size with its unit"],
    ["command: npx\nmaxLine: 1KiB", "2:10: `maxLine` is out of its range"],
    ["command: npx\nscrub: { stdout: on }", "2:18: `stdout` must be one of `off`, `warn`, `redact`"],
    ["command: npx\nscrub: { stdout: false }", "2:18: `stdout` must be one of `off`, `warn`, `redact`"],
    ["command: npx\nscrub: warn", "2:8: `scrub` must be a mapping, not text"],
    ["command: npx\nscrub: { stderr: off }", "2:10: unknown key `stderr`"],
    ["command: npx\nonCrash: exti", "2:10: `onCrash` must be one of `restart`, `exit`"],
    ["command: npx\ncache: true", "2:8: `cache` must be `off` or a mapping, not true or false"],
    ["command: npx\ncache: 24h", "2:8: `cache` must be `off` or a mapping"],
    ["command: npx\ncache: {}", "2:1: `maxAge` is missing"],
    ["command: npx\ncache: { maxAge: 24 }", "2:18: `maxAge` must be a duration with its unit"],
    ["command: npx\ncache: { maxAge: 1 day }", "2:18: `maxAge` must be a duration with its unit"],
    ["command: npx\ncache: { maxAge: 30s }", "2:18: `maxAge` is out of its range"],
    ["command: npx\ncache: { maxAge: 31d }", "2:18: `maxAge` is out of its range"],
    [
      "command: npx\ncache: { maxage: 24h, maxAge: 24h }",
      "2:10: unknown key `maxage`, did you mean `maxAge`?",
    ],
    [
      "command: npx\nenv: { A: x }\nsecrets: { A: local:a }",
      "3:12: `A` is set twice: under `secrets` and under `env`",
    ],
    [
      "command: npx\nenv: { A_FILE: x }\nsecrets: { A: { from: local:a, deliver: file } }",
      "3:12: `A_FILE` is set twice: as the file of the secret `A` and under `env`",
    ],
  ])("%j are refused where they are wrong", async (body, expected) => {
    const messages = await messagesOf(body);

    expect(messages).toHaveLength(1);
    expect(messages[0]).toContain(
      expected === "0:1: `command` is missing" ? "`command` is missing" : expected,
    );
  });

  it.each([["rotate: {}", "2:1: `rotate`"]])(
    "that later versions will have are refused as such: %s",
    async (line, expected) => {
      expect(await messagesOf(`command: npx\n${line}`)).toEqual([
        `${expected} is not yet supported by this version of mcp-run`,
      ]);
    },
  );

  it("that describe what this version does are accepted", async () => {
    const { request, main } = room();
    main(fileOf("command: npx\nscrub: { stdout: off }\nonCrash: exit\nstopGrace: 0s"));

    expect((await loadProfile("p", request)).profile.stopGraceMs).toBe(0);
  });

  it("are compared without regard to case on Windows", async () => {
    const body = "command: npx\nenv: { Path_To: x }\nsecrets: { PATH_TO: local:a }";

    expect(await messagesOf(body, { platform: "win32" })).toEqual([
      "3:12: `PATH_TO` is set twice: under `secrets` and under `env`",
    ]);
  });
});
