/** The servers of a rotation, few or ten thousand, in as many lines as a person can read. */
import { hostname } from "node:os";
import { describe, expect, it } from "vitest";
import { membersText, notDoneText, tally } from "../../../src/commands/rotate/members.ts";
import type { Acknowledgement } from "../../../src/rotation/contract.ts";

function member(facts: Partial<Acknowledgement> = {}): Acknowledgement {
  return {
    host: hostname(),
    pid: 1,
    profile: "app",
    generation: 1,
    canSwap: true,
    state: "pending",
    ...facts,
  };
}

function many(count: number, facts: (index: number) => Partial<Acknowledgement>): readonly Acknowledgement[] {
  return Array.from({ length: count }, (_, index) => member({ pid: index + 1, ...facts(index) }));
}

describe("the servers of a plan", () => {
  it("are named if they are few, with whoever can't swap", () => {
    const all = [member(), member({ pid: 2, profile: "batch", canSwap: false })];
    expect(membersText(all)).toEqual([
      "  2 servers on this machine run with it: app (pid 1), batch (pid 2)",
      "  batch (pid 2) can't change its server while it runs",
    ]);
    expect(membersText([])).toEqual(["  Nobody on this machine runs with it now."]);
  });

  it("are counted by profile if they are many", () => {
    const all = many(50, (index) => ({ profile: index < 48 ? "app" : "web" }));
    expect(membersText(all)).toEqual([
      "  50 servers on this machine run with it:",
      "    app: 48 (pid 1, 2, 3, 4, …)",
      "    web: 2 (pid 49, 50)",
    ]);
  });

  it("are counted by profile and host, and by profile alone where that is too much", () => {
    const few = many(6, (index) => ({ host: `host${index % 2}` }));
    expect(membersText(few)).toEqual([
      "  6 servers on 2 hosts run with it:",
      "    app on host0: 3 (pid 1, 3, 5)",
      "    app on host1: 3 (pid 2, 4, 6)",
    ]);
    const fleet = many(10_000, (index) => ({ host: `host${index % 2_000}`, canSwap: index >= 7 }));
    expect(membersText(fleet)).toEqual([
      "  10,000 servers on 2,000 hosts run with it:",
      "    app on 2,000 hosts: 10,000",
      ...fleet
        .slice(0, 5)
        .map(({ host, pid }) => `  app on ${host} (pid ${pid}) can't change its server while it runs`),
      "    and 2 more like that",
    ]);
    const profiles = many(100, (index) => ({ profile: `p${index}` }));
    expect(membersText(profiles)).toHaveLength(14);
    expect(membersText(profiles).at(-1)).toBe("    and 88 more profiles");
  });
});

describe("those who do not have the new value", () => {
  it("are counted by state", () => {
    const all = [member({ state: "acknowledged" }), member(), member({ state: "failed" }), member()];
    expect(tally(all)).toBe("1 acknowledged, 2 pending, 1 failed");
    expect(tally(all.map((one, index) => ({ ...one, host: `host${index % 3}` })))).toBe(
      "1 acknowledged, 2 pending, 1 failed, on 3 hosts",
    );
    expect(tally([])).toBe("nobody to wait for");
  });

  it("are named, the worst first, and alike ones of a host together", () => {
    const all = [
      ...many(3, () => ({ host: "host1", reason: "it has not looked yet" })),
      member({ state: "acknowledged", host: "host1" }),
      member({ state: "unknown", host: "host3" }),
      member({ state: "failed", host: "host2", pid: 9, reason: "its probe failed" }),
      member({ state: "cannot-swap", host: "host2", pid: 10, reason: "it runs under exec" }),
    ];
    expect(notDoneText(all, 10)).toEqual([
      "    app on host2 (pid 9): failed, its probe failed",
      "    app on host2 (pid 10): cannot-swap, it runs under exec",
      "    app on host1 (3 servers): pending, it has not looked yet",
      "    app on host3 (pid 1): unknown",
    ]);
    expect(notDoneText(all, 2)).toEqual([
      "    app on host2 (pid 9): failed, its probe failed",
      "    app on host2 (pid 10): cannot-swap, it runs under exec",
      "    and 4 more, on 2 hosts",
    ]);
  });
});
