/** Since when each secret is here as it is: a look that finds the same again does not make it younger. */
import type { Resolution, ResolvedSecret } from "../../secrets/resolution.ts";

export class FetchTimes {
  readonly #times = new WeakMap<ResolvedSecret, number>();

  /**
   * @param now wall-clock ms
   * @param before what was there until now
   */
  note({ secrets }: Resolution, now: number, before: Resolution | undefined): void {
    const known = new Map(before?.secrets.map((secret) => [secret.name, secret]));
    for (const secret of secrets) {
      const old = known.get(secret.name);
      const isSame = old && old.version === secret.version && old.value.equals(secret.value);
      this.#times.set(secret, isSame ? this.of(old) : now);
    }
  }

  /** Wall-clock ms; 0 for one that was never noted. */
  of(secret: ResolvedSecret): number {
    return this.#times.get(secret) ?? 0;
  }
}
