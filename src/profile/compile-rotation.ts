/** Where a new value of a secret comes from, and how old a version of it may be. */
import { posix, win32 } from "node:path";
import { nearest } from "../nearest.ts";
import type { GeneratedShape } from "../secrets/generated-shape.ts";
import { bitsOf, LEAST_BITS, leastLength, MOST_LENGTH } from "../secrets/generated-shape.ts";
import type { HookSpec, RotateSpec, SecretSpec } from "../secrets/spec.ts";
import { type Compilation, checkRange, expanded, textOf } from "./compilation.ts";
import type { DocumentPath } from "./findings.ts";
import { checkArguments, checkSetting } from "./literals.ts";
import { parseDuration } from "./quantities.ts";
import type { LongSecret, RotateEntry, Scalar } from "./schema.ts";
import { withoutVariables } from "./variables.ts";

const LEAST_AGE_MS = 60_000;
const MOST_AGE_MS = 3_650 * 86_400_000;
const LEAST_TIMEOUT_MS = 1_000;
const MOST_TIMEOUT_MS = 10 * 60_000;

const DEFAULT_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const DEFAULT_ENCODING = "base64url";

const SOURCES = ["generate", "hook", "console"] as const;
/** A bare name is looked up in PATH; a relative path would be taken from who knows which folder. */
const PROGRAM = /^(?:[^/\\]+|(?:~[/\\]|[/\\]|[A-Za-z]:[/\\]).*)$/s;

/** @param origin what the value comes from now; only a ref leads to a place that can be written */
export function compileRotation(
  name: string,
  origin: "from" | "template" | "command",
  entry: LongSecret,
  path: DocumentPath,
  compilation: Compilation,
): Pick<SecretSpec, "rotate" | "maxAgeMs"> {
  const { findings } = compilation;
  const { rotate, maxAge, kind } = entry;
  if (origin !== "from") {
    for (const key of ["maxAge", "rotate", "kind"].filter((key) => Object.hasOwn(entry, key)))
      findings.error(
        { path: [...path, key], part: "key" },
        `\`${key}\` has no meaning beside \`${origin}\``,
        {
          hint: "`from:` with a ref, whose backend can be written",
        },
      );
    return {};
  }
  const maxAgeMs = maxAge === undefined ? undefined : parseDuration(maxAge);
  checkRange([...path, "maxAge"], maxAgeMs, LEAST_AGE_MS, MOST_AGE_MS, "`1m` to `3650d`", findings);
  if (kind === "encryption-key" && rotate?.hook === undefined) {
    findings.error({ path: [...path, "kind"] }, "an encryption key can be rotated only by a hook", {
      hint: "`rotate: { hook: [PROGRAM] }`, which encrypts anew what the old key has encrypted",
    });
  }
  const spec = rotate && compileRotate(name, rotate, [...path, "rotate"], compilation);
  return { ...(spec && { rotate: spec }), ...(maxAgeMs !== undefined && { maxAgeMs }) };
}

function compileRotate(
  name: string,
  entry: RotateEntry,
  path: DocumentPath,
  compilation: Compilation,
): RotateSpec | undefined {
  const { findings } = compilation;
  const [source, second] = SOURCES.filter((key) => entry[key] !== undefined);
  if (source === undefined) {
    findings.error({ path, part: "key" }, "`rotate` needs one of `generate`, `hook` and `console`", {
      hint: "`rotate: { console: URL }`, the page on which a new key is made",
    });
    return undefined;
  }
  if (second !== undefined) {
    findings.error(
      { path: [...path, second], part: "key" },
      `\`rotate\` has both \`${source}\` and \`${second}\``,
      {
        hint: "one of them",
      },
    );
    return undefined;
  }
  for (const key of source === "hook" ? [] : (["grantOldValue", "timeout"] as const)) {
    if (entry[key] !== undefined)
      findings.error(
        { path: [...path, key], part: "key" },
        `\`${key}\` has no meaning beside \`${source}\``,
        {
          hint: "leaving it out",
        },
      );
  }
  checkWith(name, entry, [...path, "with"], compilation);
  const compiled =
    source === "generate"
      ? generated(entry.generate ?? {}, [...path, "generate"], compilation)
      : source === "hook"
        ? hook(entry, path, compilation)
        : page(entry.console ?? "", [...path, "console"], compilation);
  return compiled && { source: compiled, with: entry.with ?? [] };
}

