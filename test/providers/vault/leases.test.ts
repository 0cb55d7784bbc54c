import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { VaultProvider } from "../../../providers/vault/provider.ts";
import type { FetchedSecret, Lease } from "../../../src/secrets/provider.ts";
import { FakeVault } from "../../helpers/fake-vault.ts";
import { until } from "../../helpers/processes.ts";
import type { TestContext } from "../../helpers/provider-context.ts";
import { VirtualClock } from "../../helpers/virtual-clock.ts";
import { never, printed, read, settled } from "../contract.ts";
import { openVault, openWithToken, ref } from "./harness.ts";

const HOUR = 3_600_000;
const APP = ref("database/creds/app");

let server: FakeVault;
let clock: VirtualClock;
let provider: VaultProvider;
let context: TestContext;

beforeEach(async () => {
  server = await FakeVault.start();
  clock = new VirtualClock();
});
afterEach(async () => {
  await provider.close();
  await server.stop();
});

const logIn = async () => {
  ({ provider, context } = await openVault(
    { address: server.url, auth: { method: "userpass", username: "a", password: "env:PW" } },
    { refs: { "env:PW": "canary-password" }, clock },
  ));
};
const useToken = async () => {
  ({ provider, context } = await openWithToken(server.url, "canary-root", {}, { clock }));
};
const leaseOf = async (one = APP): Promise<Lease> => {
  const { lease } = (await read(provider, one)) as FetchedSecret;
  if (!lease) throw new Error("it has no lease");
  return lease;
};
const renewals = () => server.asked("auth/token/renew-self").length;
/** Moves time on, at most so far, until the server has been asked so many times for another term of the token. */
const advanceUntilRenewed = async (times: number, atMost: number) => {
  // In steps shorter than a request may take by the same clock.
  for (let gone = 0; gone < atMost && renewals() < times; gone += 10_000) {
    await clock.advance(10_000);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await until(`${times} renewals`, () => renewals() >= times);
  expect(renewals()).toBe(times);
};

describe("a lease", () => {
  it("comes with the value, one for all refs of one document", async () => {
    await logIn();
    const asked = [APP, ref("database/creds/app"), ref("database/creds/other")] as const;

    const answer = await provider.fetch(asked, never());

    const leases = asked.map((one) => (answer.get(one) as FetchedSecret).lease);
    expect(leases[0]).toBe(leases[1]);
    expect(leases[0]).not.toBe(leases[2]);
    expect(leases[0]?.term).toEqual({ durationMs: HOUR, renewable: true });
    expect(server.leases.size).toBe(2);
  });

  it("is renewed, by what the server says then", async () => {
    await logIn();
    const lease = await leaseOf();
    server.lease.seconds = 60;

    expect(await lease.renew(never())).toEqual({ durationMs: 60_000, renewable: true });

    expect(lease.term).toEqual({ durationMs: 60_000, renewable: true });
    expect(server.requests.at(-1)?.body).toMatchObject({ increment: 3600 });
  });

  it("is revoked before that is said", async () => {
    await logIn();
    const lease = await leaseOf();

    await lease.revoke(never());

    expect(server.leases.size).toBe(0);
    expect(server.requests.at(-1)?.body).toMatchObject({ sync: true });
    await expect(lease.revoke(never())).resolves.toBeUndefined();
  });

  it("that has ended can't be renewed", async () => {
    await logIn();
    const lease = await leaseOf();
    server.leases.clear();

    expect(await settled(lease.renew(never()))).toMatchObject({
      failure: "missing",
      reason: "the lease has ended (400)",
    });
  });

  it("that a policy does not let us revoke says which", async () => {
    server.login.denied.push("sys/leases/");
    await logIn();
    const lease = await leaseOf();

    const refusal = await settled(lease.revoke(never()));

    expect(refusal).toMatchObject({
      failure: "denied",
      hint: expect.stringContaining('path "sys/leases/revoke" { capabilities = ["update"] }'),
    });
    expect(printed(refusal)).not.toContain("canary");
  });

  it("shows nothing of itself", async () => {
    await logIn();
    const lease = await leaseOf();

    expect(printed(lease)).not.toContain("canary");
    expect(printed(lease)).not.toContain("database/creds/app/");
  });

  it("ends with the provider, by the login that it hangs on", async () => {
    await logIn();
    await leaseOf();

    await provider.close();

    expect(server.leases.size).toBe(0);
    expect(server.asked("sys/leases/")).toEqual([]);
  });

  it("ends with the provider also where the token is not ours", async () => {
    await useToken();
    await leaseOf();
    await (await leaseOf(ref("database/creds/other"))).revoke(never());

    await provider.close();

    expect(server.leases.size).toBe(0);
    expect(server.tokens.has("canary-root")).toBe(true);
    expect(server.asked("sys/leases/revoke")).toHaveLength(2);
  });

  it("is no longer than the token that it hangs on, where that can't be renewed", async () => {
    Object.assign(server.login, { ttl: 600, renewable: false });
    await logIn();

    const lease = await leaseOf();

    expect(lease.term.durationMs).toBe(600_000);
  });
});

describe("a login with leases", () => {
  it("is renewed at two thirds of its time, again and again", async () => {
    await logIn();
    await leaseOf();

    for (const times of [1, 2, 3]) {
      await clock.advance(HOUR * 0.65);
      expect(renewals()).toBe(times - 1);
      await advanceUntilRenewed(times, HOUR * 0.05);
    }
  });

  it("is not renewed while nobody needs it, nor after the last lease is gone", async () => {
    await logIn();
    await read(provider, ref("secret/mcp/key"));
    expect(clock.pending).toBe(0);
    const [first, second] = [await leaseOf(), await leaseOf(ref("database/creds/other"))];
    await first.revoke(never());
    expect(clock.pending).toBe(1);

    await second.revoke(never());

    expect(clock.pending).toBe(0);
  });

  it("has no timer left after the end", async () => {
    await logIn();
    await leaseOf();

    await provider.close();

    expect(clock.pending).toBe(0);
  });

  it("is asked for again when the server was out of reach, and said so", async () => {
    await logIn();
    await leaseOf();
    server.before = ({ path }) =>
      path.endsWith("renew-self") ? { status: 500, body: {}, headers: { "retry-after": "60" } } : undefined;
    await advanceUntilRenewed(1, HOUR);
    await until("it is said", () => context.events.length > 0);
    expect(context.events).toEqual([
      { type: "warning", message: expect.stringContaining("was not renewed, and secrets with a lease end") },
    ]);
    server.before = () => undefined;

    await advanceUntilRenewed(2, HOUR * 0.3);
  });

  it("that has met its last end shortens its leases", async () => {
    await logIn();
    const lease = await leaseOf();
    server.before = ({ path }) =>
      path.endsWith("renew-self")
        ? {
            status: 200,
            body: { auth: { client_token: "canary-login-1", lease_duration: 900, renewable: true } },
          }
        : undefined;
    await advanceUntilRenewed(1, HOUR);

    expect((await lease.renew(never())).durationMs).toBeLessThanOrEqual(900_000);
  });

  it("is renewed too where the token was given to us, as far as it says how long it lives", async () => {
    server.tokens.set("canary-root", { ttl: 3600, renewable: true, denied: [] });
    await useToken();
    await leaseOf();
    await until("it has looked at its token", () => server.asked("auth/token/").length > 0);

    await advanceUntilRenewed(1, HOUR);
  });

  it("that lives for more than 24.8 days does not spin", async () => {
    server.login.ttl = 60 * 24 * 3600;
    await logIn();
    await leaseOf();

    await clock.advance(40 * 24 * HOUR - 60_000);
    expect(renewals()).toBe(0);

    await advanceUntilRenewed(1, 120_000);
  });
});
