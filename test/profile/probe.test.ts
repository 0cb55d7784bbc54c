// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the profile's own syntax
import { describe, expect, it } from "vitest";
import { loadProfile } from "../../src/profile/load.ts";
import type { Probe } from "../../src/relay/probe.ts";
import { diagnosticsOf, fileOf, loadBody, messagesOf, room } from "./room.ts";

async function probeOf(line: string): Promise<Probe | undefined> {
  return (await loadBody(`command: npx\n${line}`)).probe;
}

describe("the key `probe`", () => {
  it.each<[line: string, expected: Probe]>([
    ["probe: { tool: get_me }", { tool: "get_me", arguments: {} }],
    ["probe: { tool: get_me, arguments: {} }", { tool: "get_me", arguments: {} }],
    [
      "probe: { tool: search, arguments: { query: 'repo:a/b', page: 1, exact: true, none: null, in: [a, 1.5] } }",
      {
        tool: "search",
        arguments: { query: "repo:a/b", page: 1, exact: true, none: null, in: ["a", 1.5] },
      },
    ],
    ["probe: { method: tools/list }", { method: "tools/list", params: {} }],
    ["probe: { program: [curl, -f, 8080] }", { program: ["curl", "-f", "8080"], timeoutMs: 30_000 }],
    ["probe: { program: [/bin/x], timeout: 5s }", { program: ["/bin/x"], timeoutMs: 5_000 }],
    ["probe: { tool: a, negative: true }", { tool: "a", arguments: {}, negative: true }],
    ["probe: { tool: a, negative: false }", { tool: "a", arguments: {} }],
    [
      "probe: { program: [x], negative: [KEY] }\nsecrets: { KEY: 'local:k' }",
      { program: ["x"], timeoutMs: 30_000, negative: ["KEY"] },
    ],
    [
      "probe: { method: resources/read, params: { uri: 'demo://one' } }",
      { method: "resources/read", params: { uri: "demo://one" } },
    ],
    [
      "probe: { tool: echo, arguments: { text: '$${HOME}' } }",
      { tool: "echo", arguments: { text: "${HOME}" } },
    ],
  ])("as %j is read", async (line, expected) => {
    expect(await probeOf(line)).toEqual(expected);
  });

  it.each([
    ["probe: get_me", "2:8: `probe` must be a mapping, not text"],
    ["probe: {}", "2:1: `probe` needs `tool`, `method` or `program`"],
    ["probe: { arguments: {} }", "2:1: `probe` needs `tool`, `method` or `program`"],
    ["probe: { tool: a, method: b }", "2:19: `probe` has both `tool` and `method`"],
    ["probe: { tool: '' }", "2:16: `tool` must not be empty"],
    ["probe: { tool: [a] }", "2:16: `tool` must be text, not a list"],
    ["probe: { tool: a, argumens: {} }", "2:19: unknown key `argumens`, did you mean `arguments`?"],
    ["probe: { program: a }", "2:19: `program` must be a list, not text"],
    ["probe: { program: [] }", "2:19: `program` must not be empty"],
    ["probe: { program: [a/b] }", "2:20: the program of a probe needs a bare name or an absolute path"],
    ["probe: { program: [a, '${HOME}'] }", "2:24: `${…}` is not expanded in `program`"],
    ["probe: { program: [a], timeout: 2m }", "2:33: `timeout` is out of its range"],
    ["probe: { program: [a], params: {} }", "2:24: `params` has no meaning beside `program`"],
    ["probe: { program: [a], tool: b }", "2:10: `probe` has both `tool` and `program`"],
    ["probe: { tool: a, timeout: 2s }", "2:19: `timeout` has no meaning beside `tool`"],
    ["probe: { tool: a, negative: [KEY] }", "2:30: there is no secret `KEY`"],
    ["probe: { tool: a, negative: [] }", "2:29: `negative` must not be empty"],
    ["probe: { tool: a, arguments: [b] }", "2:30: `arguments` must be a mapping, not a list"],
    ["probe: { tool: a, params: {} }", "2:19: `params` has no meaning beside `tool`"],
    ["probe: { method: tools/list, arguments: {} }", "2:30: `arguments` has no meaning beside `method`"],
    ["probe: { method: initialize }", "2:18: `initialize` proves nothing"],
    ["probe: { method: server/discover }", "2:18: `server/discover` proves nothing"],
    ["probe: { method: subscriptions/listen }", "2:18: `subscriptions/listen` proves nothing"],
    ["probe: { method: notifications/initialized }", "2:18: a notification is never answered"],
    ["probe: { tool: a, arguments: { b: '${HOME}' } }", "2:36: `${…}` is not expanded in `probe`"],
    ["probe: { tool: a, arguments: { b: [.inf] } }", "2:36: a number that JSON can't hold exactly"],
    [
      "probe: { tool: a, arguments: { b: 12345678901234567890 } }",
      "2:35: a number that JSON can't hold exactly",
    ],
  ])("as %j is refused where it is wrong", async (line, expected) => {
    const messages = await messagesOf(`command: npx\n${line}`);

    expect(messages).toHaveLength(1);
    expect(messages[0]).toContain(expected);
  });

  it.each([
    [
      "probe: { tool: a, arguments: { text: ghp_0123456789abcdefghijABCDEFGHIJ012345 } }",
      "`text` looks like a GitHub token",
    ],
    [
      "probe: { tool: a, arguments: { deep: [{ text: 'Bearer canary0123456789' }] } }",
      "`text` looks like an authorization header",
    ],
    ["probe: { method: m, params: { list: [sk-proj-canary0123456789] } }", "`list` looks like an API key"],
    [
      "probe: { tool: a, arguments: { apiKey: canary0123456789abcd } }",
      "`apiKey` is plain text under a name for credentials",
    ],
  ])("with a credential is refused without showing it: %s", async (line, expected) => {
    const text = await diagnosticsOf(fileOf(`command: npx\n${line}`));

    expect(text).toContain(expected);
    expect(text).toContain("Try a request that needs no credential: the server has its secrets already");
    expect(text).not.toMatch(/canary|ghp_/);
  });

  it("with a credential among the words of a program is refused without showing it", async () => {
    const words = "[curl, -H, 'Authorization: Bearer canary0123456789']";
    const text = await diagnosticsOf(fileOf(`command: npx\nprobe: { program: ${words} }`));

    expect(text).toContain("`program[2]` looks like an authorization header");
    expect(text).toContain("Try the variable, which the program has");
    expect(text).not.toContain("canary");
  });

  it("with what looks like a credential is taken when plain text is allowed", async () => {
    const { request, main } = room({ allowPlaintext: true });
    main(
      fileOf("command: npx\nprobe: { tool: a, arguments: { id: ghp_0123456789abcdefghijABCDEFGHIJ012345 } }"),
    );

    const { profile, warnings } = await loadProfile("p", request);

    expect(profile.probe).toMatchObject({ tool: "a" });
    expect(warnings.join()).toContain("`id` looks like a GitHub token");
    expect(warnings.join()).not.toContain("ghp_");
  });

  it("says how a mistake is mended", async () => {
    const text = await diagnosticsOf(fileOf("command: npx\nprobe: {}"));

    expect(text).toContain(
      "Try `probe: { tool: NAME }`, a tool that only reads, and needs the secret for it",
    );
  });

  it("takes the place of that of the defaults as a whole", async () => {
    const { request, main } = room();
    main(`
version: 1
defaults: { command: npx, probe: { tool: get_me, arguments: { a: 1 } } }
profiles:
  usual: {}
  tool: { probe: { tool: other } }
  method: { probe: { method: tools/list } }
`);
    const probes = ["usual", "tool", "method"].map(
      async (name) => (await loadProfile(name, request)).profile.probe,
    );

    expect(await Promise.all(probes)).toEqual([
      { tool: "get_me", arguments: { a: 1 } },
      { tool: "other", arguments: {} },
      { method: "tools/list", params: {} },
    ]);
  });
});
