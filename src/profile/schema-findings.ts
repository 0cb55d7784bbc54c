/** Turns what zod reports into findings that a person can act on. Values are never quoted. */
import type * as z from "zod/mini";
import { nearest } from "../nearest.ts";
import type { DocumentPath, Finding } from "./findings.ts";
import { keysAt } from "./schema-keys.ts";
import { formatMessage, isQuantity, nameOf, quantityMessage, sentence, wanted } from "./wording.ts";

type Issue = z.core.$ZodIssue;

export interface IssueContext {
  /** The value that was checked. */
  readonly value: unknown;
  /** The schema that it was checked against; for the keys that would be right. */
  readonly schema: z.ZodMiniType;
  /** Where that value stands in the document. */
  readonly base: DocumentPath;
  /** Keys that may stand at the top of the value, where they are not those of the schema. */
  readonly topKeys?: readonly string[];
  /** Maps a path inside the value to the document, where that is not simply below `base`. */
  readonly placeOf?: (path: DocumentPath) => DocumentPath;
}

export function findingsOfIssues(issues: readonly Issue[], context: IssueContext): readonly Finding[] {
  return issues.flatMap((issue) => findingsOf(issue, issue.path.filter(isStep), context));
}

function findingsOf(issue: Issue, path: DocumentPath, context: IssueContext): readonly Finding[] {
  const place = context.placeOf?.(path) ?? [...context.base, ...path];
  const name = nameOf(place);
  const received = valueAt(context.value, path);
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) =>
        unknownKey(
          key,
          [...place, key],
          path.length === 0 && context.topKeys ? context.topKeys : keysAt(context.schema, path),
        ),
      );
    case "invalid_type":
      if (issue.expected === "never") return [notYetSupported(name, { path: place, part: "key" })];
      if (received === undefined) return [{ place: { path: place }, message: `${name} is missing` }];
      if (isQuantity(place)) return [{ place: { path: place }, ...quantityMessage(name, place) }];
      return [
        {
          place: { path: place },
          message: `${name} must be ${wanted([issue.expected], received)}`,
          ...(received === null && { hint: "a value, or leaving the key out" }),
        },
      ];
    case "invalid_union":
      return ofUnion(issue, path, context);
    case "invalid_key":
      return [
        {
          place: { path: place, part: "key" },
          message: `${name} is not a valid name: only letters, digits and underscores, no digit first`,
        },
      ];
    case "invalid_value": {
      if (received === undefined) {
        const [only] = issue.values;
        return [
          {
            place: { path: place },
            message: `${name} is missing`,
            hint: `\`${String(place.at(-1))}: ${String(only)}\``,
          },
        ];
      }
      const choices = issue.values.map((value) => `\`${String(value)}\``).join(", ");
      const near = typeof received === "string" ? nearest(received, issue.values.map(String)) : undefined;
      return [
        {
          place: { path: place },
          message: `${name} must be ${issue.values.length > 1 ? "one of " : ""}${choices}`,
          ...(near && { hint: `\`${near}\`` }),
        },
      ];
    }
    case "invalid_format":
      return [{ place: { path: place }, ...formatMessage(name, issue.message, place) }];
    case "too_small":
      return [
        {
          place: { path: place },
          message: issue.minimum === 1 ? `${name} must not be empty` : sentence(name, issue.message),
        },
      ];
    default:
      return [{ place: { path: place }, message: sentence(name, issue.message) }];
  }
}

/** Of the branches of a union only that is reported which fits the kind of value that was given. */
function ofUnion(
  issue: Extract<Issue, { code: "invalid_union" }>,
  path: DocumentPath,
  context: IssueContext,
): readonly Finding[] {
  const place = context.placeOf?.(path) ?? [...context.base, ...path];
  const isWrongKind = (branch: readonly Issue[]) =>
    branch.some(
      ({ code, path: at }) => at.length === 0 && (code === "invalid_type" || code === "invalid_value"),
    );
  const fitting = issue.errors.find((branch) => !isWrongKind(branch));
  if (fitting) {
    return fitting.flatMap((inner) => findingsOf(inner, [...path, ...inner.path.filter(isStep)], context));
  }
  const name = nameOf(place);
  const received = valueAt(context.value, path);
  const words = issue.errors
    .flat()
    .flatMap((inner) =>
      inner.code === "invalid_value" ? inner.values.map((word) => `\`${String(word)}\``) : [],
    );
  const kinds = issue.errors
    .flat()
    .flatMap((inner) => (inner.code === "invalid_type" ? [inner.expected] : []));
  if ("options" in issue && Array.isArray(issue.options))
    words.push(...issue.options.map((word) => `\`${String(word)}\``));
  const message =
    received === undefined
      ? `${name} is missing`
      : `${name} must be ${[...words, ...(kinds.length > 0 ? [wanted(kinds, received)] : [])].join(" or ")}`;
  return [{ place: { path: place }, message }];
}

export function unknownKey(key: string, path: DocumentPath, known: readonly string[]): Finding {
  const near = nearest(key, known);
  return {
    place: { path, part: "key" },
    message: `unknown key \`${key}\`${near ? `, did you mean \`${near}\`?` : ""}`,
    ...(!near && known.length > 0 && { hint: `one of ${known.map((name) => `\`${name}\``).join(", ")}` }),
  };
}

export function notYetSupported(what: string, place: Finding["place"]): Finding {
  return {
    place,
    message: `${what} is not yet supported by this version of mcp-run`,
    hint: "without it",
  };
}

function valueAt(value: unknown, path: DocumentPath): unknown {
  let here = value;
  for (const step of path) {
    if (typeof here !== "object" || here === null || !Object.hasOwn(here, step)) return undefined;
    here = (here as Record<string | number, unknown>)[step];
  }
  return here;
}

function isStep(step: PropertyKey): step is string | number {
  return typeof step !== "symbol";
}
