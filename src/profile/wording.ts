/** The words for what a schema wants and what it got. */
import type { DocumentPath } from "./findings.ts";

export function formatMessage(
  name: string,
  message: string,
  place: DocumentPath,
): { message: string; hint?: string } {
  if (isQuantity(place)) return quantityMessage(name, place);
  const key = place.at(-1);
  if (place.at(-2) === "secretsInArgs" || key === "prefix")
    return { message: `${name} can't be (the beginning of) a variable's name` };
  return { message: sentence(name, message) };
}

export function isQuantity(place: DocumentPath): boolean {
  const key = String(place.at(-1));
  if (key === "timeout") return place.at(-2) === "rotate";
  return ["stopGrace", "fetchTimeout", "maxLine", "maxAge", "every", "drain", "retention"].includes(key);
}

const EXAMPLES: Readonly<Record<string, string>> = {
  maxAge: "`24h` or `7d`",
  every: "`15m` or `1h`",
  drain: "`10m` or `90s`",
  retention: "`30d` or `365d`",
};

export function quantityMessage(name: string, place: DocumentPath): { message: string; hint: string } {
  if (place.at(-1) === "maxLine") return { message: `${name} must be a size with its unit`, hint: "`64MiB`" };
  const hint = EXAMPLES[String(place.at(-1))] ?? "`1500ms`, `10s` or `2m`";
  return { message: `${name} must be a duration with its unit`, hint };
}

/** `args[1]`, `env.FOO`: the last steps of a path, enough to be recognised beside the excerpt. */
export function nameOf(path: DocumentPath): string {
  const last = path.at(-1);
  if (last === undefined) return "the file";
  if (typeof last === "number") return `\`${String(path.at(-2) ?? "")}[${last}]\``;
  return `\`${last}\``;
}

const WORDS: Readonly<Record<string, string>> = {
  string: "text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "a mapping",
  record: "a mapping",
  null: "empty",
};

export function wanted(kinds: readonly string[], received: unknown): string {
  const isScalar = kinds.includes("string") && kinds.includes("number") && kinds.includes("boolean");
  const names = isScalar
    ? ["text", ...kinds.filter((kind) => !["string", "number", "boolean"].includes(kind)).map(wordFor)]
    : [...new Set(kinds)].map(wordFor);
  return `${names.join(" or ")}, not ${kindOfValue(received)}`;
}

function wordFor(kind: string): string {
  return WORDS[kind] ?? kind;
}

export function kindOfValue(value: unknown): string {
  if (value === null || value === undefined) return "empty";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "boolean") return "true or false";
  return WORDS[typeof value] ?? typeof value;
}

/** Zod's message where the schema has no words for a rule of its own. */
const NO_WORDS = "Invalid input";

/** What a schema says of a wrong value, in the form of ours. */
export function sentence(name: string, message: string): string {
  if (message === NO_WORDS) return `${name} is not of the right form`;
  return `${name}: ${message.charAt(0).toLowerCase()}${message.slice(1)}`;
}
