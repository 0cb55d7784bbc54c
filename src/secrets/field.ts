/** Reads and replaces fields of a secret that is a JSON document (`#key` of a ref). Messages name keys, never values. */
import { ProviderError } from "../errors.ts";
import { type Member, type ObjectText, readObject } from "./json-members.ts";
import { Secret } from "./secret.ts";

const MOST_NAMES_SHOWN = 20;

/**
 * Walks `field` into the document. Strings come out as they are, numbers and booleans as JSON writes them,
 * objects and arrays as JSON text. Returns a ProviderError (`missing` or `invalid`) when there is no such value.
 */
export function pickField(document: Secret, field: readonly string[]): Secret | ProviderError {
  const parsed = parseDocument(document);
  if (parsed instanceof ProviderError) return parsed;
  let value: unknown = parsed;
  for (const [depth, step] of field.entries()) {
    if (!isRecord(value)) return notAnObject(field, depth);
    if (!Object.hasOwn(value, step)) return missingField(Object.keys(value), step);
    value = value[step];
  }
  return asSecret(value, field.join("."));
}

/** Every field of a JSON document, in its order; for `secretsFrom`. */
export function allFields(document: Secret): ReadonlyMap<string, Secret | ProviderError> | ProviderError {
  const parsed = parseDocument(document);
  if (parsed instanceof ProviderError) return parsed;
  return new Map(Object.entries(parsed).map(([key, value]) => [key, asSecret(value, key)]));
}

/**
 * The ways to all that has no members of its own, in their order: the narrowest fields that a ref can name.
 *
 * @param most so many at most, and none that is deeper; none of what is no JSON object
 */
export function fieldsWithin(
  document: Secret,
  most: { readonly count: number; readonly depth: number },
): readonly (readonly string[])[] {
  const parsed = parseDocument(document);
  if (parsed instanceof ProviderError) return [];
  const ways: (readonly string[])[] = [];
  const walk = (record: Record<string, unknown>, way: readonly string[]) => {
    for (const [key, value] of Object.entries(record)) {
      if (ways.length === most.count) return;
      const inner = [...way, key];
      if (isRecord(value) && inner.length < most.depth) walk(value, inner);
      else ways.push(inner);
    }
  };
  walk(parsed, []);
  return ways;
}

/**
 * The document with this field as a string, and every other character as it was. The field is made if the object
 * that it belongs to is there. Returns a ProviderError `missing` where that is not, `invalid` for a document that is no
 * JSON object and for a field that is an object or a list itself.
 */
export function replaceField(
  document: Secret,
  field: readonly string[],
  value: Secret,
): Secret | ProviderError {
  const parsed = parseDocument(document);
  if (parsed instanceof ProviderError) return parsed;
  const text = document.reveal();
  let object = readObject(text, 0);
  for (const [depth, step] of field.slice(0, -1).entries()) {
    const member = memberNamed(object.members, step);
    if (!member) {
      return missingField(
        object.members.map(({ name }) => name),
        step,
      );
    }
    if (text[member.value.from] !== "{") return notAnObject(field, depth + 1);
    object = readObject(text, member.value.from);
  }
  const name = field.at(-1) ?? "";
  const present = memberNamed(object.members, name);
  const written = JSON.stringify(value.reveal());
  if (present) {
    if (/[[{]/.test(text[present.value.from] ?? "")) {
      return new ProviderError("invalid", `field "${field.join(".")}" is an object or a list, not a text`, {
        hint: "one of its own fields, or the whole value",
      });
    }
    return spliced(text, present.value.from, present.value.to, written);
  }
  return withMember(text, object, name, written);
}

/** Adds a member at the end, set apart as those before it are. */
function withMember(text: string, { inside, members }: ObjectText, name: string, written: string): Secret {
  const last = members.at(-1);
  const key = JSON.stringify(name);
  if (!last) return spliced(text, inside.from, inside.to, `${key}:${written}`);
  const previous = members.at(-2);
  const blanks = previous
    ? text.slice(previous.value.to, last.key.from).replace(",", "")
    : text.slice(inside.from, last.key.from);
  const colon = text.slice(last.key.to, last.value.from);
  return spliced(text, last.value.to, last.value.to, `,${blanks}${key}${colon}${written}`);
}

/** Of several with one name the last counts, as for every reader of JSON. */
function memberNamed(members: readonly Member[], name: string): Member | undefined {
  return members.findLast((member) => member.name === name);
}

function spliced(text: string, from: number, to: number, written: string): Secret {
  return new Secret(text.slice(0, from) + written + text.slice(to));
}

/** @param depth how many steps of the field lead to what is no object */
function notAnObject(field: readonly string[], depth: number): ProviderError {
  return new ProviderError(
    "missing",
    `"${field.slice(0, depth).join(".")}" is not an object, so it has no field "${field[depth]}"`,
  );
}

function parseDocument(document: Secret): Record<string, unknown> | ProviderError {
  let parsed: unknown;
  try {
    parsed = JSON.parse(document.reveal());
  } catch {
    // The parser's own message quotes the text, which is the secret.
    return new ProviderError("invalid", "the value is not JSON, so it has no fields", {
      hint: "the ref without its #key",
    });
  }
  if (!isRecord(parsed)) {
    return new ProviderError("invalid", "the value is JSON but not an object, so it has no fields", {
      hint: "the ref without its #key",
    });
  }
  return parsed;
}

function asSecret(value: unknown, name: string): Secret | ProviderError {
  if (typeof value === "string") return new Secret(value);
  if (typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value)) {
    return new ProviderError("invalid", `field "${name}" is a number too large to be read exactly`, {
      hint: "storing it as a JSON string",
    });
  }
  if (typeof value === "number" || typeof value === "boolean") return new Secret(String(value));
  if (value === null || value === undefined) return new ProviderError("missing", `field "${name}" is null`);
  return new Secret(JSON.stringify(value));
}

/** @param names the fields that are there instead; the first twenty are shown */
export function missingField(names: readonly string[], name: string): ProviderError {
  const shown = names.slice(0, MOST_NAMES_SHOWN).map((key) => JSON.stringify(key));
  const rest = names.length - shown.length;
  const list =
    names.length === 0 ? "it has none" : `it has ${shown.join(", ")}${rest > 0 ? ` and ${rest} more` : ""}`;
  return new ProviderError("missing", `there is no field "${name}" (${list})`, {
    hint: "one of those field names",
  });
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
