import { describe, expect, test } from "vitest";
import { HeldBytes } from "../../src/relay/held-bytes.ts";

/** Bytes of all the memory that these pieces keep alive. */
function bytesKept(pieces: readonly Buffer[]): number {
  return [...new Set(pieces.map((piece) => piece.buffer))].reduce(
    (sum, buffer) => sum + buffer.byteLength,
    0,
  );
}

describe("HeldBytes", () => {
  test.each<[string, readonly number[]]>([
    ["one byte each", Array(300_000).fill(1)],
    ["100 bytes each", Array(5000).fill(100)],
    ["just below the size that is kept uncopied", Array(200).fill(4095)],
    ["large and tiny in turn", Array.from({ length: 1000 }, (_, index) => (index % 2 ? 1 : 4096))],
    ["large ones, then tiny ones", [...Array(10).fill(65_536), ...Array(1000).fill(3)]],
  ])("keeps pieces of %s in about twice their bytes, in order", (_name, sizes) => {
    const held = new HeldBytes();
    const pieces = sizes.map((size, index) => Buffer.alloc(size, index));
    for (const piece of pieces) held.push(piece);
    const total = Buffer.concat(pieces);
    expect(held.length).toBe(total.length);

    const taken = held.take();

    expect(Buffer.concat(taken).equals(total)).toBe(true);
    expect(bytesKept(taken)).toBeLessThan(2 * total.length + 65_536);
    expect(held.length).toBe(0);
    expect(held.take()).toEqual([]);
  });

  test("does not pin a chunk of which it holds a short tail", () => {
    const held = new HeldBytes();
    const chunk = Buffer.alloc(65_536, "x");
    held.push(chunk.subarray(65_000));

    expect(held.take().some((piece) => piece.buffer === chunk.buffer)).toBe(false);
  });

  test("holds the bytes as they were, though the caller uses its buffer again", () => {
    const held = new HeldBytes();
    const buffer = Buffer.from("abc");
    held.push(buffer);
    buffer.fill("x");
    held.push(buffer.subarray(0, 1));

    expect(Buffer.concat(held.take()).toString()).toBe("abcx");
  });
});
