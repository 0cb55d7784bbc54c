/** A store that gives no answer at all to one kind of reading: a rotation does not wait for it for ever. */
import { describe, expect, it } from "vitest";
import { ProviderError } from "../../src/errors.ts";
import type { Target, TargetStore } from "../../src/rotation/contract.ts";
import { resume, rollback, rotate } from "../../src/rotation/engine.ts";
import type { Outcome } from "../../src/rotation/happening.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { until } from "../helpers/processes.ts";
import { VirtualClock } from "../helpers/virtual-clock.ts";
import { DATABASE, GITHUB, never, World } from "./world.ts";

type Reading = "readVersion" | "fetchCandidate";

/** One secret whose store can fall silent, and time that goes on while it is waited for. */
class MuteWorld {
  readonly world = new World();
  readonly clock = new VirtualClock();
  readonly muted = new Set<Reading>();
  readonly asked: Reading[] = [];
  /** Who waits for an answer that does not come. */
  #waiting = 0;
  /** What else is done in place of the store's own. */
  change: (store: TargetStore) => Partial<TargetStore> = () => ({});

  async targets(ref: string): Promise<readonly Target[]> {
    const target = (await this.world.targets()).find((other) => other.ref === ref) as Target;
    const { store } = target;
    const mute = (name: Reading) => async (of: string, signal: AbortSignal) => {
      if (!this.muted.has(name)) return store[name](of, signal) as never;
      this.asked.push(name);
      this.#waiting++;
      signal.addEventListener("abort", () => this.#waiting--, { once: true });
      return new Promise<never>(() => undefined);
    };
    const muteable = { readVersion: mute("readVersion"), fetchCandidate: mute("fetchCandidate") };
    return [{ ...target, store: { ...store, ...muteable, ...this.change(store) } }];
  }

  get deps() {
    return { ...this.world.deps, clock: this.clock };
  }

  /** Time goes on only while a store is waited for: what else is under way takes none. */
  async ended(running: Promise<Outcome>): Promise<Outcome> {
    let isOver = false;
    const over = running.finally(() => {
      isOver = true;
    });
    over.catch(() => undefined);
    while (!isOver) {
      await until("a store is waited for, or it is over", () => isOver || this.#waiting > 0, 30_000);
      if (!isOver) await this.clock.advance(this.clock.nextIn ?? 0);
    }
    return over;
  }

  async rotate(ref: string): Promise<Outcome> {
    const { world } = this;
    const plan = await world.plan({ targets: await this.targets(ref) });
    return this.ended(rotate(plan, world.place, this.deps, never()));
  }
}

describe("a store that says nothing", () => {
  it("of the old version: its key is ended by what this process knows of it", async () => {
    const mute = new MuteWorld();
    mute.muted.add("readVersion");

    const outcome = await mute.rotate(DATABASE);

    expect(outcome).toMatchObject({ is: "done", stillValid: [] });
    expect(mute.asked).toEqual(["readVersion", "readVersion"]);
    expect((await mute.world.state()).valid).toEqual(["canary-new-DB-1", "canary-old-token"]);
  });

  it("of the new version: a rollback ends the new key by what its issuer knows of it", async () => {
    const mute = new MuteWorld();
    const { world } = mute;
    world.lagging = "failed";
    const { rotation } = await mute.rotate(DATABASE);
    world.lagging = undefined;
    world.answer = () => "go-on";
    mute.muted.add("readVersion");

    const outcome = await mute.ended(
      rollback(rotation, await mute.targets(DATABASE), world.place, mute.deps, never()),
    );

    expect(outcome).toMatchObject({ is: "rolled-back", stillValid: [] });
    expect(mute.asked).toContain("readVersion");
    expect((await world.state()).valid).toEqual(["canary-old-db", "canary-old-token"]);
  });

  it("of the candidate: after a promotion that was refused it is made no other, and gone on with later", async () => {
    const mute = new MuteWorld();
    const { world } = mute;
    mute.change = (store) => ({
      promote: async (...args) => {
        if (world.issuers.valid.has("canary-theirs")) return store.promote(...args);
        world.issuers.valid.add("canary-theirs");
        mute.muted.add("fetchCandidate");
        const sibling = new Secret('{"token":"canary-old-token","user":"robot"}');
        await (await world.store()).put({ path: "mcp/github" }, sibling, never());
        throw new ProviderError("conflict", "somebody has written to it");
      },
    });

    const outcome = await mute.rotate(GITHUB);

    expect(outcome).toMatchObject({
      is: "incomplete",
      reason: `${GITHUB}: somebody has written to it`,
    });
    expect(mute.asked).toContain("fetchCandidate");
    mute.muted.clear();
    const targets = await mute.targets(GITHUB);
    const goneOn = await mute.ended(resume(outcome.rotation, targets, world.place, mute.deps, never()));
    expect(goneOn).toMatchObject({ is: "done", stillValid: [] });
  });

  it("of the candidate that is to be tried: nothing is changed", async () => {
    const mute = new MuteWorld();
    mute.muted.add("fetchCandidate");

    const outcome = await mute.rotate(DATABASE);

    expect(outcome).toMatchObject({ is: "discarded", stillValid: [] });
    expect(outcome.reason).toContain("no answer within 60 s");
    expect((await mute.world.state()).valid).toEqual(["canary-old-db", "canary-old-token"]);
  });
});
