/** Runs two or more things in turn (A B C A B C …), so that a machine that drifts drifts for all, and gives medians. */

/**
 * @param {Record<string, () => number | Promise<number>>} contestants each returns one measurement (any unit)
 * @param {number} rounds measured rounds, after one that is not counted
 * @returns {Promise<Record<string, number[]>>} the measurements by name, in the order of the rounds
 */
export async function inTurn(contestants, rounds) {
  const measured = Object.fromEntries(Object.keys(contestants).map((name) => [name, []]));
  for (let round = -1; round < rounds; round++) {
    for (const [name, run] of Object.entries(contestants)) {
      const value = await run();
      if (round >= 0) measured[name].push(value);
    }
  }
  return measured;
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.ceil((sorted.length - 1) / 2)]) / 2;
}

/** The median of the ratios a/b, round by round. */
export function medianRatio(a, b) {
  return median(a.map((value, round) => value / b[round]));
}

export function table(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => String(row[column]).length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => String(cell).padEnd(widths[column]))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
