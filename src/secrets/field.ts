/** Picks a field out of a secret that is a JSON document (`#key` of a ref). Messages name keys, never values. */
import { ProviderError } from "../errors.ts";
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
    if (!isRecord(value)) {
      return new ProviderError(
        "missing",
        `"${field.slice(0, depth).join(".")}" is not an object, so it has no field "${step}"`,
      );
    }
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
