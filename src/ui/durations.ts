/** Times as a person reads them at a glance: the largest unit, and the next where it still matters. */

const UNITS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1_000],
] as const;

/** `12d`, `2h 5m`, `40s`; `0s` for less than a second, and for what is negative because a clock went back. */
export function shortDuration(ms: number): string {
  const index = UNITS.findIndex(([, length]) => ms >= length);
  const unit = UNITS[index];
  if (!unit) return "0s";
  const whole = Math.floor(ms / unit[1]);
  const next = UNITS[index + 1];
  if (whole >= 10 || !next) return `${whole}${unit[0]}`;
  const rest = Math.floor((ms % unit[1]) / next[1]);
  return rest === 0 ? `${whole}${unit[0]}` : `${whole}${unit[0]} ${rest}${next[0]}`;
}
