import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { NeedleSet } from "../../src/scrub/needle-set.ts";
import { redactJson } from "../../src/scrub/redact-json.ts";
import { SecretWatch, secretsIn } from "../../src/scrub/secret-watch.ts";
import { Secret } from "../../src/secrets/secret.ts";

const SECRET = 'canary-"4f\u00e9\\7b';
const needles = new NeedleSet();
needles.add("TOKEN", new Secret(SECRET));
needles.add("OTHER", new Secret("canary-other-9d1e"));

describe("a JSON text with its secrets masked", () => {
  it.each([
    ["as JSON writes it", JSON.stringify(SECRET)],
    [
      "with every character escaped",
      `"${[...SECRET].map((c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`).join("")}"`,
    ],
  ])("hides a secret %s", (_how, token) => {
    const redacted = redactJson(`{"result":{"content":[{"text":${token}}]},"jsonrpc":"2.0","id":1}`, needles);

    expect(redacted).toBe('{"result":{"content":[{"text":"[mcp-run:TOKEN]"}]},"jsonrpc":"2.0","id":1}');
  });

  it("hides a secret inside a text that is itself JSON", () => {
    const inner = JSON.stringify({ TOKEN: SECRET });

    const redacted = redactJson(JSON.stringify({ result: { text: inner } }), needles);

    expect(JSON.parse(JSON.parse(redacted ?? "").result.text)).toEqual({ TOKEN: "[mcp-run:TOKEN]" });
  });

  it("leaves id, method, keys and numbers alone", () => {
    const secret = "canary-other-9d1e";
    const json = `{"id":"${secret}","method":"${secret}","params":{"${secret}":1.0,"n":12345678901234567890}}`;

    expect(redactJson(json, needles)).toBeUndefined();
  });

  it("masks nothing that is no JSON string", () => {
    expect(redactJson('{"text":"canary-other-9d1e', needles)).toBeUndefined();
    expect(redactJson("plain", needles)).toBeUndefined();
  });

  it("stays JSON that differs in nothing but strings with a secret", () => {
    const text = fc.oneof(
      fc.string(),
      fc.tuple(fc.string(), fc.string()).map(([before, after]) => before + SECRET + after),
    );
    const value = fc.letrec((tie) => ({
      value: fc.oneof(
        text,
        fc.double({ noNaN: true }),
        fc.array(tie("value"), { maxLength: 3 }),
        fc.dictionary(fc.string(), tie("value"), { maxKeys: 3 }),
      ),
    })).value;
    const expected = (given: unknown): unknown => {
      if (typeof given === "string")
        return given.includes(SECRET) ? expect.not.stringContaining(SECRET) : given;
      if (Array.isArray(given)) return given.map(expected);
      if (typeof given === "object" && given !== null)
        return Object.fromEntries(Object.entries(given).map(([key, one]) => [key, expected(one)]));
      return given;
    };
    fc.assert(
      fc.property(value, (params) => {
        const json = JSON.stringify({ params });
        const parsed = JSON.parse(redactJson(json, needles) ?? json);
        expect(parsed.params).toEqual(
          JSON.parse(JSON.stringify(params), (_key, one) => one) === null
            ? null
            : expected(JSON.parse(JSON.stringify(params))),
        );
      }),
      { numRuns: 200 },
    );
  });
});

describe("a watch over lines", () => {
  it("names the secrets of a line", () => {
    const line = Buffer.from(JSON.stringify({ text: `${SECRET} and canary-other-9d1e` }));

    expect([...secretsIn(line, needles)].sort()).toEqual(["OTHER", "TOKEN"]);
  });

  it("is alarmed for every line that may hold what it found, however the stream is cut", () => {
    const lines = [
      "nothing here\n",
      `a ${JSON.stringify(SECRET)} b\n`,
      "nor here\n",
      "canary-other-9d1e\n",
      "end\n",
    ];
    const stream = Buffer.from(lines.join(""));
    fc.assert(
      fc.property(fc.array(fc.nat(stream.length), { maxLength: 6 }), (cuts) => {
        const watch = new SecretWatch(needles);
        const places = [0, ...cuts.sort((a, b) => a - b), stream.length];
        const found: string[] = [];
        let rest = "";
        for (let index = 1; index < places.length; index++) {
          const chunk = stream.subarray(places[index - 1], places[index]);
          watch.push(chunk);
          const parts = (rest + chunk.toString("latin1")).split("\n");
          rest = parts.pop() ?? "";
          for (const part of parts)
            if (watch.isAlarmed) found.push(...watch.namesIn(Buffer.from(part, "latin1")));
        }
        expect(found).toEqual(["TOKEN", "OTHER"]);
      }),
    );
  });
});
