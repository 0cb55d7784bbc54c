/** What a person sees on a terminal whose lines are drawn anew. */
import { Writable } from "node:stream";
import { describe, expect, it } from "vitest";
import { LiveBlock } from "../../src/ui/live-block.ts";

const ESCAPE = "\u001b";
const CODE = new RegExp(`^${ESCAPE}\\[(\\d*)([A-Z])$`);
const TOKENS = new RegExp(`${ESCAPE}\\[\\d*[A-Z]|\\r|\\n|[^\\r\\n${ESCAPE}]+`, "g");

/** Understands as much as the block says: text, line ends, up, and both ways to clear. */
class Screen extends Writable {
  readonly columns = 20;
  readonly lines: string[] = ["$ rotate", ""];
  #row = 1;
  #column = 0;

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    for (const [token = ""] of chunk.toString().matchAll(TOKENS)) {
      const [, count, code] = CODE.exec(token) ?? [];
      const line = this.lines[this.#row] ?? "";
      if (code === "A") this.#row -= Number(count);
      else if (code === "K") this.lines[this.#row] = line.slice(0, this.#column);
      else if (code === "J")
        this.lines.splice(this.#row, Number.POSITIVE_INFINITY, line.slice(0, this.#column));
      else if (token === "\r") this.#column = 0;
      else if (token === "\n") this.lines[++this.#row] ??= "";
      else {
        if (token.length >= this.columns) throw new Error("the terminal would wrap it");
        this.lines[this.#row] = token + line.slice(token.length);
        this.#column = token.length;
      }
    }
    done();
  }
}

describe("a live block", () => {
  it("is drawn anew in its place, shorter or longer, and what was above stays", () => {
    const screen = new Screen();
    const block = new LiveBlock(screen);
    block.draw(["1 of 3", "one: pending", "other: pending"]);
    expect(screen.lines).toEqual(["$ rotate", "1 of 3", "one: pending", "other: pending", ""]);
    block.draw(["2 of 3", "one: old"]);
    expect(screen.lines).toEqual(["$ rotate", "2 of 3", "one: old", ""]);
    block.draw(["3 of 3"]);
    expect(screen.lines).toEqual(["$ rotate", "3 of 3", ""]);
  });

  it("stays when it has ended, and the next one stands below it", () => {
    const screen = new Screen();
    const block = new LiveBlock(screen);
    block.draw(["first"]);
    block.end();
    block.draw(["second"]);
    block.draw(["third"]);
    expect(screen.lines).toEqual(["$ rotate", "first", "third", ""]);
  });

  it("cuts a line that is too long for the terminal", () => {
    const screen = new Screen();
    new LiveBlock(screen).draw(["x".repeat(50)]);
    expect(screen.lines).toEqual(["$ rotate", "x".repeat(19), ""]);
  });
});
