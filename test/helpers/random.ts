/** Chance that a test can have again: what a seed gave once it gives always. */
export type Random = () => number;

/** In [0, 1), the same for the same seed: Mulberry32. */
export function randomFrom(seed: number): Random {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A whole number from 0 up to `most`, without it. */
export const below = (random: Random, most: number) => Math.floor(random() * most);
