// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the profile's own syntax
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { McpRunError } from "../../src/errors.ts";
import { loadProfile } from "../../src/profile/load.ts";
import { readYaml } from "../../src/profile/read-yaml.ts";
import { cpuTime } from "../helpers/cpu-time.ts";
import { room } from "./room.ts";

const KEYS = [
  ...[
    "version",
    "providers",
    "defaults",
    "profiles",
    "p",
    "command",
    "args",
    "cwd",
    "env",
    "inheritEnv",
    "secrets",
  ],
  ...[
    "secretsFrom",
    "secretsInArgs",
    "stopGrace",
    "maxLine",
    "scrub",
    "stdout",
    "onCrash",
    "refresh",
    "from",
    "type",
  ],
  ...[
    "template",
    "optional",
    "deliver",
    "prefix",
    "only",
    "A",
    "__proto__",
    "constructor",
    "toString",
    "<<",
    "",
  ],
];
const SCALARS = [
  ...[
    "1",
    "npx",
    "local:a",
    "safe:a#b",
    "{{A}}",
    "{{A",
    "${HOME}",
    "${X:-",
    "$${",
    "off",
    "true",
    "null",
    "~",
    "''",
  ],
  ...[
    '"a\\0b"',
    "64MiB",
    "10s",
    "*a",
    "&a x",
    "!x y",
    "|",
    ">-",
    "- a",
    "? a",
    "\u202e",
    "'\u001b'",
    "1e999",
    ".nan",
  ],
];

/** Text that is nearly a profile: nested pieces in flow style, with anything in the wrong place. */
const flow = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constantFrom(...SCALARS),
    fc.array(tie("value"), { maxLength: 4 }).map((items) => `[${items.join(", ")}]`),
    fc
      .array(fc.tuple(fc.constantFrom(...KEYS), tie("value")), { maxLength: 5 })
      .map((pairs) => `{${pairs.map(([key, value]) => `"${key}": ${value}`).join(", ")}}`),
  ),
})).value;

const nearlyAProfile = fc
  .array(fc.tuple(fc.constantFrom(...KEYS), flow), { minLength: 1, maxLength: 6 })
  .map(
    (pairs) =>
      `version: 1\nprofiles:\n  p:\n${pairs.map(([key, value]) => `    ${key}: ${value}\n`).join("")}`,
  );

const pieces = fc
  .array(
    fc.constantFrom(
      ...KEYS.map((key) => `${key}:`),
      ...SCALARS,
      ..."[]{},:-?&*!|>'\"%@`#\n\t ".split(""),
      "  ",
      "\n  ",
      "---\n",
    ),
    { maxLength: 60 },
  )
  .map((parts) => parts.join(""));

describe("whatever stands in a file", () => {
  it.each([
    ["pieces of YAML", pieces],
    ["something like a profile", nearlyAProfile],
    ["any text", fc.string({ unit: "binary", maxLength: 300 })],
  ])("(%s) loading it gives a profile or one of our errors, soon", async (_what, texts) => {
    const { request, main } = room();

    await fc.assert(
      fc.asyncProperty(texts, async (text) => {
        main(text);
        const start = cpuTime();
        const error = await loadProfile("p", request).then(
          () => undefined,
          (reason: unknown) => reason,
        );
        expect(error === undefined || error instanceof McpRunError, String(error)).toBe(true);
        expect(cpuTime() - start).toBeLessThan(30_000);
      }),
      { numRuns: 300 },
    );
  });

  it("reading it takes no longer than a few seconds, even for a whole MiB of one thing", async () => {
    const repeated = [
      "[",
      "{",
      "- ",
      "? ",
      "a: ",
      "&a ",
      "*a ",
      "!t ",
      "\n",
      "#\n",
      '"',
      "'",
      "|\n",
      "a\n",
      "}",
      "]",
      "%Y\n",
      "---\n",
      "a: [\n",
      "[a,",
      "a: 'x\n\n",
      "\r",
      "\0",
      ": ",
      "a:\n",
      "[]\n",
      '"\\\n',
    ];
    for (const piece of repeated) {
      const text = piece.repeat(2 ** 20 / piece.length);
      const start = cpuTime();
      readYaml(text);
      expect(cpuTime() - start, JSON.stringify(piece)).toBeLessThan(30_000);
      // Vitest takes a worker for dead that says nothing for a minute.
      await new Promise(setImmediate);
    }
  }, 300_000);

  it("ten thousand mistakes are reported soon", async () => {
    const { request, main } = room();
    const keys = Array.from({ length: 10_000 }, (_, index) => `    k${index}: 1\n`);
    main(`version: 1\nprofiles:\n  p:\n${keys.join("")}`);
    const start = cpuTime();

    await expect(loadProfile("p", request)).rejects.toThrow(/: 10001 errors$/);

    expect(cpuTime() - start).toBeLessThan(30_000);
  });
});
