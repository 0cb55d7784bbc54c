/** A server that is killed about every second, under load: who had asked it is told once, and nobody else. */
import { describe, expect, it } from "vitest";
import { until } from "../helpers/processes.ts";
import { load } from "../helpers/sdk-clients.ts";
import { answerTo, ask, type Era, lostNotifications, show, startProgram } from "./mcp-run-session.ts";

const ERAS: readonly Era[] = ["legacy", "modern"];
const KILLS = 15;

describe.concurrent.each(ERAS)("a session of the SDK, %s", (era) => {
  it(`goes on although its server is killed ${KILLS} times`, async () => {
    const program = await startProgram({ era });
    const { traffic } = program;
    const unanswered = () => {
      const answered = new Set(traffic.received.map(({ id }) => id));
      return traffic.sent.filter(({ id }) => id !== undefined && !answered.has(id)).length;
    };
    const kill = async () => {
      for (let generation = 1; generation <= KILLS; generation++) {
        await new Promise((resolve) => setTimeout(resolve, 1000));
        const [pid] = program.home.servers();
        // It has something to lose.
        await until("requests are under way", () => unanswered() > 0);
        process.kill(pid as number, "SIGKILL");
        await until("another one serves", () => program.generations() === generation + 1, 60_000);
      }
    };

    const result = await load(ask(program), kill());

    await program.close();
    show(`${era}, ${KILLS} kills`, result);
    const dead = result.wrong.map((fault) => Number(fault.split(":")[0]));
    expect(result.wrong.filter((fault) => !/server restarted, generation \d+/.test(fault))).toEqual([]);
    expect(dead.length).toBeGreaterThanOrEqual(KILLS);
    expect(traffic.faults()).toEqual([]);
    const answered = Array.from({ length: result.count }, (_, number) => number).filter(
      (number) => !dead.includes(number),
    );
    expect(lostNotifications(traffic, answered.map(answerTo))).toEqual([]);
    expect(result.count).toBeGreaterThan(20 * KILLS);
  });
});
