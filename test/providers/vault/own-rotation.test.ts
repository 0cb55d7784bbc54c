/** What Vault replaces by itself: told from what it does not, and asked for what changes something once. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { VaultProvider } from "../../../providers/vault/provider.ts";
import type { LeasedKeys, LiveRotation } from "../../../src/secrets/provider.ts";
import { type FakeAnswer, type FakeRequest, FakeVault } from "../../helpers/fake-vault.ts";
import { never, settled } from "../contract.ts";
import { openWithToken, ref } from "./harness.ts";

const BEFORE = "2026-11-21T09:00:00.123456789Z";
const AFTER = "2026-11-21T10:00:00.987654321Z";
let server: FakeVault;
let provider: VaultProvider;
/** What the static role answers to reads, and to being rotated. */
let rotatedAt: string | undefined;
let onRotate: (request: FakeRequest) => FakeAnswer;
let leases: FakeAnswer;

beforeEach(async () => {
  server = await FakeVault.start();
  ({ provider } = await openWithToken(server.url, "canary-root"));
  rotatedAt = BEFORE;
  onRotate = () => {
    rotatedAt = AFTER;
    return { status: 204 };
  };
  leases = { status: 200, body: { data: { keys: ["one", "two", "folder/"] } } };
  server.before = (request) => {
    if (request.path.startsWith("database/rotate-role/")) return onRotate(request);
    if (request.path.startsWith("sys/leases/lookup/")) return leases;
    if (!request.path.startsWith("database/static-creds/")) return undefined;
    const data = { password: "canary-password", last_vault_rotation: rotatedAt };
    return { status: 200, body: { data } };
  };
});
afterEach(async () => {
  await provider.close();
  await server.stop();
});

const liveOf = async (path = "database/static-creds/app") =>
  (await provider.ownRotation(ref(path), never())) as LiveRotation;
const leasesOf = async (path = "database/creds/app") =>
  (await provider.ownRotation(ref(path), never())) as LeasedKeys;

describe("what Vault replaces by itself", () => {
  it("is a static role, and everything that is lent", async () => {
    expect((await liveOf()).mode).toBe("vault-static-role");
    expect((await leasesOf()).mode).toBe("vault-lease");
  });

  it.each(["secret/app", "kv1/app"])("is not what lies in a KV store: %s", async (path) => {
    expect(await settled(provider.ownRotation(ref(path), never()))).toMatchObject({
      failure: "invalid",
      reason: expect.stringContaining("is a KV store, which keeps keys and makes none"),
      hint: "`rotate:` with `generate`, `hook` or `console` instead of `backend`",
    });
  });
});

describe("a static role", () => {
  it("has the time of its last rotation for a version, and another one when it is rotated", async () => {
    const live = await liveOf();
    const { version, createdAt, place } = await live.read(never());

    expect(version).toBe(BEFORE);
    expect(createdAt).toEqual(new Date(BEFORE));
    expect(place).toContain("/v1/database/static-creds/app");
    expect(await live.rotate("id", BEFORE, never())).toEqual({ version: AFTER });
    expect(server.asked("database/rotate-role/")).toEqual(["POST database/rotate-role/app"]);
  });

  it("stays one name in the path of the request", async () => {
    await (await liveOf("database/static-creds/a?b#c%2e")).rotate("id", BEFORE, never());

    expect(server.asked("database/rotate-role/")).toEqual(["POST database/rotate-role/a?b#c%2e"]);
  });

  it("is not rotated where somebody else has just done so", async () => {
    const live = await liveOf();
    rotatedAt = AFTER;

    expect(await settled(live.rotate("id", BEFORE, never()))).toMatchObject({ failure: "conflict" });
    expect(server.asked("database/rotate-role/")).toEqual([]);
  });

  it.each([
    [403, "denied"],
    [400, "invalid"],
    [500, "unavailable"],
    [503, "unavailable"],
  ])("that answers %i is asked once, and is %s", async (status, failure) => {
    const live = await liveOf();
    onRotate = () => ({ status, body: { errors: ["canary-password"] } });

    const outcome = await settled(live.rotate("id", BEFORE, never()));

    expect(outcome).toMatchObject({ failure });
    expect(String(outcome)).not.toContain("canary");
    expect(server.asked("database/rotate-role/")).toHaveLength(1);
  });

  it("that is rotated and can't be read any more is not known to be as it was", async () => {
    const live = await liveOf();
    const { before } = server;
    onRotate = () => {
      server.before = (request) =>
        request.path.startsWith("database/static-creds/")
          ? { status: 403, body: { errors: [] } }
          : before(request);
      return { status: 204 };
    };

    expect(await settled(live.rotate("id", BEFORE, never()))).toMatchObject({ failure: "unavailable" });
  });

  it.each([undefined, "yesterday", "x".repeat(65)])(
    "without a time that can be read is none: %s",
    async (time) => {
      rotatedAt = time;

      expect(await settled((await liveOf()).read(never()))).toMatchObject({
        failure: "invalid",
        reason: "its answer does not say when it was rotated last",
      });
    },
  );
});

describe("leases", () => {
  it("are listed with their whole ids, without those of other paths", async () => {
    expect(await (await leasesOf()).list(never())).toEqual([
      "database/creds/app/one",
      "database/creds/app/two",
    ]);
    expect(server.asked("sys/leases/")).toEqual(["LIST sys/leases/lookup/database/creds/app"]);
  });

  it("are none where nothing is lent", async () => {
    leases = { status: 404, body: { errors: [] } };

    expect(await (await leasesOf()).list(never())).toEqual([]);
  });

  it("that may not be listed are refused with the line of the policy, which takes sudo", async () => {
    leases = { status: 403, body: { errors: ["permission denied"] } };

    expect(await settled((await leasesOf()).list(never()))).toMatchObject({
      failure: "denied",
      hint: 'a policy with path "sys/leases/lookup/database/creds/app" { capabilities = ["list", "sudo"] }',
    });
  });

  it("that are more than a plan holds are refused", async () => {
    leases = { status: 200, body: { data: { keys: Array.from({ length: 10_001 }, (_, at) => `l${at}`) } } };

    expect(await settled((await leasesOf()).list(never()))).toMatchObject({
      failure: "invalid",
      reason: "there are 10001 leases, too many to be ended one by one",
    });
  });

  it("are ended by their id, at once, and never by a prefix", async () => {
    await (await leasesOf()).revoke("database/creds/app/one", never());

    const [request] = server.requests.filter(({ path }) => path.startsWith("sys/leases/"));
    expect(request).toMatchObject({
      path: "sys/leases/revoke",
      body: { lease_id: "database/creds/app/one", sync: true },
    });
    expect(server.asked("sys/leases/revoke-prefix")).toEqual([]);
  });
});
