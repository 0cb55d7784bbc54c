import { describe, expect, it } from "vitest";
import type { Acknowledgement } from "../../../src/rotation/contract.ts";
import type { Incident, IncidentSecret } from "../../../src/rotation/incident/incident.ts";
import { codeBlock, plain } from "../../../src/rotation/incident/markdown.ts";
import { incidentReport } from "../../../src/rotation/incident/report.ts";

const SECRET: IncidentSecret = {
  name: "TOKEN",
  ref: "vault:mcp/github#token",
  storedAt: { type: "vault", path: "mcp/github" },
  place: "https://vault.example.com/v1/mcp/data/github",
  issuer: "hook",
  before: { version: "7", fingerprint: "a".repeat(64), keyId: "key-1" },
  after: { version: "8", fingerprint: "b".repeat(64), keyId: "key-2" },
  revoked: "revoked",
  verified: "refused",
  isRetired: true,
};

const MEMBER: Acknowledgement = {
  host: "build-7",
  pid: 11,
  profile: "github",
  generation: 2,
  canSwap: true,
  state: "acknowledged",
};

const INCIDENT: Incident = {
  rotation: "20261121-090000-abc123",
  profile: "github",
  reason: "leaked in build log",
  operator: "ann@laptop",
  version: "1.2.3",
  startedAt: "2026-11-21T09:00:00.000Z",
  endedAt: "2026-11-21T09:00:12.500Z",
  outcome: "done",
  secrets: [SECRET],
  timeline: [
    { at: "2026-11-21T09:00:00.100Z", what: "lock vault:mcp/github" },
    { at: "2026-11-21T09:00:03.000Z", what: "promote vault:mcp/github", result: "version 8" },
  ],
  canary: { works: true, wasProbed: true },
  acknowledgements: [MEMBER],
  isTold: true,
  strays: [],
  notes: [],
  next: [],
};

