/** Two machines that replace the same key: one store and one issuer, and a journal on each machine. */
import { describe, expect, it } from "vitest";
import type { Target } from "../../src/rotation/contract.ts";
import type { Answer, Outcome, Question } from "../../src/rotation/happening.ts";
import type { RotationRequest } from "../../src/rotation/plan.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { Crash, DATABASE, GITHUB, never, World } from "./world.ts";

/** Two rotations for each thing that one of them does. */
const PATIENCE_MS = 120_000;

/** It rotates one secret, and something can happen before each thing that it does outside of itself. */
class Machine extends World {
  readonly touches: string[] = [];
  before: (what: string, count: number) => Promise<void> = async () => undefined;
  afterSpread: () => Promise<void> = async () => undefined;
  ref: string = DATABASE;
  override answer = ({ type }: Question): Answer => (type === "put-back" ? "go-on" : "stop");

  static pair(ref: string): readonly [Machine, Machine] {
    const [one, other] = [new Machine(), new Machine()];
    Object.assign(other, { kind: one.kind, issuers: one.issuers, behaviour: one.behaviour });
    one.ref = ref;
    other.ref = ref;
    return [one, other];
  }

  async #begin(what: string) {
    this.touches.push(what);
    await this.before(what, this.touches.length);
  }

  override async targets(kind?: string): Promise<readonly Target[]> {
    const targets = await super.targets(kind);
    const watch = <T extends object>(thing: T): T =>
      new Proxy(thing, {
        get: (on, name) => {
          const member: unknown = Reflect.get(on, name);
          if (typeof member !== "function") return member;
          return async (...args: unknown[]) => {
            await this.#begin(String(name));
            return member.apply(on, args);
          };
        },
      });
    return targets
      .filter(({ ref }) => ref === this.ref)
      .map((target) => ({
        ...target,
        store: watch(target.store),
        parts: target.parts.map((part) => ({ ...part, issuer: watch(part.issuer) })),
      }));
  }

  override get deps() {
    const deps = super.deps;
    return {
      ...deps,
      canary: {
        try: async (...args: Parameters<typeof deps.canary.try>) => {
          await this.#begin("canary");
          return deps.canary.try(...args);
        },
      },
      fleet: {
        ...deps.fleet,
        spread: async (...args: Parameters<typeof deps.fleet.spread>) => {
          await this.#begin("spread");
          const acknowledgements = await deps.fleet.spread(...args);
          await this.afterSpread();
          return acknowledgements;
        },
      },
    };
  }
}

async function liveKey(machine: Machine): Promise<string> {
  const value = await machine.served(machine.ref === DATABASE ? DATABASE : `${machine.ref}#token`);
  return value?.reveal() ?? "";
}

/** Of the secret that is rotated, whatever else the issuer has made. */
function validKeys({ issuers, ref }: Machine): readonly string[] {
  return [...issuers.valid].filter((key) => (ref === DATABASE ? /db/i : /token/i).test(key));
}

/** Somebody at a console. */
async function types(machine: Machine, value: string): Promise<void> {
  const path = machine.ref.replace("memory:", "");
  const document = machine.ref === DATABASE ? value : JSON.stringify({ token: value, user: "bot" });
  machine.issuers.valid.add(value);
  await (await machine.store()).put({ path }, new Secret(document), never());
}

type Ending = Outcome | Error;

function wordOf(ending: Ending | undefined): string {
  return ending === undefined || ending instanceof Error ? "refused" : ending.is;
}

