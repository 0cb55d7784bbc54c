import { randomBytes } from "node:crypto";
import { stringify as stringifyQuery } from "node:querystring";
import { deflateSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isTooShort, variantsOf } from "../../src/scrub/encodings.ts";

function texts(value: string): string[] {
  return variantsOf(value).map(String);
}

describe("the variants of a plain token", () => {
  const token = "canary-7f3a9c";

  test("are the token, base64 at three places, base64 to its end, and hex in both cases", () => {
    expect(texts(token)).toEqual([
      "canary-7f3a9c",
      "Y2FuYXJ5LTdmM2E5Y", // 17 characters hold 102 of 104 bits
      "Y2FuYXJ5LTdmM2E5Yw",
      "Y2FuYXJ5LTdmM2E5Yw==",
      "NhbmFyeS03ZjNhOW",
      "jYW5hcnktN2YzYTlj",
      "63616e6172792d376633613963",
      "63616E6172792D376633613963",
    ]);
  });
});

describe("the variants of a password with every kind of special character", () => {
  const password = `p"a's$s\\w&o<r>d /+\`%=ü`;

  test.each([
    ["as it is", password],
    ["JSON", `p\\"a's$s\\\\w&o<r>d /+\`%=ü`],
    ["JSON as Python writes it", `p\\"a's$s\\\\w&o<r>d /+\`%=\\u00fc`],
    ["JSON as Go writes it", `p\\"a's$s\\\\w\\u0026o\\u003cr\\u003ed /+\`%=ü`],
    ["JSON as PHP writes it", `p\\"a's$s\\\\w&o<r>d \\/+\`%=\\u00fc`],
    ["JSON as .NET writes it", `p\\u0022a\\u0027s$s\\\\w\\u0026o\\u003Cr\\u003Ed /\\u002B\\u0060%=\\u00FC`],
    ["JSON inside JSON", `p\\\\\\"a's$s\\\\\\\\w&o<r>d /+\`%=ü`],
    ["encodeURIComponent", encodeURIComponent(password)],
    [
      "small percent digits",
      encodeURIComponent(password).replace(/%../g, (escaped) => escaped.toLowerCase()),
    ],
    ["encodeURI", encodeURI(password).replaceAll("%5B", "[")],
    ["RFC 3986", encodeURIComponent(password).replaceAll("'", "%27")],
    ["a form", new URLSearchParams({ p: password }).toString().slice(2)],
    ["a path segment", encodeURIComponent(password).replaceAll("'", "%27").replaceAll("%2F", "/")],
    ["XML text", `p"a's$s\\w&amp;o&lt;r&gt;d /+\`%=ü`],
    ["an XML attribute", `p&quot;a&apos;s$s\\w&amp;o&lt;r&gt;d /+\`%=ü`],
    ["HTML", `p&quot;a&#39;s$s\\w&amp;o&lt;r&gt;d /+\`%=ü`],
    ["HTML as Python writes it", `p&quot;a&#x27;s$s\\w&amp;o&lt;r&gt;d /+\`%=ü`],
    ["HTML as Go writes it", `p&#34;a&#39;s$s\\w&amp;o&lt;r&gt;d /+\`%=ü`],
    ["single quotes of a shell", `p"a'\\''s$s\\w&o<r>d /+\`%=ü`],
    ["Python's shlex.quote", `p"a'"'"'s$s\\w&o<r>d /+\`%=ü`],
    ["double quotes of a shell", `p\\"a's\\$s\\\\w&o<r>d /+\\\`%=ü`],
    ["a bare word of a shell", `p\\"a\\'s\\$s\\\\w\\&o\\<r\\>d\\ /+\\\`%=ü`],
    ["doubled single quotes", `p"a''s$s\\w&o<r>d /+\`%=ü`],
    ["doubled double quotes", `p""a's$s\\w&o<r>d /+\`%=ü`],
    ["a single-quoted literal of Python or JavaScript", `p"a\\'s$s\\\\w&o<r>d /+\`%=ü`],
    ["base64", Buffer.from(password).toString("base64")],
    ["base64url", Buffer.from(password).toString("base64url")],
    ["hex", Buffer.from(password).toString("hex")],
  ])("hold it in the form of %s", (_form, wanted) => {
    expect(texts(password)).toContain(wanted);
  });

  test.each([
    ["Go's url.UserPassword", "0s~OU;Ef%3A%29,%2F%21"],
    ["Go's url.PathEscape", "0s~OU%3BEf:%29%2C%2F%21"],
    ["Python's quote", "0s~OU%3BEf%3A%29%2C/%21"],
    ["bash's printf %q", "0s~OU\\;Ef:\\)\\,/\\!"],
  ])("hold what %s makes of further characters", (_encoder, wanted) => {
    expect(texts("0s~OU;Ef:),/!")).toContain(wanted);
  });

  test("hold the password of a URL that was set through the URL class", () => {
    const url = new URL("https://host");
    url.password = password;
    expect(texts(password)).toContain(url.password);
  });
});

