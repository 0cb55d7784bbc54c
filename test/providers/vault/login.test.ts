import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { VaultProvider } from "../../../providers/vault/provider.ts";
import { FakeVault } from "../../helpers/fake-vault.ts";
import { VirtualClock } from "../../helpers/virtual-clock.ts";
import { never, printed, read, revealed, settled } from "../contract.ts";
import { documentOf, type Opened, openVault, openWithToken, ref } from "./harness.ts";

const KEY = ref("secret/mcp/key");
const HOUR = 3_600_000;

let server: FakeVault;
let folder: string;
const opened: VaultProvider[] = [];

beforeEach(async () => {
  server = await FakeVault.start();
  server.kv2.put("mcp/key", { value: "canary-key" });
  folder = await mkdtemp(join(tmpdir(), "vault-"));
});
afterEach(async () => {
  for (const provider of opened.splice(0)) await provider.close();
  await server.stop();
  await rm(folder, { recursive: true });
});

const track = ({ provider, context }: Opened) => {
  opened.push(provider);
  return { provider, context };
};
const APPROLE = { method: "approle", roleId: "role-1", secretId: "env:SECRET_ID" };
const openApprole = async (secretId = "canary-secret-id", auth: object = {}, clock = new VirtualClock()) =>
  track(
    await openVault(
      { address: server.url, auth: { ...APPROLE, ...auth } },
      { refs: { "env:SECRET_ID": secretId }, clock },
    ),
  );
const expectKey = async (provider: VaultProvider) =>
  expect(revealed(await read(provider, KEY))).toBe(documentOf("canary-key"));

