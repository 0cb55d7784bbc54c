import { expect, test } from "vitest";
import { Runs } from "../../src/scrub/runs.ts";

function shown(runs: Runs): string[] {
  return runs.sorted.map(
    ({ start, end, needle, shown }) => `${start}-${end} #${needle}${shown ? " shown" : ""}`,
  );
}

test("matches that overlap or touch make one run, called after the one that begins first", () => {
  const runs = new Runs();
  runs.add(10, 14, 1);
  runs.add(20, 24, 2);
  runs.add(14, 20, 3);
  runs.add(30, 34, 4);
  runs.add(8, 11, 5);
  expect(shown(runs)).toEqual(["8-24 #5", "30-34 #4"]);
});

test("of two matches that begin a run, the longer one gives the name, in either order", () => {
  for (const lengths of [
    [4, 9],
    [9, 4],
  ]) {
    const runs = new Runs();
    for (const length of lengths) {
      runs.add(0, length, length);
      runs.add(3, 12, 0);
    }
    expect(shown(runs)).toEqual(["0-12 #9"]);
  }
});

test("a match inside the last run changes nothing, unless it begins the run and could give the name", () => {
  const runs = new Runs();
  runs.add(0, 9, 1);
  expect([runs.alreadyCover(1, 9), runs.alreadyCover(1, 10), runs.alreadyCover(0, 9)]).toEqual([
    true,
    false,
    false,
  ]);
});

test("what was put out is forgotten, but for the run that the next bytes may go on with", () => {
  const runs = new Runs();
  runs.add(0, 4, 1);
  runs.add(6, 10, 2);
  runs.add(12, 16, 3);
  runs.moveOrigin(20, 10);
  expect(shown(runs)).toEqual(["-14--10 #2 shown", "-8--4 #3"]);
  runs.dropPending();
  expect(shown(runs)).toEqual(["-14--10 #2 shown"]);
  runs.moveOrigin(1, -9);
  expect(shown(runs)).toEqual([]);
});
