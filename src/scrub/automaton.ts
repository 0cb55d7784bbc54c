/**
 * Aho-Corasick: reads each byte once, whatever the needles and the text look like. Slower than the gram
 * filter on ordinary text, so it only stands in when a text makes the filter compare too much (needles
 * such as 64 times `a`). A. V. Aho, M. J. Corasick, «Efficient string matching», CACM 18 (1975).
 */
import type { NeedleTable } from "./needle-table.ts";
import type { Runs } from "./runs.ts";

export const ROOT = 0;
const NONE = -1;

export class Automaton {
  readonly #table: NeedleTable;
  /** A node's children form a list: `firstChild`, then `sibling`; 0 ends it. The root's are in a table. */
  readonly #fromRoot = new Int32Array(256);
  readonly #firstChild: Int32Array;
  readonly #sibling: Int32Array;
  /** The byte that leads to a node. */
  readonly #byte: Uint8Array;
  readonly #depth: Int32Array;
  /** The node of the longest proper suffix that is also in the tree. */
  readonly #failure: Int32Array;
  /** The longest needle that ends at a node, or NONE: shorter ones lie inside it. */
  readonly #ending: Int32Array;

  constructor(table: NeedleTable) {
    this.#table = table;
    const most = table.bytes.length + 1;
    this.#firstChild = new Int32Array(most);
    this.#sibling = new Int32Array(most);
    this.#byte = new Uint8Array(most);
    this.#depth = new Int32Array(most);
    this.#failure = new Int32Array(most);
    this.#ending = new Int32Array(most).fill(NONE);
    this.#plant();
    this.#link();
  }

  #plant(): void {
    const { count, offsets, lengths, bytes } = this.#table;
    let nodes = 1;
    for (let needle = 0; needle < count; needle++) {
      let node = ROOT;
      const from = offsets[needle]!;
      for (let at = from; at < from + lengths[needle]!; at++) {
        const byte = bytes[at]!;
        let child = this.#child(node, byte);
        if (child === ROOT) {
          child = nodes++;
          this.#byte[child] = byte;
          this.#depth[child] = this.#depth[node]! + 1;
          if (node === ROOT) this.#fromRoot[byte] = child;
          this.#sibling[child] = this.#firstChild[node]!;
          this.#firstChild[node] = child;
        }
        node = child;
      }
      this.#ending[node] = needle;
    }
  }

  /** Breadth first, so that a node's failure is complete before its children ask for it. */
  #link(): void {
    const queue: number[] = [ROOT];
    for (let at = 0; at < queue.length; at++) {
      const node = queue[at]!;
      for (let child = this.#firstChild[node]!; child !== 0; child = this.#sibling[child]!) {
        if (node !== ROOT) this.#failure[child] = this.#step(this.#failure[node]!, this.#byte[child]!);
        if (this.#ending[child] === NONE) this.#ending[child] = this.#ending[this.#failure[child]!]!;
        queue.push(child);
      }
    }
  }

  #child(node: number, byte: number): number {
    if (node === ROOT) return this.#fromRoot[byte]!;
    let child = this.#firstChild[node]!;
    while (child !== 0 && this.#byte[child] !== byte) child = this.#sibling[child]!;
    return child;
  }

  #step(from: number, byte: number): number {
    let node = from;
    for (;;) {
      const child = this.#child(node, byte);
      if (child !== ROOT || node === ROOT) return child;
      node = this.#failure[node]!;
    }
  }

  /**
   * Reads `text`, which begins at offset `origin` of the runs' coordinates, and adds every match to `runs`.
   * @returns the node to go on from: its depth is the longest suffix read that could still become a needle
   */
  read(text: Uint8Array, from: number, origin: number, runs: Runs): number {
    const { lengths } = this.#table;
    const fromRoot = this.#fromRoot;
    const firstChild = this.#firstChild;
    const sibling = this.#sibling;
    const byteOf = this.#byte;
    const failure = this.#failure;
    const ending = this.#ending;
    let node = from;
    for (let at = 0; at < text.length; at++) {
      const byte = text[at]!;
      let child = ROOT;
      while (node !== ROOT) {
        child = firstChild[node]!;
        while (child !== ROOT && byteOf[child] !== byte) child = sibling[child]!;
        if (child !== ROOT) break;
        node = failure[node]!;
      }
      node = child === ROOT ? fromRoot[byte]! : child;
      const needle = ending[node]!;
      if (needle === NONE) continue;
      const end = origin + at + 1;
      const start = end - lengths[needle]!;
      if (!runs.alreadyCover(start, end)) runs.add(start, end, needle);
    }
    // A leaf is a whole needle that nothing can make longer: only its suffixes are still open.
    while (node !== ROOT && this.#firstChild[node] === 0) node = this.#failure[node]!;
    return node;
  }

  depth(node: number): number {
    return this.#depth[node]!;
  }
}
