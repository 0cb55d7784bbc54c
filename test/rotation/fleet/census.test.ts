/** Who is kept of those who are heard. */
import { expect, it } from "vitest";
import type { HeardReport } from "../../../src/control/bus/operator.ts";
import { Census } from "../../../src/rotation/fleet/census.ts";
import { HeardMember } from "../../../src/rotation/fleet/heard-member.ts";
import { VirtualClock } from "../../helpers/virtual-clock.ts";

function reportOf(host: string, number: number): HeardReport {
  return {
    ...{ v: 1, host, pid: number, instance: `${number}-x`, profile: "p", state: "serving" },
    ...{ generation: 1, era: "legacy", mode: "overlap", heardAt: 0, secrets: [] },
  };
}

it("keeps some thousands of one host, and everybody of the others: more is not listened to", async () => {
  const liar = Array.from({ length: 5_000 }, (_, number) => reportOf("liar", number));
  const others = [reportOf("web-1", 1), reportOf("web-2", 1)];
  const bus = {
    onReport: () => () => undefined,
    history: async () => [...liar, ...others],
    call: async () => [],
  };
  const window = { forMs: 1, quietMs: 1 };

  const census = await Census.take(
    { bus, clock: new VirtualClock(), inventory: [], window },
    undefined,
    new AbortController().signal,
  );

  const known = [...liar, ...others].filter((report) => census.knows(HeardMember.idOf(report)));
  expect(known.filter(({ host }) => host === "liar")).toHaveLength(4_096);
  expect(known.filter(({ host }) => host !== "liar")).toEqual(others);
});