describe("a login", () => {
  it("waits for the first request, and is one for all of them", async () => {
    const { provider } = await openApprole();
    expect(server.asked()).toEqual([]);

    await Promise.all([expectKey(provider), expectKey(provider), expectKey(provider)]);

    expect(server.asked("auth/")).toEqual(["POST auth/approle/login"]);
  });

  it("is taken back at the end, once", async () => {
    const { provider } = await openApprole();
    await expectKey(provider);

    await provider.close();
    await provider.close();

    expect(server.asked("auth/token/")).toEqual(["POST auth/token/revoke-self"]);
    expect([...server.tokens.keys()]).toEqual(["canary-root"]);
  });

  it("is taken back also where the end comes before its answer", async () => {
    const { provider } = await openApprole();
    const interrupt = new AbortController();
    let letAnswer: () => void = () => undefined;
    const asked = new Promise<void>((tell) => {
      server.delay = async ({ path }) => {
        if (!path.endsWith("/login")) return;
        tell();
        await new Promise<void>((resolve) => {
          letAnswer = resolve;
        });
      };
    });
    const reading = settled(provider.fetch([KEY], interrupt.signal));
    await asked;
    interrupt.abort(new Error("the session has ended"));
    await reading;

    const closed = provider.close();
    letAnswer();
    await closed;

    expect(server.asked()).toEqual(["POST auth/approle/login", "POST auth/token/revoke-self"]);
    expect([...server.tokens.keys()]).toEqual(["canary-root"]);
  });

  it("is never taken back where the token was given to us", async () => {
    const { provider } = track(await openWithToken(server.url, "canary-root"));
    await expectKey(provider);

    await provider.close();

    expect(server.asked("auth/")).toEqual([]);
  });

  it("does not keep the end waiting for a server that is silent", async () => {
    const clock = new VirtualClock();
    const { provider } = await openApprole(undefined, {}, clock);
    await expectKey(provider);
    server.before = () => "never";

    let isClosed = false;
    const closed = provider.close().then(() => {
      isClosed = true;
    });
    await clock.advance(1_400);
    expect(isClosed).toBe(false);
    await clock.advance(200);

    await closed;
  });

  it("is never sent twice when it fails, and never by each of many", async () => {
    server.before = ({ path }) => (path.startsWith("auth/") ? { status: 503, body: {} } : undefined);
    const { provider } = await openApprole();

    const refusals = await Promise.all([1, 2, 3].map(() => settled(read(provider, KEY))));

    for (const refusal of refusals) expect(refusal).toMatchObject({ failure: "unavailable" });
    expect(server.asked("auth/")).toHaveLength(1);
  });

  it("is repeated where it was turned away before it began", async () => {
    let times = 0;
    server.before = ({ path }) =>
      path.startsWith("auth/") && times++ === 0
        ? { status: 429, body: {}, headers: { "retry-after": "0" } }
        : undefined;
    const { provider } = track(
      await openVault(
        { address: server.url, auth: APPROLE },
        { refs: { "env:SECRET_ID": "canary-secret-id" } },
      ),
    );

    await expectKey(provider);
  });

  it("is done once more, and once only, when its token is not known any more", async () => {
    const { provider } = await openApprole();
    await expectKey(provider);
    server.tokens.delete("canary-login-1");

    await Promise.all(Array.from({ length: 5 }, () => expectKey(provider)));

    expect(server.asked("auth/approle")).toHaveLength(2);
  });

  it("is not repeated for a refusal that is about the path", async () => {
    server.login.denied.push("secret/");
    const { provider } = await openApprole();

    const answer = await read(provider, KEY);

    expect(answer).toMatchObject({
      failure: "denied",
      reason: "permission denied (403) to read secret/data/mcp/key",
    });
    expect(server.asked("auth/approle")).toHaveLength(1);
  });

  it("gives up when the new token is no good either", async () => {
    const { provider } = await openApprole();
    await expectKey(provider);
    server.before = ({ path }) =>
      path.startsWith("auth/approle") ? undefined : { status: 403, body: { errors: ["permission denied"] } };

    expect(await read(provider, KEY).catch((error) => error)).toMatchObject({ failure: "denied" });

    expect(server.asked("auth/approle").length).toBeLessThanOrEqual(3);
  });

  it("is prolonged when most of its time has gone, rather than done anew", async () => {
    const clock = new VirtualClock();
    const { provider } = await openApprole(undefined, {}, clock);
    await expectKey(provider);

    await clock.advance(HOUR * 0.6);
    await expectKey(provider);
    expect(server.asked("auth/token/renew-self")).toHaveLength(0);
    await clock.advance(HOUR * 0.1);
    await expectKey(provider);

    expect(server.asked("auth/token/renew-self")).toHaveLength(1);
    expect(server.asked("auth/approle")).toHaveLength(1);
  });

  it("is done anew when it can't be prolonged", async () => {
    server.login.renewable = false;
    const clock = new VirtualClock();
    const { provider } = await openApprole(undefined, {}, clock);
    await expectKey(provider);

    await clock.advance(HOUR * 0.7);
    await Promise.all([expectKey(provider), expectKey(provider)]);

    expect(server.asked("auth/approle")).toHaveLength(2);
  });

  it("is used to its end when another is refused, as where the secret-id was good for one", async () => {
    server.login.renewable = false;
    const clock = new VirtualClock();
    const { provider } = await openApprole(undefined, {}, clock);
    await expectKey(provider);
    server.login.secretId = "canary-next";

    await clock.advance(HOUR * 0.7);
    await expectKey(provider);
    await clock.advance(HOUR * 0.4);

    expect(await settled(read(provider, KEY))).toMatchObject({ failure: "denied" });
  });

  it.each([
    ["approle", { ...APPROLE, secretId: "env:WRONG" }],
    ["userpass", { method: "userpass", username: "alice", password: "env:WRONG" }],
    ["jwt", { method: "jwt", role: "ci", token: "env:WRONG" }],
  ])("that is refused says so without its secret: %s", async (method, auth) => {
    const { provider } = track(
      await openVault({ address: server.url, auth }, { refs: { "env:WRONG": "canary-wrong" } }),
    );

    const refusal = await settled(provider.fetch([KEY], never()));

    expect(refusal).toMatchObject({
      failure: "denied",
      reason: expect.stringMatching(new RegExp(`^the login by ${method} at auth/.* was refused \\(400\\)$`)),
    });
    expect(printed(refusal)).not.toContain("canary");
  });

  it.each([
    ["userpass", { method: "userpass", username: "alice", password: "env:SECRET" }, "canary-password"],
    ["jwt", { method: "jwt", token: "env:SECRET" }, "canary-jwt"],
  ])("works by %s", async (_method, auth, secret) => {
    const { provider } = track(
      await openVault({ address: server.url, auth }, { refs: { "env:SECRET": secret } }),
    );

    await expectKey(provider);
  });

  it("by kubernetes reads the file of the service account at each login", async () => {
    const tokenPath = join(folder, "token");
    await writeFile(tokenPath, "canary-old-jwt\n");
    const { provider, context } = track(
      await openVault({ address: server.url, auth: { method: "kubernetes", role: "mcp", tokenPath } }),
    );
    expect(await settled(read(provider, KEY))).toMatchObject({ failure: "denied" });

    await writeFile(tokenPath, "canary-jwt\n");

    await expectKey(provider);
    expect(server.requests.findLast(({ path }) => path === "auth/kubernetes/login")?.body).toEqual({
      role: "mcp",
      jwt: "canary-jwt",
    });
    expect(context.credentials).toEqual([tokenPath]);
  });
});

