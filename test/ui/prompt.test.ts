import { PassThrough, Readable } from "node:stream";
import { setImmediate } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { promptHidden, promptLine, readPiped } from "../../src/ui/prompt.ts";

const signal = new AbortController().signal;

describe("readPiped", () => {
  it.each([
    ["canary-x\n", "canary-x"],
    ["canary-x\r\n", "canary-x"],
    ["canary-x\n\n", "canary-x\n"],
    ["canary-x", "canary-x"],
    [" two\nlines ", " two\nlines "],
    ["", ""],
  ])("drops one trailing newline of %j", async (input, expected) => {
    expect((await readPiped(Readable.from([Buffer.from(input)]), signal)).reveal()).toBe(expected);
  });

  it("keeps a character that a chunk cuts in two", async () => {
    const [a, b] = [Buffer.from("é").subarray(0, 1), Buffer.from("é").subarray(1)];
    expect((await readPiped(Readable.from([a, b]), signal)).reveal()).toBe("é");
  });

  it("refuses bytes that are not UTF-8, and more than it can hold", async () => {
    await expect(readPiped(Readable.from([Buffer.from([0xff])]), signal)).rejects.toThrow("it is not UTF-8");
    const big = Array.from({ length: 5 }, () => Buffer.alloc(1024 * 1024, "a"));
    await expect(readPiped(Readable.from(big), signal)).rejects.toThrow("it is longer than");
  });

  it("gives up when it is aborted, though the pipe stays open", async () => {
    const abort = new AbortController();
    const input = new PassThrough();
    const reading = readPiped(input, abort.signal);

    abort.abort(new Error("stopped"));

    await expect(reading).rejects.toThrow("stopped");
    expect(input.destroyed).toBe(true);
  });

  it("leaves a file alone that it has read, so that an abort after that is nobody's error", async () => {
    const abort = new AbortController();
    // As process.stdin is where it is a file.
    const input = new PassThrough({ autoDestroy: false });
    input.end("canary-x");
    await readPiped(input, abort.signal);

    abort.abort(new Error("stopped later"));
    await setImmediate();

    expect(input.errored).toBeNull();
  });
});

describe("promptHidden", () => {
  it("does not echo what is typed", async () => {
    const input = new PassThrough();
    const terminal = new PassThrough();
    const answer = promptHidden("Value: ", input, terminal, signal);

    input.write("canary-typed\r");

    expect((await answer).reveal()).toBe("canary-typed");
    expect(String(terminal.read())).toBe("Value: \n");
  });

  it("asks only when the terminal's own echo is off", async () => {
    const seen: string[] = [];
    const input = Object.assign(new PassThrough(), {
      isTTY: true,
      setRawMode: (isRaw: boolean) => void seen.push(isRaw ? "echo off" : "echo on"),
    });
    const terminal = new PassThrough();
    terminal.on("data", (text) => seen.push(String(text)));
    const answer = promptHidden("Value: ", input, terminal, signal);

    input.write("canary-typed\r");
    await answer;

    expect(seen.slice(0, 2)).toEqual(["echo off", "Value: "]);
  });

  it.each(["\u0003", "\u0004"])("ends without a value on control character %j", async (key) => {
    const input = new PassThrough();
    const answer = promptHidden("Value: ", input, new PassThrough(), signal);

    input.write(key);

    await expect(answer).rejects.toThrow("nothing was entered");
  });

  it("ends without a value when it is aborted", async () => {
    const abort = new AbortController();
    const answer = promptHidden("Value: ", new PassThrough(), new PassThrough(), abort.signal);

    abort.abort(new Error("stopped"));

    await expect(answer).rejects.toThrow("stopped");
  });
});

describe("a terminal that goes away at a question", () => {
  const ask = {
    promptHidden: (input: Readable) => promptHidden("Value: ", input, new PassThrough(), signal),
    promptLine: (input: Readable) => promptLine("Do it? ", input, new PassThrough(), signal),
  };
  const gone = () => Object.assign(new Error("EIO"), { code: "EIO" });

  it.each(["promptHidden", "promptLine"] as const)("ends it as without an answer: %s", async (name) => {
    const input = Object.assign(new PassThrough(), {
      isTTY: true,
      // As Node does it: what the system refuses is an event.
      setRawMode: (isRaw: boolean) => isRaw || input.emit("error", gone()),
    });
    const answer = ask[name](input);

    input.end();

    await expect(answer).rejects.toThrow(/nothing was (entered|answered)/);
  });

  it.each(["promptHidden", "promptLine"] as const)("also if it can't even be read: %s", async (name) => {
    const input = new PassThrough();
    const answer = ask[name](input);

    input.emit("error", gone());

    await expect(answer).rejects.toThrow(/nothing was (entered|answered)/);
  });
});
