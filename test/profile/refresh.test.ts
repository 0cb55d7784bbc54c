import { describe, expect, it, vi } from "vitest";
import { loadProfile } from "../../src/profile/load.ts";
import type { RefreshPlan } from "../../src/profile/profile.ts";
import { diagnosticsOf, fileOf, loadBody, messagesOf, room } from "./room.ts";

const FILE_SECRET = "secrets: { KEY: { from: local:key, deliver: file } }";

async function refreshOf(line: string, more = ""): Promise<RefreshPlan> {
  return (await loadBody(`command: npx\n${line}\n${more}`)).refresh;
}

describe("the key `refresh`", () => {
  it.each<[line: string, expected: RefreshPlan]>([
    ["", { restart: "overlap", drainMs: 600_000 }],
    ["refresh: {}", { restart: "overlap", drainMs: 600_000 }],
    ["refresh: { every: 1s }", { everyMs: 1_000, restart: "overlap", drainMs: 600_000 }],
    ["refresh: { every: 365d }", { everyMs: 31_536_000_000, restart: "overlap", drainMs: 600_000 }],
    ["refresh: { every: 1.5h, drain: 0s }", { everyMs: 5_400_000, restart: "overlap", drainMs: 0 }],
    ["refresh: { drain: 24h, restart: never }", { restart: "never", drainMs: 86_400_000 }],
    ["refresh: { restart: sequential }", { restart: "sequential", drainMs: 600_000 }],
    ['refresh: { cron: "0 3 * * *" }', { cron: { line: "0 3 * * *" }, restart: "overlap", drainMs: 600_000 }],
    [
      'refresh: { every: 1h, cron: "0 0 3 * * *", timezone: Europe/Berlin }',
      {
        everyMs: 3_600_000,
        cron: { line: "0 0 3 * * *", timezone: "Europe/Berlin" },
        restart: "overlap",
        drainMs: 600_000,
      },
    ],
  ])("as %j is read", async (line, expected) => {
    expect(await refreshOf(line)).toEqual(expected);
  });

  it.each(["SIGHUP", "SIGUSR1", "SIGUSR2"])(
    "takes the signal %s where a secret is in a file",
    async (signal) => {
      expect((await refreshOf(`refresh: { signal: ${signal} }`, FILE_SECRET)).signal).toBe(signal);
    },
  );

  it.each([
    ["refresh: 15m", "2:10: `refresh` must be a mapping, not text"],
    ["refresh:", "2:1: `refresh` must be a mapping, not empty"],
    ["refresh: { evry: 15m }", "2:12: unknown key `evry`, did you mean `every`?"],
    ["refresh: { every: 15 }", "2:19: `every` must be a duration with its unit"],
    ["refresh: { every: 15 min }", "2:19: `every` must be a duration with its unit"],
    ["refresh: { every: 999ms }", "2:19: `every` is out of its range"],
    ["refresh: { every: 366d }", "2:19: `every` is out of its range"],
    ["refresh: { drain: 25h }", "2:19: `drain` is out of its range"],
    ["refresh: { drain: -1s }", "2:19: `drain` must be a duration with its unit"],
    ["refresh: { restart: yes }", "2:21: `restart` must be one of `overlap`, `sequential`, `never`"],
    ["refresh: { signal: SIGKILL }", "2:20: `signal` must be one of `SIGHUP`, `SIGUSR1`, `SIGUSR2`"],
    ["refresh: { signal: SIGHUP }", "2:20: `signal` needs a secret that the server reads from a file"],
    ["refresh: { cron: '' }", "2:18: `cron` must not be empty"],
    ["refresh: { cron: 5 }", "2:18: `cron` must be text, not a number"],
    ["refresh: { cron: '@daily' }", "2:18: `cron`: it must have five fields"],
    ["refresh: { cron: '0 25 * * *' }", "2:21: `cron`: its hour can't be read"],
    ["refresh: { cron: '0 0 30 2 *' }", "2:18: `cron`: there is no such day in any year"],
    ["refresh: { timezone: UTC }", "2:12: `timezone` has no meaning without `cron`"],
    [
      "refresh: { cron: '0 3 * * *', timezone: Mars/Olympus }",
      "2:41: `timezone` is no time zone of the IANA database",
    ],
    [
      "refresh: { cron: '0 3 * * *', timezone: '+01:00' }",
      "2:41: `timezone` is no time zone of the IANA database",
    ],
  ])("as %j is refused where it is wrong", async (line, expected) => {
    const messages = await messagesOf(`command: npx\n${line}`);

    expect(messages).toHaveLength(1);
    expect(messages[0]).toContain(expected);
  });

  it("says how each mistake is mended", async () => {
    const text = await diagnosticsOf(
      fileOf(`command: npx
secrets: { KEY: local:key }
refresh:
  every: 0s
  cron: "0 3 * * 8"
  timezone: Europe/Berln
  signal: SIGHUP`),
    );

    expect(text).toBe(`mcp-run.yaml:7:14: \`every\` is out of its range
    7 |       every: 0s
      |              ^^
  Try \`1s\` to \`365d\`
mcp-run.yaml:8:22: \`cron\`: its day of the week can't be read
    8 |       cron: "0 3 * * 8"
      |                      ^
  Try \`0\` to \`7\` or \`SUN\` to \`SAT\`, \`*\`, a range \`A-B\`, a list \`A,B\` or a step \`*/N\`
mcp-run.yaml:9:17: \`timezone\` is no time zone of the IANA database
    9 |       timezone: Europe/Berln
      |                 ^^^^^^^^^^^^
  Try \`Europe/Berlin\`
mcp-run.yaml:10:15: \`signal\` needs a secret that the server reads from a file
   10 |       signal: SIGHUP
      |               ^^^^^^
  Try \`KEY: { from: …, deliver: file }\` under \`secrets:\`, or leaving \`signal\` out`);
  });

  it("says that a cron line wants quotes", async () => {
    const text = await diagnosticsOf(fileOf("command: npx\nrefresh:\n  cron: */5 * * * *"));

    expect(text).toContain("Try quotes around it, if it is a text that begins with `*`");
  });

  it("has no signal on Windows", async () => {
    const body = `command: npx\nrefresh: { signal: SIGHUP }\n${FILE_SECRET}`;

    expect(await messagesOf(body, { platform: "win32" })).toEqual([
      "2:12: `signal` is not possible on Windows",
    ]);
  });

  it("is not blamed for a secret that is wrong itself", async () => {
    const body =
      "command: npx\nrefresh: { signal: SIGHUP }\nsecrets: { KEY: { from: local:key, deliver: fiel } }";

    expect(await messagesOf(body)).toEqual(["3:45: `deliver` must be one of `env`, `file`, `none`"]);
  });

  it("goes over that of the defaults key by key", async () => {
    const { request, main } = room();
    main(`
version: 1
defaults: { command: npx, refresh: { every: 15m, drain: 1m } }
profiles:
  usual: {}
  other: { refresh: { restart: sequential, drain: 2m } }
  both: { refresh: { cron: "0 3 * * *" } }
`);
    const plans = ["usual", "other", "both"].map(
      async (name) => (await loadProfile(name, request)).profile.refresh,
    );

    expect(await Promise.all(plans)).toEqual([
      { everyMs: 900_000, restart: "overlap", drainMs: 60_000 },
      { everyMs: 900_000, restart: "sequential", drainMs: 120_000 },
      { everyMs: 900_000, cron: { line: "0 3 * * *" }, restart: "overlap", drainMs: 60_000 },
    ]);
  });

  it("is found at fault in the defaults where the defaults are at fault", async () => {
    const text = await diagnosticsOf(
      "version: 1\ndefaults: { refresh: { every: 0s } }\nprofiles:\n  p: { command: npx, refresh: { drain: 25h } }\n",
    );

    expect(text.match(/^mcp-run\.yaml:.*$/gm)).toEqual([
      "mcp-run.yaml:2:31: `every` is out of its range",
      "mcp-run.yaml:4:40: `drain` is out of its range",
    ]);
  });
});