describe("a wrapped secret-id", () => {
  const openWrapped = (wrapping = "canary-wrapping") => openApprole(wrapping, { wrapped: true });
  const wrap = (from = "auth/approle/role/mcp/secret-id") =>
    server.wrapped.set("canary-wrapping", { from, secretId: "canary-secret-id" });

  it("is unwrapped once, also for a second login", async () => {
    wrap();
    const { provider } = await openWrapped();
    await expectKey(provider);
    server.tokens.delete("canary-login-1");

    await expectKey(provider);

    expect(server.asked("sys/wrapping/")).toEqual(["POST sys/wrapping/lookup", "POST sys/wrapping/unwrap"]);
    expect(server.asked("auth/approle")).toHaveLength(2);
  });

  it("that is used up is a security event", async () => {
    const { provider } = await openWrapped();

    const refusal = await settled(read(provider, KEY));

    expect(refusal).toMatchObject({
      failure: "denied",
      reason: "security event: the wrapped secret-id is lost: it is not valid any more (400)",
    });
    expect(printed(refusal)).not.toContain("canary");
  });

  it("that was made elsewhere is not unwrapped", async () => {
    wrap("sys/wrapping/wrap");
    const { provider } = await openWrapped();

    expect(await settled(read(provider, KEY))).toMatchObject({
      reason: expect.stringContaining("security event"),
    });

    expect(server.asked("sys/wrapping/unwrap")).toEqual([]);
    expect(server.asked("auth/")).toEqual([]);
  });

  it("whose unwrapping failed is not tried again", async () => {
    wrap();
    server.before = ({ path }) => (path === "sys/wrapping/unwrap" ? { status: 500, body: {} } : undefined);
    const { provider } = await openWrapped();

    const refusals = [await settled(read(provider, KEY)), await settled(read(provider, KEY))];

    for (const refusal of refusals) {
      expect(refusal).toMatchObject({ reason: expect.stringContaining("security event") });
    }
    expect(server.asked("sys/wrapping/unwrap")).toHaveLength(1);
  });

  it("is left alone while the server is out of reach", async () => {
    wrap();
    server.before = () => ({ status: 503, body: { errors: ["Vault is sealed"] } });
    const { provider } = await openWrapped();
    expect(await settled(read(provider, KEY))).toMatchObject({ failure: "unavailable" });

    server.before = () => undefined;

    await expectKey(provider);
  });
});

describe("a token that was given to us", () => {
  it("comes from a variable, OpenBao's first, and is remembered as read", async () => {
    const env = { VAULT_ADDR: server.url, VAULT_TOKEN: "canary-other", BAO_TOKEN: "canary-root" };
    const { provider, context } = track(await openVault({}, { env }));

    await expectKey(provider);

    expect([...context.env.namesRead]).toEqual(
      expect.arrayContaining(["VAULT_ADDR", "BAO_ADDR", "VAULT_TOKEN", "BAO_TOKEN"]),
    );
  });

  it("comes from the file of `vault login` where there is no variable", async () => {
    await writeFile(join(folder, ".vault-token"), "canary-root");
    const { provider, context } = track(
      await openVault({ address: server.url }, { env: { HOME: folder, USERPROFILE: folder } }),
    );

    await expectKey(provider);

    expect(context.credentials).toEqual(["canary-root"]);
  });

  it("is read from its file again when it has ended", async () => {
    const path = join(folder, "token");
    await writeFile(path, "canary-ended");
    const { provider } = track(
      await openVault({ address: server.url, auth: { method: "token-file", path } }),
    );
    await writeFile(path, "canary-root");

    await expectKey(provider);
  });

  it("is asked for where there is none", async () => {
    const refusal = await settled(openVault({ address: server.url }, { env: { HOME: folder } }));

    expect(refusal).toMatchObject({
      failure: "denied",
      reason: "there is no token in ~/.vault-token",
      hint: expect.stringContaining("vault login"),
    });
  });

  it("is refused where it can't be one, and not repeated", async () => {
    const refusal = await settled(openWithToken(server.url, "canary with\nlines"));

    expect(refusal).toMatchObject({ failure: "invalid", reason: expect.stringContaining("env:TOKEN") });
    expect(printed(refusal)).not.toContain("canary");
  });
});
