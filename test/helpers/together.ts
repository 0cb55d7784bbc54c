/**
 * What these give, once all have ended: nothing goes on behind the back of a test that has failed. What failed is thrown
 * then, of several the one that is named first.
 */
export async function together<Works extends readonly Promise<unknown>[]>(
  ...works: Works
): Promise<{ -readonly [Index in keyof Works]: Awaited<Works[Index]> }> {
  const ended = await Promise.allSettled(works);
  for (const one of ended) if (one.status === "rejected") throw one.reason;
  return Promise.all(works) as Promise<{ -readonly [Index in keyof Works]: Awaited<Works[Index]> }>;
}
