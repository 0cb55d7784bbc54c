/** «Did you mean …?» */
import { distance } from "fastest-levenshtein";

const LONGEST_WORD = 64;

/** The candidate that is most like `word`, or undefined when none could be a slip of the same fingers. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  return nearestFew(word, candidates, 1)[0];
}

/** Up to `count` such candidates, the most alike first. */
export function nearestFew(word: string, candidates: Iterable<string>, count: number): readonly string[] {
  if (word.length > LONGEST_WORD) return [];
  const meant = word.toLowerCase();
  return [...new Set(candidates)]
    .map((candidate) => ({ candidate, slips: distance(meant, candidate.toLowerCase()) }))
    .filter(({ candidate, slips }) => slips <= slipsAllowed(meant, candidate.toLowerCase()))
    .sort((a, b) => a.slips - b.slips || a.candidate.localeCompare(b.candidate))
    .slice(0, count)
    .map(({ candidate }) => candidate);
}

function slipsAllowed(word: string, candidate: string): number {
  const isContinuation = word.length >= 3 && (candidate.startsWith(word) || word.startsWith(candidate));
  if (isContinuation && candidate.length >= 3) return Number.POSITIVE_INFINITY;
  const length = Math.min(word.length, candidate.length);
  // Two, because letters that changed places count as two.
  if (length > 3 || hasSameLetters(word, candidate)) return Math.max(2, Math.floor(length / 3));
  return 1;
}

function hasSameLetters(word: string, candidate: string): boolean {
  return [...word].sort().join("") === [...candidate].sort().join("");
}
