/** Of what a receiver says to a batch that it has taken, only how much of it was refused: no word of its own. */

/**
 * The number of records or figures; undefined if the answer is none of OTLP/HTTP. OTLP specification: partial success,
 * with 64-bit numbers as text or as numbers (protobuf's JSON mapping).
 */
export function refusedIn(answer: Uint8Array): number | undefined {
  if (answer.length === 0) return 0;
  const said = objectOf(parsed(answer));
  if (!said) return undefined;
  const { rejectedLogRecords, rejectedDataPoints } = objectOf(said.partialSuccess) ?? {};
  const count = Number(rejectedLogRecords ?? rejectedDataPoints ?? 0);
  return Number.isSafeInteger(count) && count > 0 ? count : 0;
}

function parsed(answer: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(answer).toString());
  } catch {
    // A page of a server that takes anything: its words would be in the error.
    return undefined;
  }
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
}
