import { describe, expect, it } from "vitest";
import {
  LONGEST_ENTRY,
  LONGEST_REPORT,
  type Report,
  readCall,
  readEntry,
  readReport,
  writeReport,
} from "../../../src/control/bus/messages.ts";

const KEY = "kfyUQ7lc3OMmQOd29QxlsnaMKzZ";
const entry = {
  v: 1,
  generation: 3,
  rotation: "r1",
  at: "2027-01-03T12:00:00.000Z",
  ref: "vault:mcp/github#token",
  key: "A".repeat(43),
  fingerprint: "0".repeat(64),
  upTo: 0.5,
  overMs: 30_000,
};
const report: Report = {
  v: 1,
  host: "web",
  pid: 7,
  instance: "7-ab",
  profile: "github",
  state: "serving",
  generation: 2,
  era: "handshake",
  mode: "overlap",
  secrets: [{ key: KEY, ref: "vault:mcp/github#token", state: "idle" }],
};

function bytes(message: unknown): Buffer {
  return Buffer.from(typeof message === "string" ? message : JSON.stringify(message));
}

describe("a message of the bus", () => {
  it("is read as it was written, less what a later version may have added", () => {
    expect(readEntry(bytes({ ...entry, later: true }))).toEqual(entry);
    expect(readReport(bytes(writeReport(report)))).toEqual(report);
    expect(readCall(bytes({ v: 1, id: "abc", spreadMs: 10 }))).toEqual({ v: 1, id: "abc", spreadMs: 10 });
  });

  it.each([
    ["no JSON", "{"],
    ["no object", "[]"],
    ["nothing", ""],
    ["no UTF-8", Buffer.from([0x7b, 0xff, 0xfe]).toString("latin1")],
    ["another version", { ...entry, v: 2 }],
    ["no generation", { ...entry, generation: 0 }],
    ["a time that is none", { ...entry, at: "yesterday" }],
    ["a rotation that could be a path", { ...entry, rotation: "../r1" }],
    ["a key of another length", { ...entry, key: "short" }],
    ["a fingerprint that is none", { ...entry, fingerprint: "zz" }],
    ["old leases that are cut off", { ...entry, oldLeases: "abcdefg" }],
    ["old leases that are none", { ...entry, oldLeases: "abc!" }],
    ["more old leases than a provider lists", { ...entry, oldLeases: "abcd".repeat(10_001) }],
    ["more than all", { ...entry, upTo: 1.1 }],
    ["for years", { ...entry, overMs: 1e12 }],
    ["not a number", { ...entry, overMs: null }],
  ])("is no entry if it has %s", (_what, message) => {
    expect(readEntry(bytes(message))).toBeUndefined();
  });

  it("is a call to hold requests only for as long as clients wait, and less than everybody is a part", () => {
    const hold = { rotation: "r1", forMs: 45_000, upTo: 0.5, overMs: 3_000 };
    const callWith = (more: object) => readCall(bytes({ v: 1, id: "a", hold: { ...hold, ...more } }));

    expect(callWith({ later: 1 })).toEqual({ v: 1, id: "a", hold });
    for (const wrong of [{ forMs: 60_001 }, { forMs: 0 }, { upTo: 2 }, { overMs: 60_001 }, { rotation: "*" }])
      expect(callWith(wrong)).toBeUndefined();
  });

  it("names as many old leases as a provider lists, for the longest ref", () => {
    const whole = { ...entry, ref: "\u0001".repeat(1_024), oldLeases: "abcd".repeat(10_000) };

    expect(bytes(whole).length).toBeLessThan(LONGEST_ENTRY);
    expect(readEntry(bytes(whole))).toEqual(whole);
  });

  it("is not even parsed when it is too long", () => {
    const padded = (message: object, most: number) => bytes({ ...message, pad: "x".repeat(most) });

    expect(readEntry(padded(entry, LONGEST_ENTRY))).toBeUndefined();
    expect(readReport(padded(report, LONGEST_REPORT))).toBeUndefined();
    expect(readCall(padded({ v: 1, id: "a" }, 1024))).toBeUndefined();
  });

  it("is a report that names by their keys the secrets of which it has no room to say more", () => {
    const keyOf = (index: number) => `k${String(index).padStart(26, "0")}`;
    const secrets = Array.from({ length: 500 }, (_, index) => ({
      key: keyOf(index),
      ref: `vault:${"x".repeat(200)}/${index}`,
      state: "idle" as const,
    }));

    const line = writeReport({ ...report, secrets });
    const read = readReport(bytes(line));

    expect(Buffer.byteLength(line)).toBeLessThanOrEqual(LONGEST_REPORT);
    expect(read?.secrets.length).toBeGreaterThan(5);
    const named = [...(read?.secrets.map(({ key }) => key) ?? []), ...(read?.more ?? [])];
    expect(named).toEqual(Array.from({ length: named.length }, (_, index) => keyOf(index)));
    expect(named.length).toBeGreaterThan(400);
    expect(named.length + (read?.secretsLeftOut ?? 0)).toBe(500);
  });

  it("is a report that can be read, however long the words of a backend are", () => {
    const long = "x".repeat(5_000);
    const secrets = [{ key: KEY, ref: `vault:${long}`, version: long, state: "idle" as const }];

    const read = readReport(bytes(writeReport({ ...report, profile: long, secrets })));

    expect(read?.secrets.map(({ key, ref }) => [key, ref.length])).toEqual([[KEY, 1_024]]);
  });
});
