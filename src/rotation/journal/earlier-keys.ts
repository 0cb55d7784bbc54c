/** What earlier rotations on this machine know of a key: the name that its issuer gave it when it was minted. */
import { McpRunError } from "../../errors.ts";
import { readJournal, rotationsIn } from "./journal.ts";

/** Journals that are looked through, newest first. */
const MOST_JOURNALS = 200;

/**
 * The key that was minted for this ref and has this value; undefined if no journal knows.
 *
 * @param fingerprint of the value under the key of a journal
 */
export async function earlierKeyId(
  folder: string,
  from: string,
  fingerprint: (key: string) => string,
): Promise<string | undefined> {
  const rotations = (await rotationsIn(folder)).toReversed().slice(0, MOST_JOURNALS);
  for (const rotation of rotations) {
    const lines = await linesOf(folder, rotation);
    const plan = lines[0]?.kind === "plan" ? lines[0] : undefined;
    const name = plan?.targets.flatMap(({ parts }) => parts).find((part) => part.from === from)?.name;
    if (!plan || name === undefined) continue;
    const expected = fingerprint(plan.key);
    for (const line of lines) {
      if (line.kind !== "fact" || line.step !== "mint") continue;
      const part = line.facts.parts?.find((other) => other.name === name && other.fingerprint === expected);
      if (part?.keyId !== undefined) return part.keyId;
    }
  }
  return undefined;
}

async function linesOf(folder: string, rotation: string) {
  try {
    return (await readJournal(folder, rotation)).lines;
  } catch (error) {
    // Damaged, gone, or somebody else's: then it knows nothing.
    if (error instanceof McpRunError) return [];
    throw error;
  }
}
