// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the profile's own syntax
import { describe, expect, it } from "vitest";
import { diagnosticsOf } from "./room.ts";

/** A file whose profile uses the provider `s` with these settings. */
const withSettings = (settings: string, ref = "s:a") =>
  `version: 1\nproviders:\n  s: ${settings}\nprofiles:\n  p: { command: npx, secrets: { A: ${ref} } }\n`;

describe("the settings of a provider that is used", () => {
  it.each([
    ["{ type: safe }", "3:3: `address` is missing"],
    ["{ type: saef, address: 'https://a' }", "3:14: there is no provider type `saef`, did you mean `safe`?"],
    ["{ type: oauth, issuer: 'https://a' }", "3:14: provider type `oauth` is not yet supported"],
    ["{ type: 3 }", "3:14: `type` must be text, not a number"],
    ["{ type: safe, address: nowhere }", "3:29: `address`: invalid URL"],
    ["{ type: safe, address: 3 }", "3:29: `address` must be text, not a number"],
    [
      "{ type: safe, adress: 'https://a', address: 'https://a' }",
      "3:20: unknown key `adress`, did you mean `address`?",
    ],
    ["{ type: safe, address: 'https://a', auth: {} }", "3:42: `method` is missing"],
    [
      "{ type: safe, address: 'https://a', auth: { method: kerberos } }",
      "3:58: `method` must be `token` or `approle`",
    ],
    [
      "{ type: safe, address: 'https://a', auth: { method: token, tokn: x, token: y } }",
      "3:65: unknown key `tokn`, did you mean `token`?",
    ],
    ["{ type: safe, address: '${UNSET}' }", "3:30: the variable `UNSET` is not set"],
    [
      "{ type: safe, address: 'https://a', auth: { method: token, token: '${VAULT_TOKEN}' } }",
      "3:73: `VAULT_TOKEN` looks like a credential",
    ],
    [
      "{ type: safe, address: 'https://a', auth: { method: token, token: 'hvs.CAESIJcanary7f3acanary' } }",
      "3:72: `token` looks like a Vault token",
    ],
    ["{ type: safe, address: 'https://a', auth: { method: token, token: 'keychian:x' } }", ""],
    ["{ type: safe, address: 'https://a', auth: { method: token, token: 'none:x' } }", ""],
  ])("%s", async (settings, expected) => {
    if (expected === "")
      return expect(diagnosticsOf(withSettings(settings))).rejects.toThrow("no McpRunError");
    const text = await diagnosticsOf(withSettings(settings));

    expect(text.split("\n")[0]).toContain(`mcp-run.yaml:${expected}`);
    expect(text).not.toContain("canary");
  });

  it("give the advice to write a ref where a credential would be expanded", async () => {
    const text = await diagnosticsOf(
      withSettings("{ type: safe, address: 'https://a', auth: { method: token, token: '${VAULT_TOKEN}' } }"),
    );

    expect(text).toContain("Try `env:VAULT_TOKEN`");
  });

  it("are checked through refs in them", async () => {
    const text = await diagnosticsOf(`version: 1
providers:
  s: { type: safe, address: "https://a", auth: { method: token, token: "t:x y" } }
  t: { type: safe, adress: "https://b" }
profiles:
  p: { command: npx, secrets: { A: s:a } }
`);

    expect(text.split("\n").filter((line) => line.startsWith("mcp-run.yaml"))).toEqual([
      "mcp-run.yaml:3:72: `token`: a path is made of words and slashes",
      "mcp-run.yaml:4:3: `address` is missing",
      "mcp-run.yaml:4:20: unknown key `adress`, did you mean `address`?",
    ]);
  });
});

describe("a ref", () => {
  const settings = "{ type: safe, address: 'https://a' }";

  it.each([
    ["'s:a b'", "5:36: `A`: a path is made of words and slashes"],
    ["{ from: 's:a b' }", "5:44: `from`: a path is made of words and slashes"],
    ["{ from: 's:a', muont: kv }", "5:51: unknown key `muont`, did you mean `mount`?"],
    ["{ from: 's:a', optinal: true }", "5:51: unknown key `optinal`, did you mean `optional`?"],
    ["{ from: 's:a', mount: 3 }", "5:58: `mount` must be text, not a number"],
  ])("%s is checked by its provider", async (ref, expected) => {
    expect((await diagnosticsOf(withSettings(settings, ref))).split("\n")[0]).toContain(
      `mcp-run.yaml:${expected}`,
    );
  });
});
