/** Makes what a program of somebody else said fit to stand in an error of ours. */
import { masked, maskedRanges } from "../profile/mask.ts";
import { NeedleSet } from "../scrub/needle-set.ts";
import { scrubText } from "../scrub/scrub-stream.ts";
import { Secret } from "../secrets/secret.ts";

/**
 * The text without `values`, also where one of them is a JSON document and the text holds only a field of it,
 * and without what looks like a credential: a program may have told only its stderr what it knows.
 */
export function quotable(text: string, values: readonly Secret[]): string {
  const needles = new NeedleSet();
  for (const value of values) {
    const whole = value.reveal();
    for (const part of [whole, ...whole.split(/\r?\n/), ...textsIn(whole)])
      needles.keep("hidden", new Secret(part));
  }
  return scrubText(text, needles)
    .split("\n")
    .map((line) => masked(line, maskedRanges(line)))
    .join("\n");
}

/** The texts in a JSON document, however deep; none in anything else. */
function textsIn(document: string): readonly string[] {
  const found: string[] = [];
  try {
    JSON.parse(document, (_key, value) => {
      if (typeof value === "string") found.push(value);
    });
  } catch {
    // Not JSON: the value is all there is to hide.
  }
  return found;
}
