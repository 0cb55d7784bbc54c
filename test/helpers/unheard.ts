/**
 * A setup file of vitest. What was rejected or thrown where nobody listened fails the test that it happened in, and is
 * named there, instead of the whole run: vitest leaves it to us while we listen, and is itself told of all the rest.
 */
import { setImmediate } from "node:timers/promises";
import { aroundEach } from "vitest";

const EVENTS = ["unhandledRejection", "uncaughtException"] as const;

aroundEach(async (runTest) => {
  const unheard: unknown[] = [];
  const listen = (reason: unknown) => void unheard.push(reason);
  for (const event of EVENTS) process.on(event, listen);
  try {
    await runTest();
    await setImmediate(); // Node tells of a rejection only after the tick that it happened in.
  } finally {
    for (const event of EVENTS) process.off(event, listen);
  }
  if (unheard.length > 0) throw new AggregateError(unheard, "rejected or thrown where nobody listened");
});
