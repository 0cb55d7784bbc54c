/**
 * What of a generation outlives the answer that began it: tasks that have not ended, and exchanges in which the
 * server waits for more input. As long as there is any, the generation is busy. Also which opaque words
 * (`nextCursor`, task ids, `requestState`) it has given out, since nobody else understands them. Pure.
 */
import type { Line } from "./line.ts";
import { at, messageOf } from "./message.ts";

/** Statuses after which nothing more comes of a task; MCP specification, tasks. */
const TERMINAL = new Set(["completed", "failed", "cancelled"]);
/** More opaque words than this are not remembered: the oldest are forgotten. */
const MOST_WORDS = 10_000;

const MARKS = ['"taskId"', '"input_required"'].map((mark) => Buffer.from(mark));

export class LongWork {
  readonly #tasks = new Set<string>();
  readonly #exchanges = new Set<string>();
  readonly #words = new Set<string>();

  get isBusy(): boolean {
    return this.#tasks.size > 0 || this.#exchanges.size > 0;
  }

  /** True if this generation gave out one of the words that a client's request refers to. */
  knows(words: readonly string[]): boolean {
    return words.some((word) => this.#words.has(word));
  }

  /** An answer, or a notification about a task. `everyWord`: also cursors, which are looked for in full. */
  serverSaid(line: Line, everyWord: boolean): void {
    const { bytes } = line;
    if (!everyWord && !MARKS.some((mark) => bytes.includes(mark))) return;
    const message = messageOf(bytes);
    const result = at(message, "result") ?? at(message, "params");
    const task = at(result, "task") ?? result;
    const taskId = at(task, "taskId");
    if (typeof taskId === "string") {
      this.#note(taskId);
      if (TERMINAL.has(String(at(task, "status")))) this.#tasks.delete(taskId);
      else if (at(task, "status") !== undefined) this.#tasks.add(taskId);
    }
    const state = at(result, "requestState");
    if (at(result, "resultType") === "input_required" && typeof state === "string") {
      this.#note(state);
      this.#exchanges.add(state);
    }
    const cursor = at(result, "nextCursor");
    if (typeof cursor === "string") this.#note(cursor);
  }

  /** The client goes on with what these words stand for. */
  clientReferred(words: readonly string[]): void {
    for (const word of words) this.#exchanges.delete(word);
  }

  #note(word: string): void {
    this.#words.add(word);
    if (this.#words.size <= MOST_WORDS) return;
    for (const oldest of this.#words) {
      this.#words.delete(oldest);
      return;
    }
  }
}

/** The opaque words of a server that a client's request refers to. */
export function wordsIn(line: Line): readonly string[] {
  const params = at(messageOf(line.bytes), "params");
  return [at(params, "cursor"), at(params, "taskId"), at(params, "requestState")].filter(
    (word) => typeof word === "string",
  );
}
