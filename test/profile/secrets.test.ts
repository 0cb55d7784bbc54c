// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the profile's own syntax
import { describe, expect, it } from "vitest";
import { diagnosticsOf, fileOf, loadBody, messagesOf } from "./room.ts";

const inSecrets = (entry: string) => messagesOf(`command: npx\nsecrets: { A: ${entry} }`);

describe("an entry of secrets", () => {
  it.each([
    ["nocolon", "2:15: `A` must be a ref: it has no colon"],
    ["'local:'", "2:15: `A` must be a ref: it has no path after the colon"],
    ["'local: x'", "2:15: `A` must be a ref: its path begins or ends with a blank"],
    ['"local:a\\nb"', "2:15: `A` must be a ref: it holds a control character"],
    ["'local:a#'", "2:15: `A` must be a ref: a part of its key after the # is empty"],
    ["'p@ss:word'", "2:15: `A` must be a ref: what stands before its colon is no provider's name"],
    ["''", "2:15: `A` must be a ref: it has no colon"],
    ["'keychian:a'", "2:15: there is no provider `keychian`, did you mean `keychain`?"],
    ["'quux:a'", "2:15: there is no provider `quux`"],
    ["'oauth:a#b'", "2:15: provider `oauth` is not yet supported"],
    ["'safe:a'", "2:15: provider `safe` needs settings"],
    ["'local:${X}'", "2:22: `${…}` is not expanded in a ref"],
    ["3", "2:15: `A` must be text or a mapping, not a number"],
    ["", "2:12: `A` must be text or a mapping, not empty"],
    ["{}", "2:12: `A` needs one of `from`, `template` and `command`"],
    ["{ optional: true }", "2:12: `A` needs one of `from`, `template` and `command`"],
    ["{ from: 3 }", "2:23: `from` must be text, not a number"],
    ["{ from: 'local:a', template: '{{B}}' }", "2:34: `A` has both `from` and `template`"],
    ["{ from: 'local:a', optional: yes }", "2:44: `optional` must be true or false, not text"],
    ["{ from: 'local:a', deliver: disk }", "2:43: `deliver` must be one of `env`, `file`, `none`"],
    ["{ from: 'local:a', scrub: 1 }", "2:41: `scrub` must be true or false, not a number"],
    ["{ from: 'local:a', optoinal: true }", "2:34: unknown key `optoinal`, did you mean `optional`?"],
    ["{ command: op read x }", "2:26: `command` must be a list, not text"],
    ["{ command: [] }", "2:26: `command` must not be empty"],
    ["{ command: [op], tirm: false }", "2:32: unknown key `tirm`, did you mean `trim`?"],
    ["{ command: [./op] }", "2:27: `command[0]`: "],
    ["{ command: [op, '${X}'] }", "2:32: `${…}` is not expanded in `command`"],
    ["{ template: plain }", "2:27: the template of `A` names no secret"],
    ["{ template: '{{B}}' }", "2:28: there is no secret `B`"],
    ["{ template: '{{A' }", "2:27: the template of `A` can't be used: a {{ is not closed by }}"],
    ["{ template: '{{A|zip}}' }", '2:27: the template of `A` can\'t be used: there is no filter "zip"'],
    ["{ template: '{{A}}' }", "2:27: templates need each other in a circle: A -> A"],
    ["{ template: '${X}{{A}}' }", "2:28: `${…}` is not expanded in a template"],
  ])("like %s is refused", async (entry, expected) => {
    const messages = await inSecrets(entry);

    expect(messages.filter((message) => message.includes(expected))).toHaveLength(1);
  });

  it("must have the name of a variable", async () => {
    expect(await messagesOf("command: npx\nsecrets: { a-b: local:a }")).toEqual([
      "2:12: `a-b` is not a valid name: only letters, digits and underscores, no digit first",
    ]);
  });

  it("may name another template, in any order", async () => {
    const profile = await loadBody(
      "command: npx\nsecrets: { A: { template: '{{B}}/x' }, B: { template: '{{C|uri}}' }, C: local:c }",
    );

    expect(profile.secrets.map(({ name }) => name)).toEqual(["A", "B", "C"]);
  });

  it("in a circle of templates is named with its circle", async () => {
    const messages = await messagesOf(
      "command: npx\nsecrets: { A: { template: '{{B}}' }, B: { template: '{{C}}' }, C: { template: '{{A}}' } }",
    );

    expect(messages).toEqual(["2:27: templates need each other in a circle: A -> B -> C -> A"]);
  });

  it("of env can't be used in a template", async () => {
    const text = await diagnosticsOf(
      fileOf("command: npx\nenv: { HOST: h }\nsecrets: { A: { template: '{{HOST}}' } }"),
    );

    expect(text).toContain("there is no secret `HOST`");
    expect(text).toContain("a template can't use `env`");
  });

  it("of a template may come from secretsFrom, whose names are not known yet", async () => {
    const profile = await loadBody(
      "command: npx\nsecrets: { A: { template: '{{APP_X}}' } }\nsecretsFrom: [{ from: 'local:doc', prefix: APP_ }]\nsecretsInArgs: [APP_Y]\nargs: ['{{APP_Y}}']",
    );

    expect(profile.secretsInArgs).toEqual(["APP_Y"]);
  });

  it("that is not a ref is never shown, since it may be the secret", async () => {
    const values = ["canary-7f3a-hunter2", "canary:7f3a:hunter2", "p@canary:7f3a", "canary 7f3a"];
    for (const value of values) {
      const text = await diagnosticsOf(
        fileOf(`command: npx\nsecrets: { A: '${value}', B: { from: '${value}' } }`),
      );
      expect(text).toContain("A: ********");
      expect(text.replaceAll("`canary`", "")).not.toMatch(/canary|7f3a|hunter2/);
    }
  });

  it("that is a reference of 1Password gets the program that reads it", async () => {
    const text = await diagnosticsOf(fileOf("command: npx\nsecrets: { A: 'op://dev/x/password' }"));

    expect(text).toContain('Try `{ command: ["op", "read", "op://…"] }`');
    expect(text).not.toContain("dev/x/password");
  });

  it("that is the value itself gets the command that stores it", async () => {
    const text = await diagnosticsOf(fileOf("command: npx\nsecrets: { TOKEN: ghp_abcdefABCDEF0123456789 }"));

    expect(
      text,
    ).toBe(`mcp-run.yaml:5:23: \`TOKEN\` must be a ref: it has no colon; a ref is written provider:path#key
    5 |     secrets: { TOKEN: ******** }
      |                       ^^^^^^^^
  Try \`mcp-run secrets set local:TOKEN\` if this is the value, and \`local:TOKEN\` here`);
  });
});

