import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../../src/clock.ts";
import { earlierRotations } from "../../../src/commands/rotate/earlier.ts";
import { newFingerprintKey } from "../../../src/rotation/fingerprints.ts";
import { Journal, type JournalPlace, newRotationId } from "../../../src/rotation/journal/journal.ts";
import type { PlanLine } from "../../../src/rotation/journal/journal-line.ts";

const AT = "https://vault.example.com/v1/secret/data/mcp/github";

let place: JournalPlace;
const signal = new AbortController().signal;

beforeEach(() => {
  const folder = join(mkdtempSync(join(tmpdir(), "mcp-run-earlier-")), "rotations");
  place = { folder, uid: process.getuid?.(), clock: systemClock, onUnwritten: () => undefined };
});
afterEach(() => rmSync(join(place.folder, ".."), { recursive: true, force: true }));

function planOf(ref: string, where?: string): Omit<PlanLine, "v" | "kind" | "at"> {
  const parts = [{ name: "TOKEN", from: `${ref}#token`, issuer: "hook" }];
  return {
    rotation: newRotationId(Date.now()),
    profile: "github",
    reason: "leaked",
    operator: "alice@laptop",
    key: newFingerprintKey(),
    targets: [{ ref, parts, ...(where !== undefined && { place: where }) }],
    options: {},
  };
}

describe("a rotation of the same secret", () => {
  it("that somebody works on keeps another one from beginning, whatever the profiles call the backend", async () => {
    const plan = planOf("vault:mcp/github", AT);

    await Journal.create(place, plan, signal, async () => {
      for (const other of [planOf("vault:mcp/github"), planOf("prod:mcp/github", AT)]) {
        await expect(earlierRotations(place.folder, other)).rejects.toMatchObject({
          code: "rotation-incomplete",
          message: expect.stringMatching(
            new RegExp(`^Cannot rotate vault:mcp/github: alice@laptop is at work on it .*${plan.rotation}`),
          ),
        });
      }
      expect(await earlierRotations(place.folder, planOf("vault:mcp/other", `${AT}-other`))).toEqual([]);
    });
  });

  it("that nobody works on any more is named", async () => {
    const plan = planOf("vault:mcp/github");
    await Journal.create(place, plan, signal, async () => undefined);

    expect(await earlierRotations(place.folder, planOf("vault:mcp/github"))).toMatchObject([
      { rotation: plan.rotation, profile: "github" },
    ]);
  });

  it("that has ended is nobody's business", async () => {
    await Journal.create(place, planOf("vault:mcp/github"), signal, (journal) =>
      journal.append({ kind: "end", outcome: "done" }),
    );

    expect(await earlierRotations(place.folder, planOf("vault:mcp/github"))).toEqual([]);
  });
});
