/** How much one message to a supervisor can name: control/protocol.ts has bounds for the number, and for its length. */
import { LONGEST_LINE } from "../control/protocol.ts";
import type { SecretName } from "../secrets/identity.ts";

const MOST_NAMED = 250;
/** Bytes of a message that is about nothing: its type, the id of the rotation, the key. */
const AROUND_NAMES = 1_024;
/** Bytes of a fingerprint in a list: whoever has that value may be asked after, too. */
const FINGERPRINT = 67;

/** All parts, and of what lies within them so much as there is room for. */
export function namedAtOnce<Name extends SecretName>(
  parts: readonly Name[],
  within: readonly Name[],
): readonly Name[] {
  const all = [...parts, ...within];
  return all.slice(0, Math.max(parts.length, roomAmong(all)));
}

export function canBeNamedAtOnce(all: readonly SecretName[]): boolean {
  return roomAmong(all) === all.length;
}

/** How many of them fit, from the first on. */
function roomAmong(all: readonly SecretName[]): number {
  let bytes = AROUND_NAMES;
  const tooMany = all.slice(0, MOST_NAMED).findIndex(({ from, place = null }) => {
    bytes += Buffer.byteLength(JSON.stringify([from, place])) + FINGERPRINT;
    return bytes > LONGEST_LINE;
  });
  return tooMany === -1 ? Math.min(all.length, MOST_NAMED) : tooMany;
}
