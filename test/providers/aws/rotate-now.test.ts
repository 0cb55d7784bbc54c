/** A rotation of Secrets Manager itself: begun once, waited for, and never called undone when it may be done. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ATTEMPT_MS } from "../../../providers/aws/transport.ts";
import { isSelfRotating, type LiveRotation } from "../../../src/secrets/provider.ts";
import { awsError, FakeSecretsManager } from "../../helpers/fake-secrets-manager.ts";
import { until } from "../../helpers/processes.ts";
import { VirtualClock } from "../../helpers/virtual-clock.ts";
import { never, settled } from "../contract.ts";
import { openAws, refTo } from "./harness.ts";

const NAME = "prod/db";
const ID = "20261121-093015-k3x9ab";
let server: FakeSecretsManager;
let clock: VirtualClock;
let close: () => Promise<void>;

beforeAll(async () => {
  server = await FakeSecretsManager.start();
});
afterAll(() => server.stop());
beforeEach(() => {
  server.reset();
  clock = new VirtualClock();
  server.add(NAME, '{"password":"canary-old"}');
});
afterEach(() => close());

async function ownRotation() {
  const provider = await openAws({ endpoint: server.url }, { clock });
  close = () => provider.close();
  if (!isSelfRotating(provider)) throw new Error("it replaces nothing by itself");
  return provider.ownRotation(refTo(NAME), never());
}

async function rotation(): Promise<LiveRotation & { readonly planned: string }> {
  server.enableRotation(NAME);
  const own = (await ownRotation()) as LiveRotation;
  const { version = "" } = await own.read(never());
  return { ...own, planned: version };
}

const pending = () =>
  Object.entries(server.labels(NAME)).find(([, labels]) => labels.join() === "AWSPENDING")?.[0];
const finish = () => {
  const VersionId = pending() ?? "";
  const change = (operation: string, input: object) =>
    server.carryOut({ operation, input: { SecretId: NAME, ...input } });
  change("UpdateSecretVersionStage", {
    VersionStage: "AWSCURRENT",
    MoveToVersionId: VersionId,
    RemoveFromVersionId: Object.keys(server.labels(NAME))[0],
  });
  return VersionId;
};
/** Time goes on until it is settled: requests take real time, and their limits with them; pauses do not. */
async function outcomeOf<T>(work: Promise<T>): Promise<T | Error> {
  let outcome: T | Error | undefined;
  void settled(work).then((result) => {
    outcome = result as T | Error;
  });
  await until("it has ended", () => {
    const isAsking = clock.nextIn === ATTEMPT_MS;
    if (outcome === undefined && !isAsking) void clock.advance(clock.nextIn ?? 0);
    return outcome !== undefined;
  });
  return outcome as T | Error;
}