describe.each([DATABASE, GITHUB])("two machines that replace %s", (ref) => {
  it.each<[string, Partial<RotationRequest>]>([
    ["", {}],
    [", revoking first", { revokeFirst: true }],
  ])(
    "leave one key that works, whenever the second begins%s",
    async (_, request) => {
      const seen = new Set<string>();
      for (let moment = 1; ; moment++) {
        const [first, second] = Machine.pair(ref);
        let theirs: Ending | undefined;
        first.before = async (what, count) => {
          if (count !== moment) return;
          seen.add(what);
          theirs = await second.rotate(request).catch((error: Error) => error);
        };

        const ours: Ending = await first.rotate(request).catch((error: Error) => error);

        const at = `${moment}: ${first.touches[moment - 1]}, ${wordOf(ours)}, ${wordOf(theirs)}`;
        if (first.touches.length < moment) break;
        expect([wordOf(ours), wordOf(theirs)], at).toContain("done");
        expect(["done", "discarded", "refused"], at).toContain(wordOf(ours));
        expect(["done", "discarded", "refused"], at).toContain(wordOf(theirs));
        expect(validKeys(first), at).toEqual([await liveKey(first)]);
        expect((await first.state()).documents.map(({ candidate }) => candidate)).toEqual([
          undefined,
          undefined,
        ]);
        for (const loser of [ours, theirs].filter((one) => wordOf(one) === "refused"))
          expect((loser as Error).message, at).toContain("it is being rotated by alice@laptop since");
      }
      for (const what of [
        "mint",
        "putCandidate",
        "canary",
        "promote",
        "spread",
        "revoke",
        "verify",
        "retire",
      ])
        expect(seen).toContain(what);
    },
    PATIENCE_MS,
  );

  it(
    "leave one key that works, whenever the second takes the place of the first over",
    async () => {
      for (let moment = 1; ; moment++) {
        const [first, second] = Machine.pair(ref);
        let theirs: Ending | undefined;
        first.before = async (_what, count) => {
          if (count !== moment) return;
          const holder = (await second.state()).documents.find(({ candidate }) => candidate)?.candidate;
          theirs = await second
            .rotate(holder === undefined ? {} : { takeOver: holder })
            .catch((error: Error) => error);
        };

        const ours: Ending = await first.rotate().catch((error: Error) => error);

        const at = `${moment}: ${first.touches[moment - 1]}, ${wordOf(ours)}, ${wordOf(theirs)}`;
        if (first.touches.length < moment) break;
        expect(wordOf(theirs), at).toBe("done");
        expect(["done", "discarded"], at).toContain(wordOf(ours));
        expect(validKeys(first), at).toEqual([await liveKey(first)]);
      }
    },
    PATIENCE_MS,
  );

  it.each([true, false])(
    "leave one key that works where the first dies, the second takes over, and the first is gone on with (%s)",
    async (diesAtOnce) => {
      const ends = new Set<string>();
      for (let lines = 2; ; lines++) {
        const [first, second] = Machine.pair(ref);
        Object.assign(first, { lines, diesAtOnce });
        const plan = await first.plan();
        const { rotation } = plan.record;
        const died = await first.rotatePlanned(plan).catch((error: unknown) => error);
        first.reborn();
        if (!(died instanceof Crash)) break;
        const at = first.journalOf(rotation).split("\n").at(-2);
        const holder = (await second.state()).documents.find(({ candidate }) => candidate)?.candidate;

        const theirs = await second.rotate(holder === undefined ? {} : { takeOver: holder });
        let ours = await first.resume(rotation);

        expect(theirs, at).toMatchObject({ is: "done" });
        // Nobody can tell whether a promotion that was broken off had come through.
        if (ours.is === "incomplete") ours = await first.rollback(rotation);
        ends.add(ours.is);
        expect(["done", "discarded", "rolled-back"], at).toContain(ours.is);
        // Then nobody knows which of the two has to end the old key, and it is said that it is valid.
        const left =
          ours.stillValid.length > 0 ? [first.ref === DATABASE ? "canary-old-db" : "canary-old-token"] : [];
        if (left.length > 0)
          expect(ours, at).toMatchObject({ is: "rolled-back", stillValid: [{ which: "old" }] });
        const strays = validKeys(first).filter((key) => !left.includes(key));
        expect(strays, `${at} ${ours.is}`).toEqual([await liveKey(first)]);
      }
      expect(ends).toContain("done");
      expect(ends).toContain("discarded");
    },
    PATIENCE_MS,
  );

  it(
    "never leave the store with a key that is dead, whenever the first is rolled back",
    async () => {
      for (let moment = 1; ; moment++) {
        const [first, second] = Machine.pair(ref);
        first.lagging = "failed";
        const stuck = await first.rotate();
        first.lagging = undefined;
        let undone: Ending | undefined;
        second.before = async (_what, count) => {
          if (count === moment) undone = await first.rollback(stuck.rotation).catch((error: Error) => error);
        };

        const theirs: Ending = await second.rotate().catch((error: Error) => error);

        const at = `${moment}: ${second.touches[moment - 1]}, ${wordOf(undone)}, ${wordOf(theirs)}`;
        if (second.touches.length < moment) break;
        expect([`rolled-back discarded`, "rolled-back done", "refused done"], at).toContain(
          `${wordOf(undone)} ${wordOf(theirs)}`,
        );
        if (wordOf(undone) === "refused")
          expect(await first.resume(stuck.rotation), at).toMatchObject({ is: "done", stillValid: [] });
        expect(validKeys(first), at).toEqual([await liveKey(first)]);
      }
    },
    PATIENCE_MS,
  );
});

