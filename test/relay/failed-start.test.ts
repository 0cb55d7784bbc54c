import { PassThrough, Writable } from "node:stream";
import { describe, expect, test } from "vitest";
import { answerFailedStart } from "../../src/relay/failed-start.ts";
import { LineSink } from "../../src/relay/line-sink.ts";
import { VirtualClock } from "../helpers/virtual-clock.ts";

const MESSAGE = "Cannot start github: secret TOKEN is missing";
const DISCOVER = '{"jsonrpc":"2.0","id":"d","method":"server/discover"}\n';
const INITIALIZE = '{"method":"initialize","params":{},"jsonrpc":"2.0","id":0}\n';

function begin(options: { output?: Writable; signal?: AbortSignal } = {}) {
  const clock = new VirtualClock();
  const input = new PassThrough();
  const answers: { id: unknown; error: unknown }[] = [];
  const collect = new Writable({
    write(chunk, _encoding, done) {
      answers.push(
        ...`${chunk}`
          .trim()
          .split("\n")
          .map((line) => JSON.parse(line)),
      );
      done();
    },
  });
  const sink = new LineSink(options.output ?? collect);
  const listenersBefore = countListeners(input);
  let isOver = false;
  const over = answerFailedStart(input, sink, MESSAGE, {
    clock,
    ...(options.signal && { signal: options.signal }),
  }).then(() => {
    isOver = true;
    expect(clock.pending).toBe(0);
    expect(countListeners(input)).toBe(listenersBefore);
  });
  return { clock, input, answers, sink, over, isOver: () => isOver };
}

function countListeners(stream: PassThrough): number {
  return ["data", "end", "close", "error", "readable"].reduce(
    (sum, name) => sum + stream.listenerCount(name),
    0,
  );
}

function errorFor(id: unknown) {
  return { jsonrpc: "2.0", id, error: { code: -32603, message: MESSAGE } };
}

describe("answerFailedStart", () => {
  test("answers initialize and is over at once", async () => {
    const { input, answers, over } = begin();
    input.write(INITIALIZE);
    await over;

    expect(answers).toEqual([errorFor(0)]);
  });

  test("answers a modern client's first question and then its fallback", async () => {
    const { input, answers, over, isOver } = begin();
    input.write(DISCOVER);
    await expect.poll(() => answers).toEqual([errorFor("d")]);
    expect(isOver()).toBe(false);
    input.write(INITIALIZE);
    await over;

    expect(answers).toEqual([errorFor("d"), errorFor(0)]);
  });

  test("gives the fallback the whole time again, but only once", async () => {
    const { clock, input, answers, over, isOver } = begin();
    await clock.advance(1900);
    input.write(DISCOVER);
    await expect.poll(() => answers).toHaveLength(1);
    await clock.advance(1900);
    expect(isOver()).toBe(false);
    input.write(DISCOVER);
    await expect.poll(() => answers).toHaveLength(2);
    await clock.advance(100);
    await over;

    expect(answers).toEqual([errorFor("d"), errorFor("d")]);
  });

  test("answers other requests too, in a batch as well, and no notification", async () => {
    const { input, answers, over } = begin();
    input.write(
      '{"id":7,"method":"tools/list"}\nnot JSON\n{"method":"notifications/x"}\n{"id":1,"result":{}}\n',
    );
    input.write('[{"id":8,"method":"a"},{"method":"b"}]\n');
    input.write(INITIALIZE);
    await over;

    expect(answers).toEqual([errorFor(7), errorFor(8), errorFor(0)]);
  });

  test("answers a request that is too long to be kept", async () => {
    const { input, answers, over } = begin();
    input.write(`{"id":1,"params":"${"x".repeat(3_000_000)}","method":"initialize"}\n`);
    await over;

    expect(answers).toEqual([errorFor(1)]);
  });

  test("gives up after two seconds of silence", async () => {
    const { clock, answers, over, isOver } = begin();
    await clock.advance(1999);
    expect(isOver()).toBe(false);
    await clock.advance(1);
    await over;

    expect(answers).toEqual([]);
  });

  test("is over when the input ends, and has answered what came before", async () => {
    const { input, answers, over } = begin();
    input.end(DISCOVER);
    await over;

    expect(answers).toEqual([errorFor("d")]);
  });

  test("is over at once when the input has ended before", async () => {
    const clock = new VirtualClock();
    const input = new PassThrough();
    input.resume().end();
    await expect.poll(() => input.readableEnded).toBe(true);
    await answerFailedStart(input, new LineSink(new PassThrough()), MESSAGE, { clock });

    expect(clock.pending).toBe(0);
  });

  test("is over when the client has gone", async () => {
    const { over, sink } = begin();
    sink.end();
    await over;

    const broken = new PassThrough();
    broken.destroy();
    await begin({ output: broken }).over;
  });

  test("is over as soon as somebody does not want it any more, or did not before", async () => {
    const abort = new AbortController();
    const { over, answers } = begin({ signal: abort.signal });

    abort.abort();

    await over;
    await begin({ signal: abort.signal }).over;
    expect(answers).toEqual([]);
  });

  test("is over when the answer can't be written", async () => {
    const output = new Writable({
      write: (_chunk, _encoding, done) => done(Object.assign(new Error("gone"), { code: "EPIPE" })),
    });
    const { input, over } = begin({ output });
    input.write(DISCOVER);
    await over;
  });

  test("waits until the answer has gone out, but not for ever", async () => {
    const { clock, input, over, isOver, sink } = begin({ output: new Writable({ write: () => undefined }) });
    input.write(INITIALIZE);
    await expect.poll(() => sink.isFlushed).toBe(false);
    await clock.advance(1999);
    expect(isOver()).toBe(false);
    await clock.advance(1);
    await over;
  });
});
