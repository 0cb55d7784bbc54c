import { distance } from "fastest-levenshtein";

/** The name that somebody who typed `name` may have meant, or undefined if none is near. */
export function nearestName(name: string, names: readonly string[]): string | undefined {
  const near = names
    .map((candidate) => ({ candidate, edits: distance(name.toLowerCase(), candidate.toLowerCase()) }))
    .filter(({ candidate, edits }) => edits <= Math.max(1, Math.min(name.length, candidate.length) / 3))
    .sort((a, b) => a.edits - b.edits);
  return near[0]?.candidate;
}