describe.each([-26, -1, 1, 26])("a second machine whose clock is %i hours away", (hours) => {
  const pair = () => {
    const [first, second] = Machine.pair(DATABASE);
    const { clock } = second;
    const now = clock.now.bind(clock);
    clock.now = () => now() + hours * 3_600_000;
    return [first, second] as const;
  };

  it("is told who is at it, takes over, and goes on with what it has begun, as any other", async () => {
    const [first, second] = pair();
    let refused: Ending | undefined;
    let theirs: Ending | undefined;
    first.before = async (what) => {
      if (what !== "canary") return;
      refused = await second.rotate().catch((error: Error) => error);
      const holder = (await second.state()).documents[1]?.candidate ?? "";
      second.lagging = "failed";
      theirs = await second.rotate({ takeOver: holder });
    };

    const ours = await first.rotate();

    expect(refused).toMatchObject({
      message: expect.stringContaining("it is being rotated by alice@laptop since"),
    });
    expect(ours).toMatchObject({ is: "discarded" });
    expect(theirs).toMatchObject({ is: "incomplete" });
    second.lagging = undefined;
    const id = theirs instanceof Error ? "" : (theirs?.rotation ?? "");
    expect(await second.resume(id)).toMatchObject({ is: "done", stillValid: [] });
    expect(validKeys(first)).toEqual([await liveKey(first)]);
  });

  it("can be the later one: both end their old keys", async () => {
    const [first, second] = pair();
    let theirs: Ending | undefined;
    first.before = async (what) => {
      if (what === "spread" && !theirs) theirs = await second.rotate();
    };

    expect(await first.rotate()).toMatchObject({ is: "done", stillValid: [] });

    expect(theirs).toMatchObject({ is: "done", stillValid: [] });
    expect(validKeys(first)).toEqual([await liveKey(first)]);
  });
});

describe.each([DATABASE, GITHUB])("somebody at a console who replaces %s meanwhile", (ref) => {
  const THEIRS = "canary-theirs-db-token";

  it(
    "keeps what he has put there, and no key stays valid without a word",
    async () => {
      const ends = new Set<string>();
      for (let moment = 3; ; moment++) {
        const [machine] = Machine.pair(ref);
        machine.before = async (_what, count) => {
          if (count === moment) await types(machine, THEIRS);
        };

        const outcome = await machine.rotate();

        const at = `${moment}: ${machine.touches[moment - 1]}, ${outcome.is} ${outcome.reason}`;
        if (machine.touches.length < moment) break;
        ends.add(outcome.is);
        expect(await liveKey(machine), at).toBe(THEIRS);
        const [stray, ...more] = validKeys(machine).filter((key) => key !== THEIRS);
        expect(more, at).toEqual([]);
        if (outcome.is === "discarded") {
          expect(stray, at).toMatch(/old/);
          expect(outcome.reason, at).toMatch(/the old key may be valid still|was expected/);
        } else {
          expect(outcome, at).toMatchObject({ is: "done" });
          // What comes after the last look is as good as what comes a day later.
          const { touches } = machine;
          if (moment <= touches.lastIndexOf("read", touches.indexOf("revoke")) + 1)
            expect(machine.journalOf(outcome.rotation), at).toContain(
              "that this rotation has made may be valid still",
            );
        }
      }
      expect(ends).toEqual(new Set(["discarded", "done"]));
    },
    PATIENCE_MS,
  );

  it("keeps the old key from being revoked where he has put it back, until that is rolled back", async () => {
    const [machine] = Machine.pair(ref);
    const old = await liveKey(machine);
    machine.afterSpread = async () => types(machine, old);

    const outcome = await machine.rotate();

    expect(outcome).toMatchObject({
      is: "incomplete",
      reason: expect.stringContaining(`back into ${ref}, where servers take it`),
      hint: `\`mcp-run rotate github --rollback ${outcome.rotation}\`, which ends the new key, and another rotation after that`,
      stillValid: [{ which: "old" }],
    });
    expect(validKeys(machine)).toContain(old);
    machine.afterSpread = async () => undefined;
    expect(await machine.rollback(outcome.rotation)).toMatchObject({ is: "rolled-back", stillValid: [] });
    expect(validKeys(machine)).toEqual([old]);
    expect(await liveKey(machine)).toBe(old);
  });
});