describe("the keys `onCrash` and `scrub`", () => {
  it.each([
    ["", "restart", "warn"],
    ["onCrash: restart\nscrub: {}", "restart", "warn"],
    ["onCrash: exit\nscrub: { stdout: off }", "exit", "off"],
    ['scrub: { stdout: "off" }', "restart", "off"],
    ["scrub: { stdout: warn }", "restart", "warn"],
    ["scrub: { stdout: redact }", "restart", "redact"],
  ])("as %j are read", async (lines, onCrash, stdout) => {
    expect(await loadBody(`command: npx\n${lines}`)).toMatchObject({ onCrash, stdout });
  });

  it("come from the defaults where the profile is silent", async () => {
    const { request, main } = room();
    main(
      "version: 1\ndefaults: { onCrash: exit, scrub: { stdout: redact } }\nprofiles:\n  p: { command: npx }\n  q: { command: npx, onCrash: restart, scrub: { stdout: off } }\n",
    );

    expect((await loadProfile("p", request)).profile).toMatchObject({ onCrash: "exit", stdout: "redact" });
    expect((await loadProfile("q", request)).profile).toMatchObject({ onCrash: "restart", stdout: "off" });
  });
});

describe("the library for cron lines", () => {
  it("is loaded for a profile with `cron` and for no other", async () => {
    const loaded = vi.fn();
    vi.resetModules();
    vi.doMock("croner", async (importOriginal) => {
      loaded();
      return importOriginal();
    });
    const { loadBody: loadAnew } = await import("./room.ts");

    await loadAnew("command: npx\nrefresh: { every: 15m, restart: sequential }");
    expect(loaded).not.toHaveBeenCalled();
    await loadAnew('command: npx\nrefresh: { cron: "0 3 * * *" }');
    expect(loaded).toHaveBeenCalledOnce();

    vi.doUnmock("croner");
  });
});