describe("a rotation of AWS itself", () => {
  it("is refused for a secret that AWS does not rotate", async () => {
    expect(await settled(ownRotation())).toMatchObject({
      failure: "invalid",
      reason: "AWS does not rotate it: no rotation is enabled for it",
    });
  });

  it("is begun at once, under an id that comes from the rotation's", async () => {
    const { rotate, planned } = await rotation();
    const work = rotate(ID, planned, never());
    await until("it has begun", () => pending() !== undefined);
    const version = finish();

    expect(await outcomeOf(work)).toEqual({ version });
    expect(server.requests.find(({ operation }) => operation === "RotateSecret")?.input).toEqual({
      SecretId: NAME,
      ClientRequestToken: version,
      RotateImmediately: true,
    });
    // Whoever asks again gets what has come of it.
    expect(await rotate(ID, planned, never())).toEqual({ version });
    expect(server.counts.RotateSecret).toBe(1);
  });

  it("is waited for, and not begun again, by whoever goes on with it", async () => {
    const { rotate, planned } = await rotation();
    const given = new AbortController();
    const first = settled(rotate(ID, planned, given.signal));
    await until("it has begun", () => pending() !== undefined);
    given.abort(new Error("killed"));
    await first;

    const second = rotate(ID, planned, never());
    const version = finish();

    expect(await outcomeOf(second)).toEqual({ version });
    expect(server.counts.RotateSecret).toBe(1);
  });

  it("has begun although its answer got lost", async () => {
    const { rotate, planned } = await rotation();
    server.instead = (seen) => {
      if (seen.operation !== "RotateSecret") return undefined;
      server.carryOut(seen);
      return awsError("InternalServiceError", "", 500);
    };
    const work = rotate(ID, planned, never());
    await until("it has begun", () => pending() !== undefined);
    const version = finish();

    expect(await outcomeOf(work)).toEqual({ version });
    expect(server.counts.RotateSecret).toBe(1);
  });

  it.each([
    ["has made no value", () => undefined],
    [
      "has made a value and has not finished",
      () =>
        server.carryOut({
          operation: "PutSecretValue",
          input: {
            SecretId: NAME,
            ClientRequestToken: pending(),
            SecretString: "canary-new",
            VersionStages: ["AWSPENDING"],
          },
        }),
    ],
  ])("is given up after five minutes, with how far its function came: it %s", async (words, act) => {
    const { rotate, planned } = await rotation();
    const work = rotate(ID, planned, never());
    await until("it has begun", () => pending() !== undefined);
    act();

    expect(await outcomeOf(work)).toMatchObject({
      failure: "unavailable",
      reason: `AWSPENDING is still on version ${pending()} after 300 s: its function ${words}`,
    });
  });

  it("that somebody else takes AWSPENDING off is not known to have changed nothing", async () => {
    const { rotate, planned } = await rotation();
    const work = rotate(ID, planned, never());
    // Its first pause: what was asked before it is answered.
    await until("it was seen, and is waited for", () => clock.nextIn === 500);
    server.carryOut({
      operation: "UpdateSecretVersionStage",
      input: { SecretId: NAME, VersionStage: "AWSPENDING", RemoveFromVersionId: pending() },
    });

    expect(await outcomeOf(work)).toMatchObject({
      failure: "unavailable",
      reason: expect.stringContaining("AWSPENDING was taken off version"),
    });
  });

  it("that nobody may look at any more is not known to have changed nothing", async () => {
    const { rotate, planned } = await rotation();
    server.instead = ({ operation }) =>
      operation === "DescribeSecret" && pending() !== undefined
        ? awsError("AccessDeniedException", "")
        : undefined;

    expect(await outcomeOf(rotate(ID, planned, never()))).toMatchObject({
      failure: "unavailable",
      reason: expect.stringContaining("it is not known what has come of its rotation: access is denied"),
    });
  });

  it("has changed nothing where it is denied, or planned from another version", async () => {
    const { rotate, planned } = await rotation();
    expect(await settled(rotate(ID, "0".repeat(36), never()))).toMatchObject({ failure: "conflict" });
    server.instead = ({ operation }) =>
      operation === "RotateSecret" ? awsError("AccessDeniedException", "") : undefined;

    expect(await settled(rotate(ID, planned, never()))).toMatchObject({ failure: "denied" });
    expect(pending()).toBeUndefined();
  });

  it("may not begin while another one is under way", async () => {
    const { mayBegin, rotate, planned } = await rotation();
    server.addEmptyVersion(NAME, "AWSPENDING");

    for (const begin of [mayBegin, () => rotate(ID, planned, never())]) {
      expect(await settled(begin?.(never()) as Promise<unknown>)).toMatchObject({
        failure: "conflict",
        reason: expect.stringContaining("a rotation of AWS itself that failed"),
      });
    }
    expect(server.counts.RotateSecret).toBeUndefined();
  });

  it("retires the version before by its labels, and never the current one", async () => {
    const { rotate, retire, planned } = await rotation();
    const work = rotate(ID, planned, never());
    await until("it has begun", () => pending() !== undefined);
    const version = finish();
    await outcomeOf(work);

    expect(await retire?.(planned, never())).toBe(true);
    expect(server.labels(NAME)[planned] ?? []).toEqual([]);
    expect(await retire?.(planned, never())).toBe(false);
    expect(await settled(retire?.(version, never()) as Promise<unknown>)).toMatchObject({
      failure: "conflict",
    });
  });
});
