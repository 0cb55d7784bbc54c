/**
 * One rotation that puts one document after the other, because somebody writes to another field of it: each is a version
 * of its own, and only one of them ever bears labels. A crash at any point leaves what the same rotation can go on with.
 */
import { readdirSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { writeMark } from "../../../providers/aws/mark.ts";
import type { AwsRef } from "../../../providers/aws/ref.ts";
import type { CandidateMark, RotatableStore } from "../../../src/secrets/provider.ts";
import { Secret } from "../../../src/secrets/secret.ts";
import { FakeSecretsManager } from "../../helpers/fake-secrets-manager.ts";
import { Crash, World } from "../../rotation/world.ts";
import { expectConflict, never, read, revealed, settled } from "../contract.ts";
import { cutOffAtEachRequest, openAws, refTo } from "./harness.ts";

/** Each time that it puts something it is another moment, and so another mark. */
let now = Date.UTC(2026, 2, 4);
const mark = (rotationId = "r-mine"): CandidateMark => ({
  rotationId,
  operator: "alice@laptop",
  createdAt: new Date(now++),
});
/** What a rotation `r-mine` of `key` puts first; one that began before an update has to be found after it. */
const FIRST = "ecb62432-fdc9-2280-60d1-03892249d3dd";

let fake: FakeSecretsManager;
let store: RotatableStore<AwsRef>;
const key = refTo("key");

beforeAll(async () => {
  fake = await FakeSecretsManager.start();
  store = await openAws({ endpoint: fake.url });
});

afterEach(() => fake.reset());

afterAll(async () => {
  await store.close();
  await fake.stop();
});

const put = async (value: string) =>
  (await store.putCandidate(key, new Secret(value), mark(), never())).version ?? "";
const discard = () => store.discard(key, "r-mine", never());
const labels = () => Object.values(fake.labels("key")).flat().sort();

/** Somebody writes; answers the version. */
async function typed(value: string): Promise<string> {
  const { version } = await store.put(key, new Secret(value), never());
  return version as string;
}

describe("a rotation whose document somebody else writes to", () => {
  it("puts each document as a version of its own, and the first where it always was", async () => {
    fake.add("key", "canary-old");
    const first = await put("canary-1");
    await discard();
    const second = await put("canary-2");
    await discard();
    const third = await put("canary-3");

    expect(first).toBe(FIRST);
    expect(new Set([first, second, third]).size).toBe(3);
    expect(Object.keys(fake.labels("key"))).toHaveLength(2);
    expect(fake.labels("key")[third]).toContain("AWSPENDING");
    expect((await store.fetchCandidate(key, "r-mine", never())).value.reveal()).toBe("canary-3");
  });

  it("puts a document again as the version that it was", async () => {
    fake.add("key", "canary-old");
    const versions: string[] = [];
    for (const value of ["canary-1", "canary-2", "canary-1", "canary-2"]) {
      versions.push(await put(value));
      await discard();
    }

    expect(versions).toEqual([versions[0], versions[1], versions[0], versions[1]]);
    expect(versions[0]).not.toBe(versions[1]);
    expect(labels()).toEqual(["AWSCURRENT"]);
  });

  it("does not take its own other document away unasked", async () => {
    fake.add("key", "canary-old");
    const first = await put("canary-1");

    const refused = await settled(store.putCandidate(key, new Secret("canary-2"), mark(), never()));

    expectConflict(refused);
    expect(fake.labels("key")[first]).toContain("AWSPENDING");
  });

  it("promotes the latest, and says the same when it is done again", async () => {
    fake.add("key", "canary-old");
    await put("canary-1");
    const planned = await typed("canary-meanwhile");
    await discard();
    const version = await put("canary-2");

    const promoted = await store.promote(key, "r-mine", planned, never());

    expect(promoted).toEqual({ version });
    expect(await store.promote(key, "r-mine", planned, never())).toEqual({ version });
    expect(revealed(await read(store, key))).toBe("canary-2");
    expect(labels()).toEqual(["AWSCURRENT", "AWSPREVIOUS"]);
    expect(await discard()).toBe(false);
    expect(await store.restore(key, planned, version, never())).toEqual({ version: planned });
  });

  it("gives way to a rotation that has put its candidate meanwhile", async () => {
    fake.add("key", "canary-old");
    await put("canary-1");
    await discard();
    const theirs = await store.putCandidate(key, new Secret("canary-theirs"), mark("r-theirs"), never());

    const refused = await settled(store.putCandidate(key, new Secret("canary-2"), mark(), never()));

    expectConflict(refused);
    expect((refused as Error).message).toContain("rotation r-theirs of alice@laptop");
    expect(Object.keys(fake.labels("key"))).toHaveLength(2);
    expect(fake.labels("key")[theirs.version as string]).toContain("AWSPENDING");
  });

  it("gives up where it would put ever more documents", async () => {
    fake.add("key", "canary-old");
    const puts = async () => {
      for (let count = 1; count <= 100; count++) {
        await put(`canary-${count}`);
        await discard();
      }
    };

    expectConflict(await settled(puts()));
    expect(labels()).toEqual(["AWSCURRENT"]);
  });
});

describe("another document of the same rotation", () => {
  /** What the engine does: what was put before goes, then the new one is put. */
  const rebase = async () => {
    await discard();
    await put("canary-2");
  };

  it.each([
    ["is lost", false],
    ["is carried out, and its answer lost", true],
  ])("is put and promoted, whichever request %s before a repetition", async (_, isCarriedOut) => {
    let planned = "";
    const requests = await cutOffAtEachRequest(fake, isCarriedOut, {
      async before() {
        fake.add("key", "canary-old");
        await put("canary-1");
        planned = await typed("canary-meanwhile");
      },
      async step() {
        if ((await store.currentVersion(key, never())) === planned) await rebase();
        await store.promote(key, "r-mine", planned, never());
      },
      async after() {
        expect(revealed(await read(store, key))).toBe("canary-2");
        expect(labels()).toEqual(["AWSCURRENT", "AWSPREVIOUS"]);
      },
    });
    expect(requests).toBeGreaterThanOrEqual(10);
  });

  it("leaves no label of one that was half taken away", async () => {
    fake.add("key", "canary-old");
    const first = await put("canary-1");
    fake.carryOut({
      operation: "UpdateSecretVersionStage",
      input: { SecretId: "key", VersionStage: "AWSPENDING", RemoveFromVersionId: first },
    });

    const second = await put("canary-2");

    expect(fake.labels("key")[first]).toBeUndefined();
    expect(fake.labels("key")[second]).toHaveLength(2);
    expect(labels().filter((label) => label.startsWith(writeMark(mark()).slice(0, 14)))).toHaveLength(1);
  });
});

describe("a whole rotation whose document somebody else writes to", () => {
  class AwsWorld extends World {
    override async store() {
      return store as unknown as Awaited<ReturnType<World["store"]>>;
    }
  }

  /** Another field changes between the canary and the promotion, once. */
  const start = (knowsWhatItMade: boolean) => {
    fake.reset();
    fake.add("mcp/github", '{"token":"canary-old-token","user":"bot"}');
    fake.add("db", "canary-old-db");
    const world = new AwsWorld();
    world.issuers.knowsWhatItMade = knowsWhatItMade;
    world.beforePromotion = async () => {
      world.beforePromotion = async () => undefined;
      await store.put(
        refTo("mcp/github"),
        new Secret('{"token":"canary-old-token","user":"robot"}'),
        never(),
      );
    };
    return world;
  };
  const linesOf = (world: World, rotation: string) => world.journalOf(rotation).trimEnd().split("\n");

  it.each([
    { when: "before the next line is written", diesAtOnce: false, knowsWhatItMade: true },
    { when: "as soon as a line is written", diesAtOnce: true, knowsWhatItMade: true },
    { when: "and its key can't be found again", diesAtOnce: true, knowsWhatItMade: false },
  ])("ends well wherever it was cut off: $when", async ({ diesAtOnce, knowsWhatItMade }) => {
    const uncut = start(knowsWhatItMade);
    const { rotation, is } = await uncut.rotate();
    const lines = linesOf(uncut, rotation);
    const from = lines.findIndex((line) => line.includes('"promote"'));
    const to = lines.findLastIndex((line) => line.includes('"promote"')) + 1;
    expect(is).toBe("done");
    expect(lines.filter((line) => line.includes('"rebase"'))).toHaveLength(1);
    expect(to - from).toBeGreaterThan(8);

    for (let cut = from; cut <= to; cut++) {
      const world = start(knowsWhatItMade);
      world.lines = cut;
      world.diesAtOnce = diesAtOnce;
      await expect(world.rotate()).rejects.toBeInstanceOf(Crash);
      world.reborn();
      const [name = ""] = readdirSync(world.place.folder).filter((file) => file.endsWith(".jsonl"));

      const outcome = await world.resume(name.replace(".jsonl", ""));

      const at = `line ${cut}: ${lines[cut - 1]}`;
      expect(outcome, at).toMatchObject({ is: "done", stillValid: [] });
      const { token, user } = JSON.parse(revealed(await read(store, refTo("mcp/github"))));
      expect(user, at).toBe("robot");
      expect(token, at).toMatch(/^canary-new-TOKEN-/);
      expect([...world.issuers.valid], at).toContain(token);
      expect([...world.issuers.valid], at).not.toContain("canary-old-token");
      for (const path of ["mcp/github", "db"]) {
        expect(Object.values(fake.labels(path)).flat(), at).toContain("AWSCURRENT");
        expect(Object.values(fake.labels(path)).flat().join(), at).not.toMatch(/AWSPENDING|mcp-run/);
      }
    }
  });
});
