import { describe, expect, it } from "vitest";
import { type FleetSupervisor, fleetText } from "../../src/ui/fleet-table.ts";

const NOW = Date.parse("2026-11-21T12:00:00Z");
const REF = "vault:mcp/github#token";

function one(host: string, pid: number, facts: Partial<FleetSupervisor> = {}): FleetSupervisor {
  const secrets = [{ ref: REF, state: "idle" }];
  return {
    host,
    pid,
    instance: `${pid}-a`,
    profile: "github",
    generation: 1,
    mode: "overlap",
    secrets,
    ...facts,
  };
}

describe("the fleet in the status", () => {
  it("is a line for each host, and one for each that is not as it should be", () => {
    const failed = [{ ref: REF, state: "failed", reason: "permission denied (403)" }];
    const supervisors = [
      one("web-2", 3, { secrets: failed }),
      one("web-1", 1),
      one("web-1", 2, { profile: "app", secrets: [] }),
      one("web-1", 4),
    ];
    const silent = [
      { host: "db-1", pid: 9, profile: "db", lastHeardAt: "2026-11-21T10:00:00Z" },
      { host: "db-9" },
    ];

    expect(fleetText({ state: "seen", supervisors, silent }, NOW)).toBe(
      `The fleet: 4 servers on 2 hosts, and 2 silent
HOST   SERVERS  PROFILES        SECRETS
web-1  3        github ×2, app  2
web-2  1        github          1: 1 failed
github on web-2 (pid 3): ${REF} failed, permission denied (403)
unknown: db on db-1 (pid 9), last heard 2h ago
unknown: db-9, never heard
`,
    );
  });

  it("names who has requests wait for the end of a rotation", () => {
    const supervisors = [one("web-1", 1, { holdsFor: "r1" })];

    expect(fleetText({ state: "seen", supervisors, silent: [] }, NOW)).toContain(
      "\ngithub on web-1 (pid 1): new requests wait for the end of rotation r1\n",
    );
  });

  it("of ten thousand is as long as a person can read, with those first that have trouble", () => {
    const failed = [{ ref: REF, state: "failed", reason: "no" }];
    const supervisors = Array.from({ length: 10_000 }, (_, index) =>
      one(`web-${index}`, index, index === 9_999 ? { secrets: failed } : {}),
    );
    const silent = Array.from({ length: 100 }, (_, index) => ({ host: `db-${index}` }));

    const text = fleetText({ state: "seen", supervisors, silent }, NOW);

    expect(text.split("\n").length).toBeLessThan(100);
    expect(text).toContain("The fleet: 10000 servers on 10000 hosts, and 100 silent\n");
    expect(text).toMatch(/^web-9999 .*1: 1 failed$/m);
    expect(text).toContain("and 9950 more hosts\n");
    expect(text).toContain("and 80 more silent ones\n");
  });

  it("says that it can't be seen, why, and what mends it", () => {
    const refused = {
      state: "unseen",
      reason: "it does not let the operator in",
      hint: "`--local`",
    } as const;
    expect(fleetText(refused, NOW)).toBe(
      "The fleet can't be seen: it does not let the operator in. Try `--local`.\n",
    );
    expect(fleetText({ state: "unseen", reason: "127.0.0.1:4222: ECONNREFUSED" }, NOW)).toBe(
      "The fleet can't be seen: 127.0.0.1:4222: ECONNREFUSED\n",
    );
  });

  it("of nobody is one line, and control characters of others are shown escaped", () => {
    expect(fleetText({ state: "seen", supervisors: [], silent: [] }, NOW)).toBe(
      "The fleet: 0 servers on 0 hosts, nobody is silent\n",
    );
    expect(fleetText({ state: "seen", supervisors: [one("a\u001b[31m", 1)], silent: [] }, NOW)).not.toContain(
      "\u001b",
    );
  });
});
