/** Ids and progress tokens as raw JSON text, and when two of them mean the same. */

/** One text for all ways to write the same id; a string keeps its quotes. */
export function keyOf(id: string): string {
  if (isPlainNumber(id)) return id;
  if (!id.startsWith('"')) return String(Number(id));
  return id.includes("\\") ? JSON.stringify(JSON.parse(id)) : id;
}

/** True for what `String(Number(id))` would give back as it is: digits only, as nearly every client counts. */
function isPlainNumber(id: string): boolean {
  if (id.length === 0 || id.length > 15 || (id.charCodeAt(0) === 0x30 && id.length > 1)) return false;
  for (let at = 0; at < id.length; at++) {
    const code = id.charCodeAt(at);
    if (code < 0x30 || code > 0x39) return false;
  }
  return true;
}

/** `5` and `"5"` are the same id to the TypeScript SDK, and some servers answer one with the other. */
export function twinOf(key: string): string {
  return key.startsWith('"') ? key.slice(1, -1) : `"${key}"`;
}

/** The key in `table` that means this id: as it is written, or as the other of `5` and `"5"`. */
export function keyIn(table: { has(key: string): boolean }, id: string): string | undefined {
  const key = keyOf(id);
  if (table.has(key)) return key;
  const twin = twinOf(key);
  return table.has(twin) ? twin : undefined;
}

/** True for raw JSON that may be an id: a string or a number. */
export function isId(raw: string): boolean {
  return raw.startsWith('"') || /^-?\d/.test(raw);
}
