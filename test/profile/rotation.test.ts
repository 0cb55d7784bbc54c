// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the profile's own syntax
import { describe, expect, it } from "vitest";
import type { SecretSpec } from "../../src/secrets/spec.ts";
import { diagnosticsOf, fileOf, loadBody, messagesOf } from "./room.ts";

const ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/** A profile whose secret A is of this form; B and C are others of it. */
function body(keys: string): string {
  return [
    "command: npx",
    "secrets:",
    "  B: local:b",
    "  C: { from: local:c, rotate: { generate: { bytes: 32 } } }",
    '  T: { template: "{{B}}" }',
    `  A: { ${keys} }`,
  ].join("\n");
}

async function specOf(keys: string): Promise<Pick<SecretSpec, "rotate" | "maxAgeMs">> {
  const { secrets } = await loadBody(body(keys));
  const { rotate, maxAgeMs } = secrets.find(({ name }) => name === "A") as SecretSpec;
  return { ...(rotate && { rotate }), ...(maxAgeMs !== undefined && { maxAgeMs }) };
}

describe("the keys that say how a secret is rotated", () => {
  it.each<[keys: string, expected: object]>([
    ["from: local:a", {}],
    ["from: local:a, maxAge: 90d", { maxAgeMs: 90 * 86_400_000 }],
    ["from: local:a, maxAge: 1m", { maxAgeMs: 60_000 }],
    [
      "from: local:a, rotate: { generate: { bytes: 16 } }",
      { rotate: { source: { type: "generate", shape: { bytes: 16, encoding: "base64url" } }, with: [] } },
    ],
    [
      "from: local:a, rotate: { generate: { bytes: 64, encoding: hex } }",
      { rotate: { source: { type: "generate", shape: { bytes: 64, encoding: "hex" } }, with: [] } },
    ],
    [
      "from: local:a, rotate: { generate: { length: 22 } }",
      { rotate: { source: { type: "generate", shape: { length: 22, alphabet: ALPHANUMERIC } }, with: [] } },
    ],
    [
      "from: local:a, rotate: { generate: { length: 39, alphabet: '0123456789' }, with: [C] }",
      {
        rotate: { source: { type: "generate", shape: { length: 39, alphabet: "0123456789" } }, with: ["C"] },
      },
    ],
    [
      "from: local:a, rotate: { console: 'https://sentry.io/settings?tab=keys', with: [B] }",
      { rotate: { source: { type: "console", url: "https://sentry.io/settings?tab=keys" }, with: ["B"] } },
    ],
    ["from: local:a, rotate: { backend: true }", { rotate: { source: { type: "backend" }, with: [] } }],
    [
      "from: local:a, rotate: { hook: [mint-key, 1.10, '$${X}'] }",
      {
        rotate: {
          source: { type: "hook", argv: ["mint-key", "1.10", "${X}"], grantsOldValue: false },
          with: [],
        },
      },
    ],
    [
      "from: local:a, kind: encryption-key, rotate: { hook: [/opt/h], grantOldValue: true, timeout: 90s, with: [B, C] }",
      {
        rotate: {
          source: {
            type: "hook",
            argv: ["/opt/h"],
            grantsOldValue: true,
            reencrypts: true,
            timeoutMs: 90_000,
          },
          with: ["B", "C"],
        },
      },
    ],
  ])("as %j are read", async (keys, expected) => {
    expect(await specOf(keys)).toEqual(expected);
  });

  it("find a hook below the home folder", async () => {
    const { rotate } = await specOf("from: local:a, rotate: { hook: [~/hooks/h.mjs] }");

    expect(rotate?.source).toMatchObject({ argv: [expect.stringMatching(/^\/.*\/hooks\/h\.mjs$/)] });
  });

  it.each([
    ["maxAge: 90", "`maxAge` must be a duration with its unit"],
    ["maxAge: 1s", "`maxAge` is out of its range"],
    ["maxAge: 3651d", "`maxAge` is out of its range"],
    ["kind: encryption", "`kind` must be `encryption-key`"],
    ["kind: encryption-key", "an encryption key can be rotated only by a hook"],
    [
      "kind: encryption-key, rotate: { generate: { bytes: 32 } }",
      "an encryption key can be rotated only by a hook",
    ],
    ["rotate: console", "`rotate` must be a mapping, not text"],
    ["rotate: {}", "`rotate` needs one of `generate`, `hook`, `console` and `backend`"],
    ["rotate: { with: [B] }", "`rotate` needs one of `generate`, `hook`, `console` and `backend`"],
    ["rotate: { hook: [h], console: 'https://x' }", "`rotate` has both `hook` and `console`"],
    ["rotate: { hooks: [h] }", "unknown key `hooks`, did you mean `hook`?"],
    [
      "rotate: { console: 'https://x.example', grantOldValue: true }",
      "`grantOldValue` has no meaning beside `console`",
    ],
    ["rotate: { generate: { bytes: 32 }, timeout: 5s }", "`timeout` has no meaning beside `generate`"],
    ["rotate: { generate: {} }", "`generate` needs either `length` or `bytes`"],
    ["rotate: { generate: { bytes: 32, length: 40 } }", "`generate` needs either `length` or `bytes`"],
    ["rotate: { generate: { bytes: 15 } }", "`generate` would make keys of 120 bits, which can be guessed"],
    ["rotate: { generate: { bytes: -16 } }", "`generate` would make keys of 0 bits, which can be guessed"],
    ["rotate: { generate: { bytes: 4097 } }", "`bytes` is out of its range"],
    ["rotate: { generate: { bytes: 16.5 } }", "`bytes` must be a whole number"],
    [
      "rotate: { generate: { bytes: 32, encoding: base32 } }",
      "`encoding` must be one of `base64url`, `base64`, `hex`",
    ],
    ["rotate: { generate: { bytes: 32, alphabet: abc } }", "`alphabet` has no meaning beside `bytes`"],
    ["rotate: { generate: { length: 40, encoding: hex } }", "`encoding` has no meaning beside `length`"],
    ["rotate: { generate: { length: 21 } }", "`generate` would make keys of 125 bits, which can be guessed"],
    [
      "rotate: { generate: { length: 38, alphabet: '0123456789' } }",
      "`generate` would make keys of 126 bits",
    ],
    ["rotate: { generate: { length: 4096, alphabet: a } }", "`generate` would make keys of 0 bits"],
    [
      "rotate: { generate: { length: 40, alphabet: aab } }",
      "`alphabet` must be made of visible ASCII characters, each of them once",
    ],
    [
      "rotate: { generate: { length: 40, alphabet: 'äbc' } }",
      "`alphabet` must be made of visible ASCII characters",
    ],
    [
      "rotate: { generate: { length: 40, alphabet: '' } }",
      "`alphabet` must be made of visible ASCII characters",
    ],
    ["rotate: { generate: { length: 40, alphabet: 0123456789 } }", "`alphabet` must be text, not a number"],
    ["rotate: { backend: false }", "`backend` must be `true`"],
    ["rotate: { backend: true, console: 'https://x' }", "`rotate` has both `console` and `backend`"],
    ["rotate: { backend: true, with: [B] }", "`with` has no meaning beside `backend`"],
    ["rotate: { backend: true, timeout: 5s }", "`timeout` has no meaning beside `backend`"],
    ["kind: encryption-key, rotate: { backend: true }", "an encryption key can be rotated only by a hook"],
    ["rotate: { hook: [] }", "`hook` must not be empty"],
    ["rotate: { hook: mint-key }", "`hook` must be a list, not text"],
    ["rotate: { hook: [./mint-key] }", "the program of a hook needs a bare name or an absolute path"],
    ["rotate: { hook: [''] }", "the program of a hook needs a bare name or an absolute path"],
    ["rotate: { hook: [h, '${HOME}'] }", "`${…}` is not expanded in `hook`"],
    ['rotate: { hook: [h, "a\\0b"] }', "`hook[1]` holds a NUL character"],
    ["rotate: { hook: [h], timeout: 11m }", "`timeout` is out of its range"],
    ["rotate: { hook: [h], timeout: 11 }", "`timeout` must be a duration with its unit"],
    ["rotate: { console: sentry.io }", "`console` must be the address of a page"],
    ["rotate: { console: 'file:///etc' }", "`console` must be the address of a page"],
    ["rotate: { hook: [h], with: [] }", "`with` must not be empty"],
    ["rotate: { hook: [h], with: [A] }", "`A` stands under its own `with`"],
    ["rotate: { hook: [h], with: [B, B] }", "`B` stands there twice"],
    ["rotate: { hook: [h], with: [BB] }", "there is no secret `BB`"],
    ["rotate: { hook: [h], with: [T] }", "`T` comes from no backend, so it can't be written"],
    ["rotate: { generate: { bytes: 32 }, with: [B] }", "nothing says where a new `B` comes from"],
  ])("as %j are refused", async (keys, expected) => {
    const messages = await messagesOf(body(`from: local:a, ${keys}`));

    expect(messages).toHaveLength(1);
    expect(messages[0]).toMatch(/^6:\d+: /);
    expect(messages[0]).toContain(expected);
  });

  it.each([
    ["template: '{{B}}', maxAge: 90d", "`maxAge` has no meaning beside `template`"],
    [
      "template: '{{B}}', rotate: { console: 'https://x.example' }",
      "`rotate` has no meaning beside `template`",
    ],
    ["command: [op], rotate: { hook: [h] }", "`rotate` has no meaning beside `command`"],
    ["command: [op], kind: encryption-key", "`kind` has no meaning beside `command`"],
  ])("are refused where nothing can be written: %j", async (keys, expected) => {
    const messages = await messagesOf(body(keys));

    expect(messages).toHaveLength(1);
    expect(messages[0]).toContain(expected);
  });

  it.each([
    [
      "rotate: { hook: [h, --token, ghp_0123456789abcdefghijABCDEFGHIJ012345] }",
      "`hook[2]` looks like a GitHub token",
    ],
    ["rotate: { console: 'https://canary:canarypass1@x.example' }", "`console` looks like"],
  ])("with a credential in them are refused without showing it: %j", async (keys, expected) => {
    const text = await diagnosticsOf(fileOf(body(`from: local:a, ${keys}`)));

    expect(text).toContain(expected);
    expect(text).not.toMatch(/ghp_|canary/);
  });

  it.each([
    ["rotate: { generate: { length: 21 } }", "Try `length: 22` or more, which is 128 bits"],
    ["rotate: { generate: { length: 5, alphabet: '01' } }", "Try `length: 128` or more, which is 128 bits"],
    ["rotate: { generate: { bytes: 8 } }", "Try `bytes: 16` or more, which is 128 bits"],
    ["rotate: { generate: { length: 200, alphabet: x } }", "Try a longer `alphabet`"],
    ["rotate: { hook: [hooks/h.mjs] }", "Try `~/` in front of it, if it is in your home folder"],
  ])("are refused with what mends them: %j", async (keys, expected) => {
    expect(await diagnosticsOf(fileOf(body(`from: local:a, ${keys}`)))).toContain(expected);
  });

  it("let a secret come with one key only", async () => {
    const two = [
      "command: npx",
      "secrets:",
      "  A: { from: local:a, rotate: { hook: [h], with: [ID, OWN] } }",
      "  B: { from: local:b, rotate: { hook: [h], with: [ID, OWN] } }",
      "  ID: local:id",
      "  OWN: { from: local:own, rotate: { generate: { bytes: 32 } } }",
    ].join("\n");

    expect(await messagesOf(two)).toEqual(["4:51: a new `ID` comes with `A` already"]);
  });

  it("do not change how a profile loads that has them", async () => {
    const plain = await loadBody("command: npx\nsecrets: { A: { from: local:a } }");
    const rotated = await loadBody(
      "command: npx\nsecrets: { A: { from: local:a, maxAge: 90d, rotate: { console: 'https://x.example' } } }",
    );

    expect(rotated.secrets[0]).toMatchObject({ ...plain.secrets[0] });
  });
});
