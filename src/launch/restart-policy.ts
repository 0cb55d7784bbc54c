/**
 * When a server that died is started again: 0.2 s later, then twice as long each time, up to 30 s; a server that
 * has lived for a while begins anew. After five starts in a row that failed nobody is started any more. Pure.
 */

const FIRST_MS = 200;
const LONGEST_MS = 30_000;
/** A server that lived so long has not died of its start. */
const DECAY_MS = 60_000;
/** A start that got this far counts as having come up. */
const MOST_FAILED_STARTS = 5;

export class RestartPolicy {
  #delayMs = FIRST_MS;
  #failedStarts = 0;

  /** The server took over: it has come up. */
  cameUp(): void {
    this.#failedStarts = 0;
  }

  /** Ms to wait before the next start; undefined to give up. @param livedMs from its start, on a steady clock */
  died(livedMs: number, cameUp: boolean): number | undefined {
    if (!cameUp && ++this.#failedStarts >= MOST_FAILED_STARTS) return undefined;
    if (livedMs >= DECAY_MS) this.#delayMs = FIRST_MS;
    const delay = this.#delayMs;
    this.#delayMs = Math.min(LONGEST_MS, delay * 2);
    return delay;
  }
}