function generated(
  { length, alphabet, bytes, encoding }: NonNullable<RotateEntry["generate"]>,
  path: DocumentPath,
  { findings }: Compilation,
): RotateSpec["source"] | undefined {
  const wrong = (key: string, message: string, hint: string) => {
    findings.error({ path: [...path, key], part: "key" }, message, { hint });
    return undefined;
  };
  if ((length === undefined) === (bytes === undefined)) {
    findings.error({ path, part: "key" }, "`generate` needs either `length` or `bytes`", {
      hint: "`generate: { bytes: 32 }`",
    });
    return undefined;
  }
  if (length === undefined && alphabet !== undefined)
    return wrong("alphabet", "`alphabet` has no meaning beside `bytes`", "`encoding`, or `length`");
  if (bytes === undefined && encoding !== undefined)
    return wrong("encoding", "`encoding` has no meaning beside `length`", "`alphabet`, or `bytes`");
  const characters = alphabet ?? DEFAULT_ALPHABET;
  if (!/^[!-~]+$/.test(characters) || new Set(characters).size < characters.length)
    return wrong(
      "alphabet",
      "`alphabet` must be made of visible ASCII characters, each of them once",
      '`alphabet: "ABCDEF0123456789"`',
    );
  const shape: GeneratedShape =
    length !== undefined
      ? { length, alphabet: characters }
      : { bytes: bytes as number, encoding: encoding ?? DEFAULT_ENCODING };
  const [key, amount] = length !== undefined ? ["length", length] : ["bytes", bytes as number];
  if (amount > MOST_LENGTH)
    return wrong(key as string, `\`${key}\` is out of its range`, `\`${key}: ${MOST_LENGTH}\` or less`);
  const bits = bitsOf(shape);
  if (amount < 1 || bits < LEAST_BITS) {
    const least = key === "bytes" ? LEAST_BITS / 8 : leastLength(characters);
    return wrong(
      key as string,
      `\`generate\` would make keys of ${Math.floor(Math.max(0, bits))} bits, which can be guessed`,
      least === undefined
        ? "a longer `alphabet`"
        : `\`${key}: ${least}\` or more, which is ${LEAST_BITS} bits`,
    );
  }
  return { type: "generate", shape };
}

function hook(entry: RotateEntry, path: DocumentPath, compilation: Compilation): HookSpec | undefined {
  const { findings, request } = compilation;
  const { hook: words = [], grantOldValue = false, timeout } = entry;
  const at = [...path, "hook"];
  const argv = words.map((word: Scalar, index) => {
    const place = [...at, index];
    return expanded(withoutVariables(textOf(word, place, compilation), "`hook`"), place, compilation);
  });
  checkArguments(argv, "hook", (index) => [...at, index], compilation);
  const timeoutMs = timeout === undefined ? undefined : parseDuration(timeout);
  checkRange([...path, "timeout"], timeoutMs, LEAST_TIMEOUT_MS, MOST_TIMEOUT_MS, "`1s` to `10m`", findings);
  const nul = argv.findIndex((word) => word.includes("\0"));
  if (nul >= 0) findings.error({ path: [...at, nul] }, `\`hook[${nul}]\` holds a NUL character`);
  const [program = "", ...args] = argv;
  if (!PROGRAM.test(program)) {
    findings.error({ path: [...at, 0] }, "the program of a hook needs a bare name or an absolute path", {
      hint: "`~/` in front of it, if it is in your home folder",
    });
    return undefined;
  }
  const { join } = request.platform === "win32" ? win32 : posix;
  const file = /^~[/\\]/.test(program) ? join(request.home, program.slice(2)) : program;
  return {
    type: "hook",
    argv: [file, ...args],
    grantsOldValue: grantOldValue,
    ...(timeoutMs !== undefined && { timeoutMs }),
  };
}

function page(
  written: string,
  path: DocumentPath,
  compilation: Compilation,
): RotateSpec["source"] | undefined {
  const url = expanded(withoutVariables(written, "`console`"), path, compilation);
  checkSetting(url, path, compilation);
  if (URL.canParse(url) && ["https:", "http:"].includes(new URL(url).protocol))
    return { type: "console", url };
  compilation.findings.error({ path }, "`console` must be the address of a page", {
    hint: "`https://` and the page on which a new key is made",
  });
  return undefined;
}

function checkWith(
  name: string,
  { with: names = [], generate }: RotateEntry,
  path: DocumentPath,
  { body, findings, secretNames }: Compilation,
): void {
  for (const [index, other] of names.entries()) {
    const place = { path: [...path, index] };
    const entry = body.secrets?.[other];
    if (other === name)
      findings.error(place, `\`${name}\` stands under its own \`with\``, { hint: "leaving it out" });
    else if (names.indexOf(other) < index)
      findings.error(place, `\`${other}\` stands there twice`, { hint: "leaving one out" });
    else if (!secretNames.has(other)) {
      const near = nearest(other, secretNames);
      findings.error(place, `there is no secret \`${other}\`${near ? `, did you mean \`${near}\`?` : ""}`);
    } else if (typeof entry === "object" && entry.from === undefined)
      findings.error(place, `\`${other}\` comes from no backend, so it can't be written`, {
        hint: "leaving it out",
      });
    else if (generate && !(typeof entry === "object" && entry.rotate))
      findings.error(place, `nothing says where a new \`${other}\` comes from`, {
        hint: `a \`rotate\` of its own at \`${other}\``,
      });
  }
}
