/** What the contract of a rotation leaves to AWS: AWSPENDING, labels of others, and crashes between two requests. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { readMark, writeMark } from "../../../providers/aws/mark.ts";
import type { AwsRef } from "../../../providers/aws/ref.ts";
import type { ProviderError } from "../../../src/errors.ts";
import type { CandidateMark, RotatableStore } from "../../../src/secrets/provider.ts";
import { Secret } from "../../../src/secrets/secret.ts";
import { awsError, FakeSecretsManager } from "../../helpers/fake-secrets-manager.ts";
import { expectConflict, never, read, revealed, settled } from "../contract.ts";
import { cutOffAtEachRequest, openAws, refTo } from "./harness.ts";

const MINE: CandidateMark = {
  rotationId: "r-mine",
  operator: "alice@laptop",
  createdAt: new Date("2026-03-04T05:06:07.089Z"),
};
const THEIRS: CandidateMark = { ...MINE, rotationId: "r-theirs", operator: "bob@desk" };

let fake: FakeSecretsManager;
let store: RotatableStore<AwsRef>;
let other: RotatableStore<AwsRef>;
let old: string;
const key = refTo("key");

beforeAll(async () => {
  fake = await FakeSecretsManager.start();
  [store, other] = [await openAws({ endpoint: fake.url }), await openAws({ endpoint: fake.url })];
});

beforeEach(() => {
  fake.add("key", "canary-old");
  old = Object.keys(fake.labels("key"))[0]!;
});

afterEach(() => fake.reset());

afterAll(async () => {
  await Promise.all([store.close(), other.close()]);
  await fake.stop();
});

/** Every label that is on some version, with AWS's own left out that always are. */
const labels = () => Object.values(fake.labels("key")).flat().sort();

describe("a candidate of a secret that is there", () => {
  it("is a version that bears AWSPENDING and a mark, in the secret itself", async () => {
    const { version } = await store.putCandidate(key, new Secret("canary-new"), MINE, never());

    expect(fake.labels("key")).toEqual({
      [old]: ["AWSCURRENT"],
      [version!]: expect.arrayContaining(["AWSPENDING", "mcp-run/r-mine/20260304T050607.089Z/alice@laptop"]),
    });
    expect(fake.counts.CreateSecret).toBeUndefined();
  });

  it("is of one of two rotations that begin at once", async () => {
    for (let round = 0; round < 20; round++) {
      fake.add(`raced-${round}`, "canary-old");
      const raced = refTo(`raced-${round}`);

      const outcomes = await Promise.all([
        settled(store.putCandidate(raced, new Secret("canary-mine"), MINE, never())),
        settled(other.putCandidate(raced, new Secret("canary-theirs"), THEIRS, never())),
      ]);

      const losers = outcomes.filter((outcome) => outcome instanceof Error);
      expect(losers).toHaveLength(1);
      expectConflict(losers[0]);
      const winner = outcomes[0] === losers[0] ? THEIRS : MINE;
      expect(await store.findCandidate(raced, never())).toMatchObject(winner);
      const pending = Object.values(fake.labels(raced.path)).filter((borne) => borne.includes("AWSPENDING"));
      expect(pending).toHaveLength(1);
      // Of the loser nothing is left that anybody finds by a label.
      expect(Object.keys(fake.labels(raced.path))).toHaveLength(2);
    }
  });

  it("is not taken away by a rotation that looked before it was there", async () => {
    const theirs = "22222222-3333-4444-5555-666666666666";
    fake.instead = ({ operation }) => {
      if (operation !== "PutSecretValue") return undefined;
      // Between our look and our write somebody else goes all the way.
      fake.instead = () => undefined;
      putVersionOfOthers("key", theirs, writeMark(THEIRS));
      moveLabelOfOthers("key", "AWSPENDING", theirs);
      return undefined;
    };

    const refused = await settled(store.putCandidate(key, new Secret("canary-new"), MINE, never()));

    expectConflict(refused);
    expect((refused as ProviderError).reason).toContain("rotation r-theirs of bob@desk");
    expect(fake.labels("key")).toEqual({
      [old]: ["AWSCURRENT"],
      [theirs]: [writeMark(THEIRS), "AWSPENDING"],
    });
  });

  it("takes no label away that another tool has put, and says what it is", async () => {
    const foreign = "11111111-2222-3333-4444-555555555555";
    putVersionOfOthers("key", foreign, "AWSPENDING");

    const attempts = [
      store.putCandidate(key, new Secret("canary-new"), MINE, never()),
      store.findCandidate(key, never()),
      store.discard(key, MINE.rotationId, never()),
      store.promote(key, MINE.rotationId, old, never()),
    ].map(settled);

    for (const attempt of attempts) {
      const refused = (await attempt) as ProviderError;
      expectConflict(refused);
      expect(refused.reason).toBe(
        `AWSPENDING is on version ${foreign}, which another rotation has put: AWS's own, or another tool's`,
      );
    }
    expect(fake.labels("key")[foreign]).toEqual(["AWSPENDING"]);
  });

  it("names an empty version that a failed rotation of AWS has left, and how to clear it", async () => {
    const empty = fake.addEmptyVersion("key", "AWSPENDING");

    const refused = (await settled(
      store.putCandidate(key, new Secret("canary-new"), MINE, never()),
    )) as ProviderError;

    expectConflict(refused);
    expect(refused.reason).toBe(
      `AWSPENDING is on version ${empty}, which has no value: a rotation of AWS itself that failed`,
    );
    expect(refused.hint).toContain(
      `aws secretsmanager update-secret-version-stage --secret-id key --version-stage AWSPENDING --remove-from-version-id ${empty}`,
    );
  });

  it("takes AWSPENDING over from the current version, where a rotation of AWS leaves it", async () => {
    moveLabelOfOthers("key", "AWSPENDING", old);
    expect(await store.findCandidate(key, never())).toBeUndefined();

    await store.putCandidate(key, new Secret("canary-new"), MINE, never());
    await store.promote(key, MINE.rotationId, old, never());

    expect(revealed(await read(store, key))).toBe("canary-new");
    expect(labels()).toEqual(["AWSCURRENT", "AWSPREVIOUS"]);
  });

  it("can be put again after it was discarded", async () => {
    const first = await store.putCandidate(key, new Secret("canary-new"), MINE, never());
    await store.discard(key, MINE.rotationId, never());

    const second = await store.putCandidate(key, new Secret("canary-new"), MINE, never());

    expect(second.version).toBe(first.version);
    expect(await store.findCandidate(key, never())).toMatchObject(MINE);
  });

  it("is found, promoted and discarded by the ARN too", async () => {
    const arn = fake.add("by-arn", "canary-old");
    const ref = refTo(arn);
    await store.putCandidate(ref, new Secret("canary-new"), MINE, never());

    expect(await store.findCandidate(refTo("by-arn"), never())).toMatchObject(MINE);
    expect(await store.discard(refTo("by-arn"), MINE.rotationId, never())).toBe(true);
  });
});

