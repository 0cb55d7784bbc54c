import { describe, expect, it } from "vitest";
import { insertNamed, parseTemplate, renderTemplate, templateNames } from "../../src/secrets/template.ts";

function render(text: string, values: Record<string, string>): string {
  const parsed = parseTemplate(text);
  if (!parsed.ok) throw new Error(parsed.reason);
  return renderTemplate(parsed.parts, (name) => values[name] ?? "");
}

describe("a template", () => {
  it.each([
    ["{{A}}", "v", "v"],
    ["a{{ A }}b{{A}}", "v", "avbv"],
    ["{{A|uri}}", "p@ss w/rd!'()*é", "p%40ss%20w%2Frd%21%27%28%29%2A%C3%A9"],
    ["{{ A | json }}", 'a"b\n', 'a\\"b\\n'],
    ["{{A|base64}}", "é", "w6k="],
    ["\\{{A}}", "v", "{{A}}"],
    ["{A} }} {", "v", "{A} }} {"],
    ["{{A}}", "$& {{B}} \\", "$& {{B}} \\"],
    ["", "v", ""],
  ])("%j with %j becomes %j", (text, value, expected) => {
    expect(render(text, { A: value })).toBe(expected);
  });

  it.each([
    ["{{A", "a {{ is not closed by }}"],
    ["{{}}", "{{}} is not {{NAME}} or {{NAME|filter}}"],
    ["{{a-b}}", "{{a-b}} is not {{NAME}} or {{NAME|filter}}"],
    ["{{A|upper}}", 'there is no filter "upper" (there are uri, json, base64)'],
    ["{{A|toString}}", "{{A|toString}} is not {{NAME}} or {{NAME|filter}}"],
    ["{{A|constructor}}", 'there is no filter "constructor" (there are uri, json, base64)'],
  ])("%j is refused", (text, reason) => {
    expect(parseTemplate(text)).toEqual({ ok: false, reason });
  });

  it("names what it uses, each once", () => {
    const parsed = parseTemplate("{{A}}{{B|uri}}{{A|json}}");
    expect(parsed.ok && templateNames(parsed.parts)).toEqual(["A", "B"]);
  });
});

describe("insertNamed", () => {
  const values = new Map([["A", "v/1"]]);

  it.each([
    ["--key={{A}}", "--key=v/1"],
    ["{{ A | uri }}", "v%2F1"],
    ["{{B}} {{{ {{A|nope}} {{", "{{B}} {{{ {{A|nope}} {{"],
  ])("%j becomes %j", (text, expected) => {
    expect(insertNamed(text, values)).toBe(expected);
  });
});
