/**
 * `work`, listened to from its start: a test that awaits something else first still has what it is rejected with, and a
 * rejection that comes earlier is not one that nobody heard.
 */
export function heard<Work extends Promise<unknown>>(work: Work): Work {
  work.catch(() => undefined);
  return work;
}