describe("a candidate of a secret that is not there", () => {
  it("waits in a secret of its own, which is gone after the promotion", async () => {
    await store.putCandidate(refTo("fresh"), new Secret("canary-new"), MINE, never());
    expect(revealed(await read(store, refTo("fresh-mcp-run-pending")))).toBe("canary-new");

    await store.promote(refTo("fresh"), MINE.rotationId, undefined, never());

    expect(revealed(await read(store, refTo("fresh")))).toBe("canary-new");
    expect(await read(store, refTo("fresh-mcp-run-pending"))).toMatchObject({ failure: "missing" });
  });

  it("is told to come back while AWS erases the one before", async () => {
    fake.instead = ({ operation }) =>
      operation === "CreateSecret"
        ? awsError("InvalidRequestException", "a secret with this name is already scheduled for deletion.")
        : undefined;

    expect(
      await settled(store.putCandidate(refTo("fresh"), new Secret("canary"), MINE, never())),
    ).toMatchObject({
      failure: "conflict",
      reason: "AWS is still erasing fresh-mcp-run-pending of an earlier rotation",
      hint: "again in a minute",
    });
  });

  it("can't be named by an ARN, which only a secret that is there has", async () => {
    const ref = refTo("arn:aws:secretsmanager:eu-west-1:123456789012:secret:none-a1b2c3");

    expect(await settled(store.putCandidate(ref, new Secret("canary"), MINE, never()))).toMatchObject({
      failure: "missing",
      reason: "there is no secret of this ARN",
    });
  });
});

