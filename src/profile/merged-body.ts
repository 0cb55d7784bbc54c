/**
 * A profile's own keys over `defaults`. Mappings (`env`, `secrets`, …) are merged key by key; anything else
 * that the profile says replaces the default, and so does a `probe`, which is one request. Every part still knows
 * where in the document it stands.
 */
import type { DocumentPath, Findings } from "./findings.ts";
import { isMapping, type ProfileFile, type RawBody } from "./profile-file.ts";
import { bodySchema, longSecretSchema, type ProfileBody } from "./schema.ts";
import { findingsOfIssues } from "./schema-findings.ts";
import { keysAt } from "./schema-keys.ts";

export interface MergedBody {
  readonly body: ProfileBody;
  /** Every name under `secrets`, also of entries that are wrong themselves. */
  readonly secretNames: ReadonlySet<string>;
  /** Where a part of the body stands: in the profile, or in `defaults`. */
  pathOf(key: keyof ProfileBody, ...rest: readonly (string | number)[]): DocumentPath;
}

type Part = Readonly<Record<string, unknown>>;

/** Checks the shape of both parts, and goes on with what is right of them. */
export function mergedBody(file: ProfileFile, raw: RawBody, findings: Findings): MergedBody {
  const own = checked(raw.value, raw.path, findings);
  const defaults =
    file.isOneProfile || file.root.defaults === undefined
      ? {}
      : checked(file.root.defaults, ["defaults"], findings);
  const merged: Record<string, unknown> = { ...defaults };
  for (const [key, value] of Object.entries(own)) {
    const base = merged[key];
    merged[key] = key !== "probe" && isMapping(base) && isMapping(value) ? { ...base, ...value } : value;
  }
  return {
    body: merged as ProfileBody,
    secretNames: new Set([...namesUnder(file.root.defaults), ...namesUnder(raw.value)]),
    pathOf(key, ...rest) {
      const [sub] = rest;
      const mine = own[key];
      const isMine =
        isMapping(mine) && sub !== undefined && isMapping(defaults[key])
          ? Object.hasOwn(mine, sub) || !Object.hasOwn(defaults[key], sub)
          : mine !== undefined || defaults[key] === undefined;
      return [...(isMine ? raw.path : ["defaults"]), key, ...rest];
    },
  };
}

function checked(value: unknown, base: DocumentPath, findings: Findings): Part {
  const result = bodySchema.safeParse(value, { jitless: true });
  if (result.success) return result.data;
  const { issues } = result.error;
  const ofFile = base.length === 0 ? ["version", "providers"] : [];
  const topKeys = [...ofFile, ...keysAt(bodySchema, [])];
  findings.errors.push(...findingsOfIssues(issues, { value, schema: bodySchema, base, topKeys }));
  return isMapping(value) ? withoutWrongParts(value, issues) : {};
}

/** Leaves out the entry of `env` or `secrets`, or else the whole key, that an issue is about. */
function withoutWrongParts(value: Part, issues: readonly { readonly path: readonly PropertyKey[] }[]): Part {
  const right: Record<string, unknown> = {};
  for (const key of Object.keys(bodySchema.shape)) {
    if (!Object.hasOwn(value, key)) continue;
    const part = value[key];
    const wrong = issues.filter(({ path }) => path[0] === key).map(({ path }) => path[1]);
    if (wrong.length === 0) right[key] = part;
    else if ((key === "env" || key === "secrets") && isMapping(part) && !wrong.includes(undefined)) {
      right[key] = Object.fromEntries(
        Object.entries(part).flatMap(([name, entry]) => {
          const usable = wrong.includes(name) ? rightOfSecret(entry) : entry;
          return usable === undefined ? [] : [[name, usable]];
        }),
      );
    }
  }
  return right;
}

/** What is right of a wrong entry of `secrets`; undefined if its source is not. */
function rightOfSecret(entry: unknown): Part | undefined {
  if (!isMapping(entry)) return undefined;
  const wrong = longSecretSchema.safeParse(entry).error?.issues.map(({ path }) => path[0]) ?? [];
  if (wrong.some((key) => key === "from" || key === "template" || key === "command")) return undefined;
  return Object.fromEntries(Object.entries(entry).filter(([key]) => !wrong.includes(key)));
}

function namesUnder(body: unknown): readonly string[] {
  return isMapping(body) && isMapping(body.secrets) ? Object.keys(body.secrets) : [];
}