describe("the variants of a multi-line value", () => {
  const value = "first line\n  second line\n}\n\n      \nlast\n";

  test("hold each line that is long enough, without the blanks around it", () => {
    expect(texts(value)).toEqual(expect.arrayContaining(["first line", "second line", "last"]));
    expect(texts(value)).not.toContain("}");
  });

  test("hold the whole with CRLF, CR CR LF, blanks and nothing for its newlines, and without the last one", () => {
    const lines = value.trim().split("\n");
    for (const newline of ["\n", "\r\n", "\r\r\n", " ", ""])
      expect(texts(value)).toContain(lines.join(newline));
    expect(texts(value)[0]).toBe(value);
  });

  test("hold the JSON form with either line ending", () => {
    const json = "first line\\n  second line\\n}\\n\\n      \\nlast";
    expect(texts(value)).toEqual(expect.arrayContaining([json, json.replaceAll("\\n", "\\r\\n")]));
  });

  test("hold real line breaks where the value has \\n in letters", () => {
    expect(texts("one-line\\nanother\\n")).toEqual(
      expect.arrayContaining(["one-line\nanother", "one-line", "another", "one-line\r\nanother"]),
    );
  });

  test("hold the lines of its base64, broken at 64 and at 76 columns", () => {
    const long = randomBytes(150).toString("hex");
    const whole = Buffer.from(long).toString("base64");
    expect(texts(long)).toEqual(
      expect.arrayContaining([
        whole.slice(0, 64),
        whole.slice(64, 128),
        whole.slice(0, 76),
        whole.slice(76, 152),
      ]),
    );
  });
});

describe("the variants of a URL", () => {
  test.each([
    ["postgres://app:canary-pw@db:5432/app", "canary-pw"],
    ["postgres://app:p%2Fw%40canary@db/app", "p%2Fw%40canary"],
    ["postgres://app:p%2Fw%40canary@db/app", "p/w@canary"],
    ["postgres://app:p@canary/w?x#y@db/app", "p@canary/w?x#y"],
    ["redis://:canary-pw@cache:6379/0", "canary-pw"],
    ["https://ghp_canary0123456789abc@github.com/o/r", "ghp_canary0123456789abc"],
    ["amqp://user:p/w-canary@host", "p/w-canary"],
  ])("of %s hold %s", (url, password) => {
    expect(texts(url)).toContain(password);
    expect(texts(url)).toContain(Buffer.from(password).toString("hex"));
  });

  test.each([
    ["postgres://postgres@localhost/postgres", "postgres"],
    ["https://example.com:8443/path/@someone", "8443/path/"],
    ["postgres://user:abc@db/app", "abc"],
  ])("of %s do not hold %s", (url, part) => {
    expect(texts(url)).not.toContain(part);
  });
});

describe("no variants are made", () => {
  test.each(["", "abc", "äöü", "  a \n", "      ", "𝄞𝄞𝄞"])("of %j, which is too short", (value) => {
    expect(isTooShort(value)).toBe(true);
    expect(variantsOf(value)).toEqual([]);
  });
});

test("a value of four characters is long enough", () => {
  for (const value of ["abcd", "äöüß", "𝄞𝄞𝄞𝄞", " a b "]) expect(isTooShort(value)).toBe(value === " a b ");
});

test("no variant of any value is short, blank or there twice, and the first is the value itself", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: "binary" }), fc.string(), fc.base64String()), (value) => {
      const variants = variantsOf(value);
      expect(variants.every((variant) => variant.length >= 4 && variant.toString().trim() !== "")).toBe(true);
      expect(new Set(variants.map((variant) => variant.toString("latin1"))).size).toBe(variants.length);
      if (!isTooShort(value)) expect(variants[0]?.toString()).toBe(Buffer.from(value).toString());
    }),
  );
});

test("base64 of any message that holds the value holds a variant, but for 3 characters on each side", () => {
  fc.assert(
    fc.property(fc.string({ minLength: 4 }), fc.string(), fc.string(), (value, before, after) => {
      fc.pre(!isTooShort(value));
      const message = Buffer.from(before + value + after).toString("base64");
      const least = Math.floor((Buffer.byteLength(value) * 8) / 6) - 3;
      const found = texts(value).filter((variant) => message.includes(variant) && variant.length >= least);
      expect(found).not.toEqual([]);
    }),
  );
});

test("what an encoder makes of any value is among the variants", () => {
  const encoders: Record<string, (value: string) => string> = {
    json: (value) => JSON.stringify(value).slice(1, -1),
    component: encodeURIComponent,
    form: (value) => new URLSearchParams({ v: value }).toString().slice(2),
    query: (value) => stringifyQuery({ v: value }).slice(2),
    base64: (value) => Buffer.from(value).toString("base64"),
    base64url: (value) => Buffer.from(value).toString("base64url"),
    hex: (value) => Buffer.from(value).toString("hex"),
  };
  fc.assert(
    fc.property(fc.string({ unit: "grapheme", minLength: 4 }), (text) => {
      const value = text.trim();
      fc.pre(!isTooShort(value));
      const variants = new Set(texts(value));
      for (const [name, encode] of Object.entries(encoders)) {
        if (!variants.has(encode(value)))
          expect({ name, value, encoded: encode(value) }).toEqual("a variant");
      }
      expect(variants.has(value)).toBe(true);
    }),
    { numRuns: 1000 },
  );
});

test("a value with lone surrogates has variants", () => {
  expect(texts("half \ud834 of it")).toContain("half%20%EF%BF%BD%20of%20it");
});

test("a value of a megabyte has its main variants only", () => {
  // Ends in a letter: random bytes may end in a blank, and a value without its blanks is a variant of its own.
  const value = `${deflateSync(randomBytes(900_000))
    .toString("latin1")
    .replace(/[\r\n\\]/g, "-")}x`;
  const variants = variantsOf(value);
  expect(variants.length).toBeLessThan(20);
  expect(variants.some((variant) => variant.equals(Buffer.from(encodeURIComponent(value.trim()))))).toBe(
    true,
  );
});
