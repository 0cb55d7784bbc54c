/** What servers have asked the client (sampling, elicitation, roots), while one takes the other's place. */
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
} from "@modelcontextprotocol/sdk/types.js";
import { afterEach, describe, expect, it } from "vitest";
import { isAlive, until } from "../helpers/processes.ts";
import { type SwapOptions, swapSession } from "../helpers/swap-session.ts";

interface Question {
  tellProgress(progress: number): Promise<void>;
  answer(text: string): void;
}

const close: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of close.splice(0)) await end();
});

/** A client that answers nothing before the test does. */
async function start(changes: SwapOptions["changes"] = {}) {
  const session = await swapSession({ era: "legacy", server: "sdk-legacy.mjs", changes });
  close.push(session.close);
  const { client } = session;
  const questions: Question[] = [];
  type Extra = Parameters<Parameters<typeof client.setRequestHandler>[1]>[1];
  const wait = ({ sendNotification, _meta }: Extra) =>
    new Promise<string>((answer) => {
      const tellProgress = (progress: number) => {
        const params = { progressToken: _meta?.progressToken as string | number, progress };
        return sendNotification({ method: "notifications/progress", params });
      };
      questions.push({ tellProgress, answer });
    });
  client.setRequestHandler(CreateMessageRequestSchema, async (_request, extra) => {
    const text = await wait(extra);
    return { model: "test", role: "assistant" as const, content: { type: "text" as const, text } };
  });
  client.setRequestHandler(ElicitRequestSchema, async (_request, extra) => ({
    action: "accept" as const,
    content: { answer: await wait(extra) },
  }));
  client.setRequestHandler(ListRootsRequestSchema, async (_request, extra) => ({
    roots: [{ uri: await wait(extra) }],
  }));
  const asked = async (count: number) => {
    await until(`question ${count} is there`, () => questions.length === count);
    return questions[count - 1] as Question;
  };
  /** Which of the questions, counted from 1, the client was told to forget. By the wire: the SDK ignores that for 0. */
  const { traffic } = session;
  const forgotten = () => {
    const ids = traffic.questions.map(({ id }) => id);
    return traffic
      .notifications("notifications/cancelled")
      .map(({ params }) => ids.indexOf(params?.requestId) + 1);
  };
  const isForgotten = (question: number) => until("the client is told", () => forgotten().includes(question));
  return { ...session, asked, forgotten, isForgotten };
}

describe("a server that is replaced while its question to the client is open", () => {
  it.each([
    { tool: "sample", given: { prompt: "sample" } },
    { tool: "elicit", given: { prompt: "elicit" } },
    { tool: "roots", given: {} },
  ])(
    "hears its own answer, and the next one too, although both count from 0: $tool",
    async ({ tool, given }) => {
      const { call, swapTo, asked, traffic } = await start();
      const toOld = call(tool, given);
      const first = await asked(1);
      await swapTo("s2");
      const toNew = call(tool, given);
      const second = await asked(2);

      second.answer("file:///new");
      first.answer("file:///old");

      expect(await toNew).toMatchObject({ said: "file:///new", secret: "s2" });
      expect(await toOld).toMatchObject({ said: "file:///old", secret: "s1" });
      const ids = traffic.questions.map(({ id }) => id);
      const tokens = traffic.questions.map(
        ({ params }) => (params as { _meta: { progressToken: unknown } })._meta.progressToken,
      );
      expect(new Set(ids.map(String)).size).toBe(2);
      expect(new Set(tokens.map(String)).size).toBe(2);
      expect(traffic.faults()).toEqual([]);
    },
  );

  it("hears the progress of its own question alone", async () => {
    const { call, swapTo, asked, served } = await start();
    const toOld = call("sample", { prompt: "old" });
    const first = await asked(1);
    await swapTo("s2");
    const toNew = call("sample", { prompt: "new" });
    const second = await asked(2);

    for (const progress of [1, 2, 3]) {
      await second.tellProgress(progress * 100);
      await first.tellProgress(progress);
    }
    // The SDK forgets progress that comes in one piece with the answer.
    await until("all is heard", () => served.err().split("heard").length === 7);
    first.answer("old");
    second.answer("new");

    expect(await toOld).toEqual({ said: "old", progress: [1, 2, 3], secret: "s1" });
    expect(await toNew).toEqual({ said: "new", progress: [100, 200, 300], secret: "s2" });
  });

  it("can take its question back, and the question of the other stays", async () => {
    const { call, swapTo, asked, forgotten } = await start();
    const toOld = call("withdraw", { ms: 1500, prompt: "old" });
    await asked(1);
    await swapTo("s2");
    const toNew = call("sample", { prompt: "new" });
    const second = await asked(2);

    expect(await toOld).toMatchObject({ secret: "s1" });
    expect(forgotten()).toEqual([1]);
    second.answer("still wanted");

    expect(await toNew).toMatchObject({ said: "still wanted", secret: "s2" });
  });

  it("can take its question back when it is the new one, whose ids had to be renamed", async () => {
    const { call, swapTo, asked, forgotten } = await start();
    const toOld = call("sample", { prompt: "old" });
    const first = await asked(1);
    await swapTo("s2");
    const toNew = call("withdraw", { ms: 100, prompt: "new" });
    await asked(2);

    expect(await toNew).toMatchObject({ secret: "s2" });
    expect(forgotten()).toEqual([2]);
    first.answer("still wanted");

    expect(await toOld).toMatchObject({ said: "still wanted", secret: "s1" });
  });
});

describe("the question of a server that is gone", () => {
  it("is taken back for it when its time to drain is over, and a late answer goes to nobody", async () => {
    const { call, swapTo, asked, traffic, forgotten, isForgotten } = await start({
      swap: { mode: "overlap", drainMs: 100 },
    });
    const refused = expect(call("sample", { prompt: "old" })).rejects.toThrow("server restarted");
    const first = await asked(1);
    await swapTo("s2");
    const toNew = call("sample", { prompt: "new" });
    const second = await asked(2);

    await refused;
    await isForgotten(1);
    first.answer("too late");
    second.answer("new");

    expect(await toNew).toMatchObject({ said: "new", secret: "s2" });
    expect(forgotten()).toEqual([1]);
    expect(traffic.faults()).toEqual([]);
  });

  it("is taken back for it when it was killed, and the answer does not reach the next one's first question", async () => {
    const { call, asked, traffic, isForgotten } = await start();
    const { pid } = (await call("who")) as { pid: number };
    const toOld = call("sample", { prompt: "old" });
    const first = await asked(1);

    process.kill(pid, "SIGKILL");

    await expect(toOld).rejects.toThrow("server restarted, generation 2");
    await isForgotten(1);
    const toNew = call("sample", { prompt: "new" });
    const second = await asked(2);
    first.answer("for the dead");
    second.answer("for the living");
    expect(await toNew).toMatchObject({ said: "for the living", secret: "restarted 2" });
    expect(isAlive(pid)).toBe(false);
    expect(traffic.faults()).toEqual([]);
  });

  it("stays with its server while others come and go", async () => {
    const { call, swapTo, asked } = await start();
    const answers: Promise<unknown>[] = [call("elicit", { prompt: "0" })];
    const question = await asked(1);
    await swapTo("s2");
    expect(await call("who")).toMatchObject({ secret: "s2" });
    const swapped = swapTo("s3");
    question.answer("to the first");
    await swapped;
    answers.push(call("elicit", { prompt: "1" }));
    (await asked(2)).answer("to the third");

    expect(await Promise.all(answers)).toEqual([
      { said: "to the first", secret: "s1" },
      { said: "to the third", secret: "s3" },
    ]);
  });
});