describe("an entry of secretsFrom", () => {
  it.each([
    ["{ from: 'local:a' }", "needs `prefix` or `only`"],
    ["{ prefix: A_ }", "2:17: `from` is missing"],
    ["{ from: 'local:a', prefix: '' }", "`prefix` can't be"],
    ["{ from: 'local:a', prefix: '1_' }", "`prefix` can't be"],
    ["{ from: 'local:a', only: [] }", "`only` must not be empty"],
    ["{ from: 'local:a', only: A }", "`only` must be a list, not text"],
    ["{ from: nocolon, only: [A] }", "`from` must be a ref"],
    ["{ from: 'local:a', only: [A], prefx: B }", "unknown key `prefx`, did you mean `prefix`?"],
    ["local:a", "must be a mapping, not text"],
  ])("like %s is refused", async (entry, expected) => {
    const messages = await messagesOf(`command: npx\nsecretsFrom: [${entry}]`);

    expect(messages).toHaveLength(1);
    expect(messages[0]).toContain(expected);
  });
});

describe("a secret in args", () => {
  it.each([
    ["args: ['{{A}}']", "3:9: `{{A}}` puts a secret into the arguments", ""],
    ["args: ['--x={{ A | uri }}']", "3:8: `{{A}}` puts a secret into the arguments", ""],
    ["args: ['{{AA}}']", "3:9: there is no secret `AA`", ""],
    ["args: ['{{A|zip}}']", "3:9: there is no filter `zip`", "secretsInArgs: [A]"],
    ["secretsInArgs: [B]", "3:17: there is no secret `B`", ""],
  ])("%s is refused", async (line, expected, more) => {
    const messages = await messagesOf(`command: npx\nsecrets: { A: local:a }\n${line}\n${more}`);

    expect(messages).toHaveLength(1);
    expect(messages[0]).toContain(expected);
  });

  it("is left in place for the launch, and other programs' braces alone", async () => {
    const args = ["{{A}}", "--format={{.Names}}", "{{json .}}", "{{name}}", "{{A|base64}}"];
    const profile = await loadBody(
      `command: npx\nsecrets: { A: local:a }\nargs: ${JSON.stringify(args)}\nsecretsInArgs: [A]`,
    );

    expect(profile.args).toEqual(args);
  });
});
