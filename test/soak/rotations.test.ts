/** A hundred and forty changes of a secret under load: a client of neither SDK notices one. */
import { describe, expect, it } from "vitest";
import { until } from "../helpers/processes.ts";
import { load } from "../helpers/sdk-clients.ts";
import { answerTo, ask, type Era, lostNotifications, show, startProgram } from "./mcp-run-session.ts";

const ERAS: readonly Era[] = ["legacy", "modern"];

describe.each(ERAS)("a session of the SDK, %s", (era) => {
  it.each([
    { restart: "overlap", rotations: 50 },
    { restart: "sequential", rotations: 20 },
  ])("loses nothing over $rotations changes in a row: $restart", async ({ restart, rotations }) => {
    const program = await startProgram({ era, profile: { refresh: { restart, drain: "20s" } } });
    const pids = new Set<number>();
    const rotate = async () => {
      for (let round = 0; round < rotations; round++) pids.add(await program.rotate());
    };

    const result = await load(ask(program), rotate());

    const { traffic } = program;
    await program.close();
    show(`${era}, ${rotations} changes, ${restart}`, result);
    expect(result.wrong).toEqual([]);
    expect(pids.size).toBe(rotations);
    expect(traffic.faults()).toEqual([]);
    const values = Array.from({ length: result.count }, (_, number) => answerTo(number));
    expect(lostNotifications(traffic, values)).toEqual([]);
    expect(result.count).toBeGreaterThan(10 * rotations);
  });
});

describe("a look that is asked for again and again", () => {
  it("changes the server once for each new value, and never without one", async () => {
    const program = await startProgram({ era: "legacy" });
    const { call, home, pid } = program;
    const askAgain = async () => {
      for (let count = 0; count < 100; count++) {
        process.kill(pid, "SIGUSR2");
        await call("wait", { ms: 1, value: "x" });
      }
    };

    await askAgain();
    const withoutChange = program.generations();
    home.rotate();
    await askAgain();
    await until("the second server serves", () => program.generations() === 2);
    await askAgain();

    expect(withoutChange).toBe(1);
    expect(program.generations()).toBe(2);
    expect(await call("who")).toMatchObject({ secret: home.value });
    await program.close();
  });
});
