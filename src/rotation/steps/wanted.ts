/** What servers have to have after a rotation: of each part, and of what lies within one that is a whole document. */
import { nameWithin } from "../../secrets/identity.ts";
import type { Wanted } from "../contract.ts";
import type { Prints } from "../fingerprints.ts";
import type { PlannedPart } from "../journal/journal-line.ts";
import { namedAtOnce } from "../named-at-once.ts";
import type { Run } from "../run.ts";

type PrintsOf = (part: PlannedPart) => Prints | undefined;

/**
 * What servers have to have of each part, where there is a value that they can have, and what they may have now. After
 * all parts what lies within them, and has changed: only of that somebody may need what was there before.
 */
export function wantedOf(run: Run, newOf: PrintsOf, oldOf: PrintsOf): readonly Wanted[] {
  const parts = run.plan.targets.flatMap(({ place, parts }) =>
    parts.flatMap((part) => {
      const [news, olds] = [newOf(part), oldOf(part)];
      if (news?.fingerprint === undefined) return [];
      const name = { from: part.from, ...(place !== undefined && { place }) };
      return [{ name, fingerprint: news.fingerprint, news, olds }];
    }),
  );
  const wholes = parts.map(({ name, fingerprint, olds }): Wanted => {
    const isAnother = olds?.fingerprint !== undefined && olds.fingerprint !== fingerprint;
    return { ...name, fingerprint, ...(isAnother && { replaces: olds.fingerprint }) };
  });
  const within = parts.flatMap(({ name, fingerprint, news, olds }) =>
    (olds?.fields ?? []).flatMap((old): Wanted | readonly never[] => {
      const field = news.fields?.find(({ way }) => isSameWay(way, old.way));
      const named = nameWithin(name, old.way);
      if (!named || field?.fingerprint === old.fingerprint) return [];
      // No value will do for a field that is no longer there: whoever has it is named.
      return { ...named, fingerprint: field?.fingerprint ?? fingerprint };
    }),
  );
  const named = namedAtOnce(wholes, within);
  const left = wholes.length + within.length - named.length;
  if (left > 0) run.note(`who has one of ${left} further fields by a ref of its own is not looked for`);
  return named;
}

function isSameWay(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((step, index) => step === other[index]);
}
