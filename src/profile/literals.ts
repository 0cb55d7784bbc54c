/**
 * Values that are written into the profile in plain text, where a credential has no business: under `env`,
 * in `args`, in provider settings. The finding says which command moves the value into a store.
 */
import { looksLikeRef } from "../secrets/ref.ts";
import { type Compilation, plaintextFinding } from "./compilation.ts";
import { findCredential } from "./credential-literals.ts";
import { carriesCredential, namesOnlyCredentials } from "./credential-names.ts";
import type { DocumentPath } from "./findings.ts";
import { literalPart } from "./variables.ts";

/** Not a credential whatever its name says: switches, numbers, paths, addresses, references. */
const HARMLESS_VALUE =
  /^(?:|true|false|yes|no|on|off|none|null|[\d.]+|~.*|\.{0,2}\/.*|[A-Za-z]:\\.*|[a-z][a-z0-9+.-]*:\/\/.*)$/is;
const RANDOM_UNDER_SUCH_A_NAME = /^(?=[^\d]*\d)(?=[^A-Za-z]*[A-Za-z])[\w.+/=:~-]{16,}$/;
const FLAG = /^--?([A-Za-z][\w-]{0,80})(?:=([\s\S]*))?$/;

type Context = Pick<Compilation, "findings" | "request">;

/** A value under `env`. */
export function checkVariable(name: string, text: string, path: DocumentPath, context: Context): void {
  const advice = `\`mcp-run secrets set local:${name}\`, and under \`secrets:\` the line \`${name}: local:${name}\``;
  const literal = literalPart(text);
  if (!checkForm(literal, `\`${name}\``, path, advice, context))
    checkNamed(literal, name, `\`${name}\``, path, advice, context);
}

/** The words of a command line; `what` is the key that they stand under. */
export function checkArguments(
  args: readonly string[],
  what: string,
  pathAt: (index: number) => DocumentPath,
  context: Context,
): void {
  let flagBefore: string | undefined;
  for (const [index, argument] of args.entries()) {
    const [, flag, inline] = FLAG.exec(argument) ?? [];
    const [named, value] = flag === undefined ? [flagBefore, argument] : [flag, inline];
    const place = `\`${what}[${index}]\``;
    const path = pathAt(index);
    const advice = adviceForWord(what, variableFor(named));
    if (!checkForm(literalPart(argument), place, path, advice, context) && named !== undefined)
      checkNamed(value ?? "", named, place, path, advice, context);
    flagBefore = inline === undefined ? flag : undefined;
  }
}

function adviceForWord(what: string, name: string): string {
  if (what === "args") return adviceForArgument(name);
  // A probe has what the server has.
  return what === "program" ? "the variable, which the program has" : "a ref, or the program's own store";
}

function adviceForArgument(name: string): string {
  return `\`mcp-run secrets set local:${name}\`, and under \`secrets:\` the line \`${name}: local:${name}\`; for a server that takes it only as an argument, also \`secretsInArgs: [${name}]\` and \`{{${name}}}\` here`;
}

/** A text in the request of a probe, by the key that it stands under. */
export function checkProbeText(text: string, path: DocumentPath, context: Context): void {
  const advice = "a request that needs no credential: the server has its secrets already";
  const name = String(path.findLast((step) => typeof step === "string"));
  const literal = literalPart(text);
  if (!checkForm(literal, `\`${name}\``, path, advice, context))
    checkNamed(literal, variableName(name), `\`${name}\``, path, advice, context);
}

/** A header of our own requests; `literal` is what is left of it without the secrets in it. */
export function checkHeader(name: string, literal: string, path: DocumentPath, context: Context): void {
  const advice =
    "a line for it under `secrets:`, with `deliver: none` so that the server does not get it, and `{{NAME}}` here";
  if (checkForm(literal, `\`${name}\``, path, advice, context)) return;
  const carries =
    /^(?:proxy-)?authorization$|^cookie$|team$|-dsn$/i.test(name) || carriesCredential(variableName(name));
  const words = literal.replace(/^\s*(?:Bearer|Basic|Token|ApiKey|Api-Token)\b/i, "").trim();
  if (carries && words !== "")
    plaintextFinding(context, { path }, `\`${name}\` is plain text in a header for credentials`, advice);
}

/** A setting of a provider: ids and hosts look random there, so only known forms count. */
export function checkSetting(text: string, path: DocumentPath, context: Context): void {
  const name = variableFor(String(path.at(-1) ?? ""));
  const advice = `\`mcp-run secrets set keychain:${name}\`, and the ref \`keychain:${name}\` here`;
  const found = findCredential(literalPart(text));
  if (found && found.what !== "a random value")
    plaintextFinding(context, { path }, `\`${path.at(-1)}\` looks like ${found.what}`, advice);
}

/** A ref where only plain values are read would reach the server as it stands. */
export function isMisplacedRef(name: string, text: string, providerWords: readonly string[]): boolean {
  if (!looksLikeRef(text, providerWords)) return false;
  // `file:./dev.db` is a database address and `env:prod` a tag, unless the name says that it is a secret.
  if (text.startsWith("file:")) return namesOnlyCredentials(name) || text.startsWith("file:/run/secrets/");
  if (text.startsWith("env:")) return /^env:[A-Z_][A-Z0-9_]*$/.test(text);
  return !/\s/.test(text);
}

function checkForm(
  literal: string,
  place: string,
  path: DocumentPath,
  advice: string,
  context: Context,
): boolean {
  const found = findCredential(literal);
  if (!found || (found.what === "a random value" && isName(path))) return false;
  plaintextFinding(context, { path }, `${place} looks like ${found.what}`, advice);
  return true;
}

/** Ids, hashes and versions are long and random, and no secret. */
function isName(path: DocumentPath): boolean {
  const name = String(path.at(-1)).toUpperCase();
  return (
    /(?:^|_)(?:IDS?|UUID|SHA\d*|HASH|DIGEST|CHECKSUM|COMMIT|REVISION|VERSION|FINGERPRINT)$/.test(name) &&
    !/(?:SECRET|KEY)_ID$/.test(name)
  );
}

function checkNamed(
  literal: string,
  name: string,
  place: string,
  path: DocumentPath,
  advice: string,
  context: Context,
): void {
  const value = literal.trim();
  if (!namesOnlyCredentials(name.replaceAll("-", "_")) || HARMLESS_VALUE.test(value)) return;
  if (value.includes("{{")) return;
  const message = `${place} is plain text under a name for credentials`;
  if (RANDOM_UNDER_SUCH_A_NAME.test(value)) plaintextFinding(context, { path }, message, advice);
  else context.findings.warning({ path }, message, { hint: advice, hidesValue: true });
}

/** `--api-key` is best kept as API_KEY. */
function variableFor(flag: string | undefined): string {
  const name = variableName(flag ?? "");
  return /^[A-Z_]/.test(name) && namesOnlyCredentials(name) ? name : "API_TOKEN";
}

/** `apiKey` and `api-key` as a variable would be written: API_KEY. */
function variableName(name: string): string {
  return name
    .replace(/([a-z])([A-Z])/g, "$1_$2")
    .replace(/\W/g, "_")
    .toUpperCase();
}