describe("a step that crashes", () => {
  interface Step {
    /** What has gone before. */
    before(): Promise<unknown>;
    step(): Promise<unknown>;
    /** What has to hold when the step was repeated. */
    after(): Promise<void>;
  }

  const put = () => store.putCandidate(key, new Secret("canary-new"), MINE, never());
  const promote = () => store.promote(key, MINE.rotationId, old, never());
  const fresh = refTo("fresh");
  const putFresh = () => store.putCandidate(fresh, new Secret("canary-new"), MINE, never());
  const promoteFresh = () => store.promote(fresh, MINE.rotationId, undefined, never());
  let now: string;

  const STEPS: Readonly<Record<string, Step>> = {
    putCandidate: {
      before: async () => undefined,
      step: put,
      async after() {
        expect(labels()).toEqual(["AWSCURRENT", "AWSPENDING", writeMark(MINE)].sort());
        expect((await store.fetchCandidate(key, MINE.rotationId, never())).value.reveal()).toBe("canary-new");
      },
    },
    promote: {
      before: put,
      step: promote,
      async after() {
        expect(revealed(await read(store, key))).toBe("canary-new");
        expect(labels()).toEqual(["AWSCURRENT", "AWSPREVIOUS"]);
      },
    },
    discard: {
      before: put,
      step: () => store.discard(key, MINE.rotationId, never()),
      async after() {
        expect(labels()).toEqual(["AWSCURRENT"]);
      },
    },
    restore: {
      async before() {
        await put();
        now = (await promote()).version;
      },
      step: () => store.restore(key, old, now, never()),
      async after() {
        expect(revealed(await read(store, key))).toBe("canary-old");
        expect(labels()).toEqual(["AWSCURRENT", "AWSPREVIOUS"]);
      },
    },
    retire: {
      async before() {
        await put();
        await promote();
      },
      step: () => store.retire(key, old, never()),
      async after() {
        expect(labels()).toEqual(["AWSCURRENT"]);
      },
    },
    "putCandidate where there is no secret": {
      before: async () => undefined,
      step: putFresh,
      async after() {
        expect((await store.fetchCandidate(fresh, MINE.rotationId, never())).value.reveal()).toBe(
          "canary-new",
        );
      },
    },
    "promote where there is no secret": {
      before: putFresh,
      step: promoteFresh,
      async after() {
        expect(revealed(await read(store, fresh))).toBe("canary-new");
        expect((await store.list(never())).map(({ path }) => path)).toEqual(["key", "fresh"]);
        expect(await read(store, refTo("fresh-mcp-run-pending"))).toMatchObject({ failure: "missing" });
      },
    },
    "discard where there is no secret": {
      before: putFresh,
      step: () => store.discard(fresh, MINE.rotationId, never()),
      async after() {
        expect(await store.findCandidate(fresh, never())).toBeUndefined();
        expect(await read(store, refTo("fresh-mcp-run-pending"))).toMatchObject({ failure: "missing" });
      },
    },
  };

  const cases = Object.keys(STEPS).flatMap((name) => [
    [name, "is lost", false] as const,
    [name, "is carried out, and its answer lost", true] as const,
  ]);

  it.each(cases)(
    "%s, whichever request of it %s, is finished by the same step once more",
    async (name, _how, isCarriedOut) => {
      const { before, ...more } = STEPS[name]!;
      const requests = await cutOffAtEachRequest(fake, isCarriedOut, {
        ...more,
        async before() {
          fake.add("key", "canary-old");
          old = Object.keys(fake.labels("key"))[0]!;
          await before();
        },
      });
      expect(requests).toBeGreaterThanOrEqual(2);
    },
  );
});

describe("a write", () => {
  it("reports a write as done whose answer got lost, and changes nothing twice", async () => {
    let lost = 0;
    fake.instead = (request) => {
      if (request.operation !== "UpdateSecretVersionStage" || lost++ > 0) return undefined;
      fake.carryOut(request);
      return awsError("InternalFailure", "", 500);
    };

    const { version } = await store.put(key, new Secret("canary-new"), never(), { version: old });

    expect(await store.currentVersion(key, never())).toBe(version);
    expect(labels()).toEqual(["AWSCURRENT", "AWSPREVIOUS"]);
  });
});

describe("a mark", () => {
  it.each(["alice@laptop", "CORP\\alice@host", "Zoë 🦊@host", "a=b/c"])(
    "keeps whose it is: %s",
    (operator) => {
      expect(readMark(writeMark({ ...MINE, operator }))).toEqual({ ...MINE, operator });
    },
  );

  it("has room for a label of AWS, whatever the operator is called", () => {
    const mark = writeMark({ ...MINE, operator: "ü".repeat(400) });

    expect(mark.length).toBeLessThanOrEqual(256);
    expect(readMark(mark)?.operator).toMatch(/^ü+$/);
  });

  it("is read out of nothing else", () => {
    for (const text of ["", "AWSPENDING", "mcp-run-next", "mcp-run/x", "mcp-run/x/20260304T05/y"]) {
      expect(readMark(text)).toBeUndefined();
    }
  });

  it("takes no rotation id that is no plain word", async () => {
    expect(
      await settled(store.putCandidate(key, new Secret("canary"), { ...MINE, rotationId: "a/b" }, never())),
    ).toMatchObject({ failure: "invalid" });
  });
});

/** Somebody else's PutSecretValue and UpdateSecretVersionStage. */
function putVersionOfOthers(name: string, version: string, label: string): void {
  fake.carryOut({
    operation: "PutSecretValue",
    input: {
      SecretId: name,
      ClientRequestToken: version,
      SecretString: "canary-foreign",
      VersionStages: [label],
    },
  });
}

function moveLabelOfOthers(name: string, label: string, to: string): void {
  fake.carryOut({
    operation: "UpdateSecretVersionStage",
    input: { SecretId: name, VersionStage: label, MoveToVersionId: to },
  });
}
