/** Which records are found, and in which order. */
import { writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type AuditFilter, findRecords } from "../../src/audit/filters.ts";
import { AuditRoom, DAY, END, LAUNCH, NOON, RESTART, SWAP } from "./audit-room.ts";

let room: AuditRoom;

beforeEach(async () => {
  room = new AuditRoom();
  const long = room.log();
  long.record(LAUNCH);
  await long.flushed();
  await room.clock.advance(1);
  await room.written([{ ...LAUNCH, profile: "other" }]);
  await room.clock.advance(1);
  long.record(RESTART);
  await room.clock.advance(DAY);
  long.record(SWAP);
  await room.written([
    {
      event: "denied",
      profile: "other",
      during: "start",
      reason: "Cannot read secret KEY from vault:a#b: 403",
    },
  ]);
  await room.clock.advance(1);
  long.record(END);
  await long.close();
});

afterEach(() => room.remove());

async function found(filter: AuditFilter): Promise<readonly string[]> {
  const { records } = await findRecords(room.folder, filter);
  return records.map(({ event, profile }) => `${event} ${String(profile)}`);
}

describe("records", () => {
  it("are found over all files, in the order in which they happened", async () => {
    expect(await found({})).toEqual([
      "launch github",
      "launch other",
      "restart github",
      expect.stringMatching(/^(swap github|denied other)$/),
      expect.stringMatching(/^(swap github|denied other)$/),
      "end github",
    ]);
  });

  it("are the newest where there is a limit, of as many days as that takes", async () => {
    expect(await found({ limit: 1 })).toEqual(["end github"]);
    expect(await found({ limit: 4 })).toEqual(["restart github", ...(await found({})).slice(3)]);
    expect(await found({ limit: 1, profile: "other" })).toEqual(["denied other"]);
    expect(await found({ limit: 1, event: "launch" })).toEqual(["launch other"]);
    expect(await found({ limit: 100 })).toHaveLength(6);
  });

  it("are found by a time, to the millisecond", async () => {
    expect(await found({ since: NOON + 2 })).toHaveLength(4);
    expect(await found({ since: NOON + 3 })).toHaveLength(3);
    expect(await found({ since: NOON + 3 * DAY })).toEqual([]);
  });

  it("are found by the name and the ref of a secret, also where only words tell it", async () => {
    expect(await found({ secret: "TOKEN" })).toHaveLength(3);
    expect(await found({ secret: "local:github-token", event: "swap" })).toEqual(["swap github"]);
    expect(await found({ secret: "KEY" })).toEqual(["denied other"]);
    expect(await found({ secret: "vault:a#b" })).toEqual(["denied other"]);
    expect(await found({ secret: "KE" })).toEqual([]);
  });

  it("are found by the ref of a secret that was rotated, whole or in its document", async () => {
    const rotation = { event: "rotation", rotation: "20261121-1", state: "done" } as const;
    await room.written([
      { ...rotation, step: "plan", secrets: [{ name: "HOOK", from: "vault:mcp/hooks#key" }] },
      { ...rotation, step: "promote", target: "vault:mcp/hooks" },
      { ...rotation, step: "promote", target: "vault:mcp/hooks-2" },
    ]);
    const steps = async (secret: string) =>
      (await findRecords(room.folder, { secret })).records.map(({ step }) => step);

    expect(await steps("HOOK")).toEqual(["plan"]);
    expect(await steps("vault:mcp/hooks#key")).toEqual(["plan", "promote"]);
    expect(await steps("vault:mcp/hooks")).toEqual(["promote"]);
    expect(await steps("vault:mcp/hook")).toEqual([]);
  });

  it("are told apart from what somebody else has put there", async () => {
    const [name = ""] = room.files;
    const rubbish = ["{}", "null", "[1]", '{"seq":1,"at":"x"', "", `{"seq":"1","at":1,"event":{}}`];
    writeFileSync(room.path(name), `${rubbish.join("\n")}\nhalf`);

    const { records, unreadable } = await findRecords(room.folder, {});
    expect([records.length, unreadable]).toEqual([4, rubbish.length]);
  });

  it("are none where there is no audit", async () => {
    expect(await findRecords("/nonexistent/audit", {})).toEqual({ records: [], unreadable: 0 });
  });
});