/** What stands below the heading, up to the next one of its height. */
function section(report: string, heading: string): string {
  const found = report.split(/^## /m).find((part) => part.startsWith(`${heading}\n`));
  if (found === undefined) throw new Error(`there is no section ${heading}`);
  return found.slice(heading.length).trim();
}

function reportOn(facts: Partial<Incident>): string {
  return incidentReport({ ...INCIDENT, ...facts });
}

describe("an incident report", () => {
  it("says what leaked, why it was replaced, by whom, where, and when", () => {
    const report = incidentReport(INCIDENT);

    const [head = ""] = report.split(/^## /m);
    expect(head).toMatch(/^# Incident: keys of github replaced\n/);
    for (const row of [
      "| Rotation | 20261121-090000-abc123 |",
      "| Run by | ann\\@laptop |",
      "| With | mcp-run 1.2.3 |",
      "| Began | 2026-11-21T09:00:00.000Z |",
      "| Ended | 2026-11-21T09:00:12.500Z (12.5 s) |",
      "| Outcome | done |",
    ])
      expect(head.split("\n")).toContain(row);
    expect(head).not.toContain("STILL VALID");
    const leaked = section(report, "What leaked");
    expect(leaked).toContain("Reason given: leaked in build log\n");
    expect(leaked).toContain(
      "| TOKEN | vault:mcp/github\\#token | https\\://vault.example.com/v1/mcp/data/github | hook | key-1 | revoked | refused | yes |",
    );
  });

  it("has the versions before and after, with fingerprints to compare", () => {
    expect(section(incidentReport(INCIDENT), "Versions")).toContain(
      `| TOKEN | 7 | 8 | ${"a".repeat(16)} | ${"b".repeat(16)} | key-2 |`,
    );
    const isNew = { ...SECRET, before: {}, revoked: "not-needed", isRetired: false } as const;
    const report = reportOn({ secrets: [isNew] });
    expect(section(report, "Versions")).toContain(`| TOKEN | – | 8 | – | ${"b".repeat(16)} | key-2 |`);
    expect(section(report, "What leaked")).toContain("| – | there was no old key | – | no |");
    expect(report).not.toContain("STILL VALID");
  });

  it("has each step with its time, and the time since the beginning", () => {
    expect(section(incidentReport(INCIDENT), "Timeline").split("\n").slice(2)).toEqual([
      "| 2026-11-21T09:00:00.100Z | 0.1 s | lock vault:mcp/github |  |",
      "| 2026-11-21T09:00:03.000Z | 3.0 s | promote vault:mcp/github | version 8 |",
    ]);
  });

  it("has every supervisor, and says of each that is not well what to do", () => {
    const states = ["acknowledged", "pending", "failed", "cannot-swap", "gone", "unknown"] as const;
    const acknowledgements = states.map((state, index) => ({
      ...MEMBER,
      pid: 11 + index,
      state,
      ...(state === "failed" && { reason: "its probe check failed" }),
    }));

    const report = reportOn({ outcome: "incomplete", acknowledgements });

    const supervisors = section(report, "Supervisors");
    expect(supervisors).toContain(
      "6 in all: 1 acknowledged, 1 pending, 1 failed, 1 cannot-swap, 1 gone, 1 unknown.",
    );
    for (let pid = 11; pid < 17; pid++)
      expect(supervisors).toMatch(new RegExp(`^\\| build-7 \\| ${pid} \\|`, "m"));
    expect(supervisors).toContain("| **failed** | its probe check failed |");
    expect(section(report, "What is unknown")).toContain(
      "- What github on build-7, pid 16 has: it did not answer.",
    );
    const todo = section(report, "What is left to do");
    for (const pid of [12, 13, 16])
      expect(todo).toContain(`- [ ] See to github on build-7, pid ${pid}: it may serve with the old key.`);
    expect(todo).toContain("- [ ] Restart github on build-7, pid 14: it serves with the old key.");
    expect(todo).not.toContain("pid 11");
    expect(todo).not.toContain("pid 15");
  });

  it("says in the first lines that an old key is valid still, and that it has to be revoked", () => {
    for (const facts of [
      { revoked: "unknown" },
      { revoked: "failed" },
      { revoked: "not-yet", verified: "not-yet" },
      { verified: "accepted" },
    ] as const) {
      const report = reportOn({ secrets: [{ ...SECRET, ...facts }], outcome: "incomplete" });
      expect(report.split("\n").slice(0, 3)).toContain("> **OLD KEY STILL VALID**: TOKEN");
      expect(section(report, "What is left to do")).toContain(
        "- [ ] Revoke the old TOKEN (key-1) where it was",
      );
    }
  });

  it("does not ask to revoke the key that serves after a way back", () => {
    const secrets = [{ ...SECRET, revoked: "not-yet", verified: "not-yet" } as const];
    for (const outcome of ["discarded", "rolled-back"] as const) {
      const isTold = outcome === "rolled-back";
      const report = reportOn({ outcome, secrets, acknowledgements: [], isTold });
      expect(report).not.toContain("STILL VALID");
      expect(section(report, "What is left to do")).toMatch(/^- \[ \] Replace the leaked key: /);
      expect(section(report, "Supervisors")).toBe(
        isTold ? "None that used these secrets was running." : "None was told of a new value.",
      );
    }
  });

  it("is plain about what nobody has proven", () => {
    const unknown = (facts: Partial<Incident>) => section(reportOn(facts), "What is unknown");
    expect(unknown({})).toMatch(/^- Since when others have had the old key/);
    expect(unknown({})).not.toContain("Whether the new keys work");
    expect(unknown({ canary: { works: true, wasProbed: false } })).toContain(
      "without a probe they were not exercised",
    );
    expect(reportOn({ canary: undefined } as unknown as Partial<Incident>)).toContain("no server was tried");
    expect(unknown({ canary: { works: false, wasProbed: true, reason: "it failed" } })).toContain(
      "- Whether the new keys work: it failed.",
    );
    expect(unknown({ canary: { works: true, wasProbed: false, skipped: "it can't run twice" } })).toContain(
      "- Whether the new keys work: no server was tried with them before, since it can't run twice.",
    );
    expect(unknown({ secrets: [{ ...SECRET, verified: "unknown" }] })).toContain(
      "Whether the old TOKEN is refused",
    );
    expect(unknown({ notes: ["key-9 may be valid"] })).toContain("- Key-9 may be valid.");
  });

  it("has the commands that can be typed, and the question for each platform's log", () => {
    const aws = { type: "aws-secrets-manager", path: "prod/it's" };
    const azure = { type: "azure-key-vault", path: "github-token" };
    const secrets = [SECRET, SECRET, { ...SECRET, storedAt: aws }, { ...SECRET, storedAt: azure }];
    const todo = section(
      reportOn({ secrets, outcome: "incomplete", next: ["mcp-run rotate github --resume 2026"] }),
      "What is left to do",
    );

    expect(todo).toContain("```sh\nmcp-run rotate github --resume 2026\n```");
    expect(
      todo.match(/^jq -c --arg since 2026-08-23T09:00:00.000Z --arg path \/mcp\/data\/github /gm),
    ).toHaveLength(1);
    expect(todo).toContain("--arg id 'prod/it'\\''s'");
    expect(todo).toContain('requestUri_s contains "/secrets/github-token"');
    const local = { ...SECRET, storedAt: { type: "local", path: "x" } };
    expect(reportOn({ secrets: [local] })).not.toContain("Who has read it");
  });

  it("is made of what others say, whatever they say", () => {
    const hostile =
      "x | y\n\n# Done\n<img src=//e.example> [l](https://e.example) `c` **b** \\| @all www.e.example \u001b[2J";
    const keys = { version: hostile, fingerprint: hostile, keyId: hostile };
    const report = reportOn({
      rotation: hostile,
      profile: hostile,
      reason: hostile,
      operator: hostile,
      version: hostile,
      startedAt: hostile,
      endedAt: hostile,
      outcomeReason: hostile,
      secrets: [
        {
          ...SECRET,
          name: hostile,
          ref: hostile,
          issuer: hostile,
          before: keys,
          after: keys,
          revoked: "failed",
          storedAt: { type: "vault", path: hostile },
        },
      ],
      timeline: [{ at: hostile, what: hostile, result: hostile }],
      acknowledgements: [{ ...MEMBER, host: hostile, profile: hostile, state: "failed", reason: hostile }],
      strays: [{ name: hostile, keyId: hostile }],
      notes: [hostile],
      next: [`${hostile}\n\`\`\`\n# Done`],
    });

    const headings = report.split("\n").filter((line) => line.startsWith("#"));
    expect(headings.map((line) => line.replace(/: .*/, ""))).toEqual([
      "# Incident",
      "## What leaked",
      "## Versions",
      "## Timeline",
      "## Supervisors",
      "## What is unknown",
      "## What is left to do",
      "### What can be typed now",
      "### Who has read it in the store",
    ]);
    expect(report).not.toContain("\u001b");
    const prose = report.replace(/^(`{3,})\w+\n[\s\S]*?\n\1$/gm, "");
    expect(prose).not.toMatch(/(?<!\\)(?:<|\]\(|@)|[^\\]:\/\/|www\.e|[^\\]\*\*b/);
    const widths = prose
      .split("\n")
      .filter((line) => line.startsWith("|"))
      .map((line) => line.split("|").length);
    expect(new Set(widths)).toEqual(new Set([4, 6, 8, 10]));
  });
});

describe("text of others in Markdown", () => {
  it("stays one bounded line that shows what it is", () => {
    expect(plain("  a_b*c  ")).toBe("a\\_b\\*c");
    expect(plain("1 \\| 2")).toBe("1 &#92;&#124; 2");
    expect(plain("a\r\nb")).toBe("a&#92;r&#92;nb");
    expect(plain("&lt; &#35;")).toBe("\\&lt; \\&\\#35;");
    expect(plain("x".repeat(1000))).toHaveLength(501);
  });

  it("can't end the block of code that it stands in", () => {
    expect(codeBlock("sh", ["a", "````", "b\nc"])).toBe("`````sh\na\n````\nb\\nc\n`````");
  });
});
