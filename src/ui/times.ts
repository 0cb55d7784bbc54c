/** Points in time as a table shows them; programs get them whole, as ISO 8601. */

/** `2026-11-21 08:29:36Z`, of a time in ISO 8601 and UTC. */
export function timeText(iso: string): string {
  return iso.replace("T", " ").replace(/\.\d+Z$/, "Z");
}
