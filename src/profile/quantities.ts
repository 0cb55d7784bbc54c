/** Durations and sizes as a profile writes them: a number with its unit. */

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const UNIT_BYTES = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 } as const;

export const DURATION = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)$/;
export const SIZE = /^(\d{1,12})(B|KiB|MiB|GiB)$/;

/** `1500ms`, `1.5s`, `15m`, `90d` in ms; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  const [, amount, unit] = DURATION.exec(text) ?? [];
  if (amount === undefined) return undefined;
  return Math.round(Number(amount) * UNIT_MS[unit as keyof typeof UNIT_MS]);
}

/** `64MiB`, `512KiB` in bytes; undefined for anything else. */
export function parseSize(text: string): number | undefined {
  const [, amount, unit] = SIZE.exec(text) ?? [];
  if (amount === undefined) return undefined;
  return Number(amount) * UNIT_BYTES[unit as keyof typeof UNIT_BYTES];
}
