/** What a test has started, ended after it: each, also where the end of another one fails. */

export type Closing = () => unknown;

/** Ends all, the latest first, and forgets them; then throws what has gone wrong first. */
export async function closeAll(closings: Closing[]): Promise<void> {
  const failures: unknown[] = [];
  for (const close of closings.splice(0).reverse()) {
    try {
      await close();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}
