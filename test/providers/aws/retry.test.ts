import { describe, expect, it } from "vitest";
import { AwsError } from "../../../providers/aws/aws-error.ts";
import { withRetries } from "../../../providers/aws/retry.ts";
import { VirtualClock } from "../../helpers/virtual-clock.ts";
import { never, settled } from "../contract.ts";

const passing = (retryAfterMs?: number) =>
  new AwsError("unavailable", "busy", { isPassing: true, retryAfterMs });

/** Runs something that fails with these errors in turn, then succeeds; time is the test's. */
function start(errors: readonly Error[], { signal = never(), mayRepeat = (): boolean => true } = {}) {
  const clock = new VirtualClock();
  const startedAt = clock.now();
  const at: number[] = [];
  const outcome = settled(
    withRetries(clock, signal, mayRepeat, async () => {
      at.push(clock.now() - startedAt);
      const error = errors[at.length - 1];
      if (error) throw error;
      return "done";
    }),
  );
  return { clock, at, outcome };
}

describe("what fails in passing", () => {
  it("is tried again, later each time, and five times at most", async () => {
    const last = passing();
    const { clock, at, outcome } = start([passing(), passing(), passing(), passing(), last, passing()]);

    await clock.advance(60_000);

    expect(await outcome).toBe(last);
    expect(at).toHaveLength(5);
    const longest = [200, 400, 800, 1_600];
    for (const [index, limit] of longest.entries()) {
      expect(at[index + 1]! - at[index]!).toBeLessThanOrEqual(limit);
    }
  });

  it("is tried again when the service has said, not before", async () => {
    const { clock, at, outcome } = start([passing(7_000)]);

    await clock.advance(6_999);
    expect(at).toEqual([0]);
    await clock.advance(1);

    expect(await outcome).toBe("done");
    expect(at).toEqual([0, 7_000]);
  });

  it("is given up at once where the service asks for more than a start can wait", async () => {
    const error = passing(21_000);
    const { at, outcome } = start([error]);

    expect(await outcome).toBe(error);
    expect(at).toEqual([0]);
  });

  it("is given up when nobody waits any more, and leaves no timer behind", async () => {
    const abort = new AbortController();
    const reason = new Error("no longer wanted");
    const { clock, outcome } = start([passing(7_000)], { signal: abort.signal });
    await clock.advance(1_000);

    abort.abort(reason);

    expect(await outcome).toBe(reason);
    expect(clock.pending).toBe(0);
  });
});

describe("what fails for good", () => {
  it.each([
    ["a refusal", new AwsError("denied", "no")],
    ["a bug", new TypeError("bug")],
  ])("is not tried again: %s", async (_name, error) => {
    const { at, outcome } = start([error]);

    expect(await outcome).toBe(error);
    expect(at).toEqual([0]);
  });

  it("is what may not be repeated", async () => {
    const error = passing();
    const { at, outcome } = start([error], { mayRepeat: () => false });

    expect(await outcome).toBe(error);
    expect(at).toEqual([0]);
  });
});
