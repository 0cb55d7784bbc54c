/** Walks plain values, lists and mappings. */
import type { DocumentPath } from "./findings.ts";

/** The same structure with everything replaced that is neither a list nor a mapping. */
export function mapLeaves(
  value: unknown,
  path: DocumentPath,
  replace: (leaf: unknown, path: DocumentPath) => unknown,
): unknown {
  if (Array.isArray(value)) return value.map((item, index) => mapLeaves(item, [...path, index], replace));
  if (typeof value !== "object" || value === null) return replace(value, path);
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, mapLeaves(item, [...path, key], replace)]),
  );
}
