/** Rotations that were really run, as their reports tell them. */
import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Outcome } from "../../../src/rotation/happening.ts";
import { incidentOf } from "../../../src/rotation/incident/incident-of.ts";
import { incidentReport } from "../../../src/rotation/incident/report.ts";
import { readJournal } from "../../../src/rotation/journal/journal.ts";
import { Crash, DATABASE, GITHUB, World } from "../world.ts";

async function incidentIn(world: World, outcome: Outcome) {
  const { lines } = await readJournal(world.place.folder, outcome.rotation);
  const storedAt = (ref: string) => ({ type: "vault", path: ref.slice(ref.indexOf(":") + 1) });
  return incidentOf(lines, outcome, "1.2.3", storedAt);
}

describe("the incident that a journal tells", () => {
  it("has what was before and after, what became of each key, and every step", async () => {
    const world = new World();
    const outcome = await world.rotate();

    const incident = await incidentIn(world, outcome);

    expect(incident).toMatchObject({
      rotation: outcome.rotation,
      outcome: "done",
      version: "1.2.3",
      canary: { works: true, wasProbed: true },
      acknowledgements: [{ state: "acknowledged" }, { state: "acknowledged" }],
      secrets: [
        {
          name: "TOKEN",
          ref: `${GITHUB}#token`,
          storedAt: { type: "vault", path: "mcp/github" },
          before: { version: "v1" },
          after: { version: "v2", keyId: "id-of-new-TOKEN-1" },
          revoked: "revoked",
          verified: "refused",
          isRetired: true,
        },
        { name: "DB", ref: DATABASE, revoked: "revoked", verified: "refused", isRetired: true },
      ],
    });
    const [token] = incident.secrets;
    expect(token?.before.fingerprint).toMatch(/^[0-9a-f]{64}$/);
    expect(token?.after.fingerprint).not.toBe(token?.before.fingerprint);
    expect(incident.timeline.map(({ what }) => what)).toEqual([
      `plan ${GITHUB}, ${DATABASE}`,
      ...["lock", "mint", "candidate"].flatMap((step) => [`${step} ${GITHUB}`, `${step} ${DATABASE}`]),
      "canary",
      `promote ${GITHUB}`,
      `promote ${DATABASE}`,
      "spread",
      ...["revoke", "verify", "retire"].flatMap((step) => [`${step} ${GITHUB}`, `${step} ${DATABASE}`]),
      "end: done",
    ]);
    const results = incident.timeline.map(({ what, result }) => `${what}: ${result}`);
    expect(results).toContain("canary: proven by the probe");
    expect(results).toContain(`promote ${GITHUB}: version v2`);
    expect(results).toContain("spread: 2 of 2 have it");
    const report = incidentReport(incident);
    expect(report).not.toContain("STILL VALID");
    expect(report).not.toContain("canary-");
  });

  it("says that an old key is valid where nobody has revoked it", async () => {
    const world = new World();
    world.issuers.canRevoke = false;
    const outcome = await world.rotate();

    const incident = await incidentIn(world, outcome);

    expect(incident.secrets.map(({ revoked, verified }) => [revoked, verified])).toEqual([
      ["unknown", "not-yet"],
      ["unknown", "not-yet"],
    ]);
    expect(outcome.is).toBe("incomplete");
    expect(incidentReport(incident)).toContain("> **OLD KEY STILL VALID**: TOKEN, DB\n");
    expect(incident.next).toEqual(outcome.next);
  });

  it("tells the way back as well", async () => {
    const world = new World();
    world.canary = () => ({ works: false, wasProbed: true, reason: "its probe check failed" });
    world.issuers.canRevoke = false;
    const outcome = await world.rotate();

    const incident = await incidentIn(world, outcome);

    expect(incident.outcome).toBe("discarded");
    expect(incident.timeline.map(({ what }) => what)).toContain("turn to discard");
    const report = incidentReport(incident);
    expect(report).toContain("its probe check failed");
    expect(report).toContain(
      "- [ ] Revoke the new TOKEN (id-of-new-TOKEN-1) where it was issued: it was given up",
    );
    expect(report).not.toContain("STILL VALID");
  });

  it("keeps who tried the new key, and what its server said last", async () => {
    const world = new World();
    const details = ["it ended with exit code 3", "denied: ``` <b>no</b>"];
    world.canary = () => ({
      works: false,
      wasProbed: false,
      reason: "it ended",
      ranBy: "mcp-run rotate",
      details,
    });
    const outcome = await world.rotate();

    const incident = await incidentIn(world, outcome);

    expect(incident.canary).toMatchObject({ works: false, ranBy: "mcp-run rotate", details });
    const { result } = incident.timeline.find(({ what }) => what === "canary") ?? {};
    expect(result).toMatch(
      /^not done; tried by mcp-run rotate; a server with the new key does not work: it ended/,
    );
    expect(incidentReport(incident)).toContain(`\`\`\`\`text\n${details.join("\n")}\n\`\`\`\`\n`);
    expect(world.events).toContainEqual(
      expect.objectContaining({ type: "step-failed", step: "canary", details }),
    );
  });

  it("shows a step that was begun and cut off", async () => {
    const world = new World();
    world.lines = 2;
    await expect(world.rotate()).rejects.toBeInstanceOf(Crash);
    world.reborn();
    const [journal = ""] = readdirSync(world.place.folder);
    const outcome = await world.resume(journal.replace(".jsonl", ""));

    const { timeline } = await incidentIn(world, outcome);

    expect(timeline.slice(1, 3).map(({ what, result }) => [what, result])).toEqual([
      [`lock ${GITHUB}`, "begun, and cut off"],
      [`lock ${GITHUB}`, "done"],
    ]);
  });
});
