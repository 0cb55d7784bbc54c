/**
 * When a server that died is started again: 0.2 s later, then twice as long each time, up to 30 s, and half as long
 * for each second that it has served. After five starts in a row that failed nobody is started any more. Pure.
 */

const FIRST_MS = 200;
const LONGEST_MS = 30_000;
/** Ms of a server's life that take back one doubling: one that has served well for a while is soon there again. */
const HALF_LIFE_MS = 1_000;
/** In a row. */
const MOST_FAILED_STARTS = 5;

export class RestartPolicy {
  #delayMs = FIRST_MS;
  #failedStarts = 0;

  /** The server took over: it has come up. */
  cameUp(): void {
    this.#failedStarts = 0;
  }

  /** Ms to wait before the next start; undefined to give up. @param livedMs since it took over */
  died(livedMs: number, cameUp: boolean): number | undefined {
    if (!cameUp && ++this.#failedStarts >= MOST_FAILED_STARTS) return undefined;
    const delay = Math.max(FIRST_MS, Math.round(this.#delayMs * 2 ** (-livedMs / HALF_LIFE_MS)));
    this.#delayMs = Math.min(LONGEST_MS, delay * 2);
    return delay;
  }
}
