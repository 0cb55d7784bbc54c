/** What is said on the bus of a rotation has room in its messages, whatever the secrets are called. */
import { randomBytes } from "node:crypto";
import { expect, it } from "vitest";
import { readEntry } from "../../../src/control/bus/messages.ts";
import { goalsOf } from "../../../src/rotation/fleet/bus-goals.ts";

const KEY = randomBytes(32);
const fingerprint = "0".repeat(64);

function entryOf({ key: _key, ref, oldLeases: _oldLeases, ...goal }: ReturnType<typeof goalsOf>[number]) {
  const entry = {
    ...{ v: 1, generation: 1, rotation: "20261121-090305-abcdef", at: "2026-11-21T09:03:05.000Z" },
    ...{ ref: ref.slice(0, 1024), key: KEY.toString("base64url"), upTo: 1, overMs: 0, ...goal },
  };
  return readEntry(Buffer.from(JSON.stringify(entry)));
}

it("is told to who has a whole document in which a hundred fields are replaced", () => {
  const wanted = Array.from({ length: 100 }, (_, index) => ({ from: `vault:app#key${index}`, fingerprint }));

  const goals = goalsOf(wanted, KEY);

  const whole = goals.find(({ ref }) => ref === "vault:app");
  expect(goals).toHaveLength(101);
  expect(whole?.fingerprint).toMatch(/^[0-9a-f]{64}$/);
  for (const goal of goals) expect(entryOf(goal), goal.ref).toBeDefined();
});

it("is told to nobody who would have to be told of a field with a name of many kilobytes", () => {
  const [own, whole] = goalsOf([{ from: `vault:app#${"k".repeat(5_000)}`, fingerprint }], KEY);

  expect(own && entryOf(own)).toBeDefined();
  expect(whole).toMatchObject({ ref: "vault:app" });
  expect(whole?.fingerprint).toBeUndefined();
});
