/**
 * The beginning of a line whose end has not come. Large pieces are kept as they are, small ones are
 * copied together, so that a line that comes byte by byte costs no more than about twice its bytes.
 */

/** Pieces below this many bytes are copied; it also keeps a short tail from pinning a whole chunk. */
const COPY_BELOW = 4096;
const MAX_BLOCK = 65_536;

export class HeldBytes {
  #pieces: Buffer[] = [];
  #length = 0;
  /** The block that small pieces are copied to, and how much of it is in use. */
  #block: Buffer | undefined;
  #used = 0;

  get length(): number {
    return this.#length;
  }

  push(piece: Buffer): void {
    if (piece.length === 0) return;
    if (piece.length >= COPY_BELOW) {
      this.#closeBlock();
      this.#pieces.push(piece);
    } else {
      this.#copy(piece);
    }
    this.#length += piece.length;
  }

  /** Everything that was pushed, in order; nothing is held afterwards. */
  take(): readonly Buffer[] {
    this.#closeBlock();
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#length = 0;
    return pieces;
  }

  #copy(piece: Buffer): void {
    if (this.#block !== undefined && this.#block.length - this.#used < piece.length) this.#closeBlock();
    this.#block ??= Buffer.allocUnsafe(Math.max(piece.length, Math.min(this.#length, MAX_BLOCK)));
    piece.copy(this.#block, this.#used);
    this.#used += piece.length;
  }

  #closeBlock(): void {
    if (this.#block !== undefined) {
      const used = this.#block.subarray(0, this.#used);
      this.#pieces.push(used.length * 2 < this.#block.length ? Buffer.from(used) : used);
    }
    this.#block = undefined;
    this.#used = 0;
  }
}
