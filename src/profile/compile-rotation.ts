/** Where a new value of a secret comes from, and how old a version of it may be. */
import type { HookSpec, RotateSpec, SecretSpec } from "../secrets/spec.ts";
import { checkWith } from "./check-with.ts";
import { type Compilation, checkRange, expanded } from "./compilation.ts";
import { compileGenerate } from "./compile-generate.ts";
import { compileProgram } from "./compile-program.ts";
import type { DocumentPath } from "./findings.ts";
import { checkSetting } from "./literals.ts";
import { parseDuration } from "./quantities.ts";
import type { LongSecret, RotateEntry } from "./schema.ts";
import { withoutVariables } from "./variables.ts";

const LEAST_AGE_MS = 60_000;
const MOST_AGE_MS = 3_650 * 86_400_000;
const LEAST_TIMEOUT_MS = 1_000;
const MOST_TIMEOUT_MS = 10 * 60_000;

const SOURCES = ["generate", "hook", "console", "backend"] as const;

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
  if (kind === "encryption-key" && spec?.source.type === "hook") {
    const source = { ...spec.source, reencrypts: true } as const;
    return { rotate: { ...spec, source }, ...(maxAgeMs !== undefined && { maxAgeMs }) };
  }
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
    findings.error(
      { path, part: "key" },
      "`rotate` needs one of `generate`, `hook`, `console` and `backend`",
      {
        hint: "`rotate: { console: URL }`, the page on which a new key is made",
      },
    );
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
  if (source === "backend") return ownRotation(entry, path, compilation);
  checkWith(name, entry, [...path, "with"], compilation);
  const compiled =
    source === "generate"
      ? compileGenerate(entry.generate ?? {}, [...path, "generate"], compilation)
      : source === "hook"
        ? hook(entry, path, compilation)
        : page(entry.console ?? "", [...path, "console"], compilation);
  return compiled && { source: compiled, with: entry.with ?? [] };
}

function ownRotation(
  entry: RotateEntry,
  path: DocumentPath,
  { findings }: Compilation,
): RotateSpec | undefined {
  if (entry.with === undefined) return { source: { type: "backend" }, with: [] };
  findings.error(
    { path: [...path, "with"], part: "key" },
    "`with` has no meaning beside `backend`: what lies in the same document changes with it, and nothing else",
    { hint: "leaving it out" },
  );
  return undefined;
}

function hook(entry: RotateEntry, path: DocumentPath, compilation: Compilation): HookSpec | undefined {
  const { findings } = compilation;
  const { hook: words = [], grantOldValue = false, timeout } = entry;
  const argv = compileProgram(words, [...path, "hook"], "hook", "a hook", compilation);
  const timeoutMs = timeout === undefined ? undefined : parseDuration(timeout);
  checkRange([...path, "timeout"], timeoutMs, LEAST_TIMEOUT_MS, MOST_TIMEOUT_MS, "`1s` to `10m`", findings);
  return (
    argv && {
      type: "hook",
      argv,
      grantsOldValue: grantOldValue,
      ...(timeoutMs !== undefined && { timeoutMs }),
    }
  );
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
