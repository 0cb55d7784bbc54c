/** What nobody plans: servers that are killed while another takes their place, clients that go in the midst of it. */
import { describe, expect, it } from "vitest";
import { until } from "../helpers/processes.ts";
import { load } from "../helpers/sdk-clients.ts";
import { until as untilAnswered } from "../helpers/server-process.ts";
import { answerTo, ask, type Era, lostNotifications, show, startProgram } from "./mcp-run-session.ts";

const ERAS: readonly Era[] = ["legacy", "modern"];
const ROUNDS = 12;
const PATIENCE_MS = 120_000;
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe.concurrent.each(ERAS)("a session of the SDK, %s", (era) => {
  it.each(["overlap", "sequential"])(
    "survives servers that are killed at any moment of a change of the secret: %s",
    async (restart) => {
      const program = await startProgram({ era, profile: { refresh: { restart, drain: "20s" } } });
      const { home, pid, traffic, call } = program;
      const who = async () => (await call("who").catch(() => undefined)) as { secret: string } | undefined;
      const breakIt = async () => {
        for (let round = 0; round < ROUNDS; round++) {
          home.rotate();
          process.kill(pid, "SIGUSR2");
          // From before the next server is there until after it has taken over.
          await sleep((round * 13) % 150);
          const servers = home.servers();
          const victim = servers[round % Math.max(1, servers.length)];
          if (victim !== undefined) process.kill(victim, "SIGKILL");
          // A server that dies again and again within a second, or before it serves, is started later and later.
          await untilAnswered("somebody serves", async () => (await who()) !== undefined, PATIENCE_MS);
          await sleep(1200);
        }
        const isCurrent = async () => (await who())?.secret === home.value;
        await untilAnswered("the current one serves", isCurrent, PATIENCE_MS);
      };

      const result = await load(ask(program), breakIt());

      const last = (await call("who")) as { secret: string };
      await program.close();
      show(`${era}, ${ROUNDS} changes with kills, ${restart}`, result);
      expect(last.secret).toBe(home.value);
      const dead = new Set(result.wrong.map((fault) => Number(fault.split(":")[0])));
      expect(result.wrong.filter((fault) => !/server (is being )?restarted/.test(fault))).toEqual([]);
      expect(traffic.faults()).toEqual([]);
      const numbers = Array.from({ length: result.count }, (_, number) => number);
      const answered = numbers.filter((number) => !dead.has(number));
      expect(lostNotifications(traffic, answered.map(answerTo))).toEqual([]);
    },
  );

  it("leaves nobody behind when its client goes at any moment of a change", async () => {
    for (let round = 0; round < 12; round++) {
      const program = await startProgram({ era });
      const waiting = program.call("wait", { ms: 50, value: "x" }).catch(() => undefined);
      program.home.rotate();
      process.kill(program.pid, "SIGUSR2");
      await sleep((round * 15) % 130);

      await program.close();

      await waiting;
      await until("no server is left over", () => program.home.servers().length === 0);
    }
  });
});
