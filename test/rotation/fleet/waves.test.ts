import { describe, expect, it } from "vitest";
import { holdWave, isInWave, rateOf, wavesOf } from "../../../src/rotation/fleet/waves.ts";

const ROTATION = "20261121-093015-k3x9ab";
const members = (count: number) => Array.from({ length: count }, (_, index) => `${index}-instance`);

describe("the waves of a rotation", () => {
  it.each([0, 1, 19])("are one for %i supervisors", (count) => {
    expect(wavesOf(members(count), ROTATION, 1_000, "few-first")).toEqual([{ upTo: 1, overMs: count }]);
  });

  it.each([20, 21, 100, 1_000, 10_000])("begin with a twentieth of %i supervisors", (count) => {
    const instances = members(count);

    const [first, last, ...more] = wavesOf(instances, ROTATION, 1_000, "few-first");

    const inFirst = instances.filter((instance) =>
      isInWave(ROTATION, instance, first ?? { upTo: 0, overMs: 0 }),
    );
    expect(inFirst).toHaveLength(Math.round(count / 20));
    expect(last).toEqual({ upTo: 1, overMs: count });
    expect(more).toEqual([]);
  });

  it("begin with others in each rotation", () => {
    const instances = members(100);
    const firstOf = (rotation: string) => {
      const [first = { upTo: 0, overMs: 0 }] = wavesOf(instances, rotation, 1_000, "few-first");
      return instances.filter((instance) => isInWave(rotation, instance, first)).join();
    };

    expect(firstOf("20261121-093015-aaaaaa")).not.toBe(firstOf("20261121-093015-bbbbbb"));
  });

  it.each([
    ["aws-secrets-manager", 3_333],
    ["azure-key-vault", 25_000],
    ["vault", 10_000],
    ["one of tomorrow", 10_000],
  ])("are spread over what %s can answer", (type, overMs) => {
    expect(wavesOf(members(10_000), ROTATION, rateOf(type), "few-first").at(-1)).toEqual({ upTo: 1, overMs });
  });

  it("are one, and spread, where the old key works no longer", () => {
    expect(wavesOf(members(10_000), ROTATION, 1_000, "all")).toEqual([{ upTo: 1, overMs: 10_000 }]);
  });

  it("are off when somebody wants all at once", () => {
    expect(wavesOf(members(10_000), ROTATION, 1_000, "at-once")).toEqual([{ upTo: 1, overMs: 0 }]);
  });
});

describe("who is asked to hold requests", () => {
  it.each([
    [0, { upTo: 1, overMs: 0 }],
    [2, { upTo: 1, overMs: 2 }],
    [3_000, { upTo: 1, overMs: 3_000 }],
    [12_000, { upTo: 0.25, overMs: 3_000 }],
  ])("is of %i supervisors as many as the backend can answer within 3 s", (count, wave) => {
    expect(holdWave(count, 1_000, "all")).toEqual(wave);
  });

  it("is everybody at once where somebody wants it", () => {
    expect(holdWave(12_000, 1_000, "at-once")).toEqual({ upTo: 1, overMs: 0 });
  });
});
