/** Every refusal of Key Vault: what it becomes, and that nothing of the service's own sentences is repeated. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ProviderError } from "../../../src/errors.ts";
import { Secret } from "../../../src/secrets/secret.ts";
import { type Instead, refusal } from "../../helpers/fake-key-vault.ts";
import { VirtualClock } from "../../helpers/virtual-clock.ts";
import { printed, read, settled } from "../contract.ts";
import { AzureRoom, never } from "./open.ts";

const MESSAGE = "canary-message: Caller appid=canary-app; Vault: kv;location=westeurope";
const REQUEST = "request [0-9a-f-]{36}";

let room: AzureRoom;

beforeEach(async () => {
  room = await AzureRoom.start();
  room.vault.add("key", { value: "canary-value" });
});

afterEach(() => room.stop());

const host = () => new URL(room.vault.url).host;

async function refused(instead: Instead): Promise<ProviderError> {
  room.vault.instead = () => instead;
  const answer = await read(await room.open(), { path: "key" });
  expect(answer).toBeInstanceOf(ProviderError);
  expect(printed(answer)).not.toContain("canary");
  return answer as ProviderError;
}

describe("a refused read", () => {
  it.each([
    [
      403,
      "Forbidden",
      "ForbiddenByRbac",
      "denied",
      "this identity has no role that may read it",
      "the role Key Vault Secrets User on HOST",
    ],
    [
      403,
      "Forbidden",
      "ForbiddenByPolicy",
      "denied",
      "the access policy of HOST does not let this identity do that",
      "az keyvault set-policy --name HOST --secret-permissions get list",
    ],
    [
      403,
      "Forbidden",
      "AccessDenied",
      "denied",
      "the access policy of HOST does not let this identity do that",
      "az keyvault set-policy --name HOST --secret-permissions get list",
    ],
    [
      403,
      "Forbidden",
      "ForbiddenByFirewall",
      "denied",
      "the firewall of HOST does not let this machine in",
      "a network that the vault allows",
    ],
    [
      403,
      "Forbidden",
      "ForbiddenByConnection",
      "denied",
      "HOST takes no connection from a public network",
      "private endpoint",
    ],
    [
      403,
      "Forbidden",
      "SecretDisabled",
      "denied",
      "key is disabled",
      "az keyvault secret set-attributes --vault-name HOST --name key --enabled true",
    ],
    [403, "Forbidden", undefined, "denied", "the vault HOST refuses it", "access control"],
    [
      404,
      "SecretNotFound",
      undefined,
      "missing",
      "the vault HOST has no secret key",
      "az keyvault secret list --vault-name HOST",
    ],
    [
      404,
      "NotFound",
      undefined,
      "missing",
      "there is no key at HOST",
      "az keyvault secret list --vault-name HOST",
    ],
    [400, "BadParameter", undefined, "invalid", "the vault HOST does not understand the request", undefined],
    [
      409,
      "Conflict",
      undefined,
      "conflict",
      "somebody else is changing key, or its name is kept for a deleted one",
      "again",
    ],
  ] as const)("%d %s %s", async (status, code, inner, failure, state, hint) => {
    const error = await refused(refusal(status, code, MESSAGE, inner));

    expect(error.failure).toBe(failure);
    const told = new RegExp(
      `^${state.replaceAll("HOST", host())} \\(${status} ${inner ?? code}, ${REQUEST}\\)$`,
    );
    expect(error.reason).toMatch(told);
    if (hint === undefined) expect(error.hint).toBeUndefined();
    else expect(error.hint).toContain(hint.replaceAll("HOST", host()));
  });

  it("may hold its inner code in either spelling", async () => {
    const body = JSON.stringify({ error: { code: "Forbidden", innerError: { code: "ForbiddenByRbac" } } });

    expect((await refused({ status: 403, body })).reason).toContain("ForbiddenByRbac");
  });

  it.each([
    JSON.stringify({ error: { code: "canary-code", message: "x" } }),
    JSON.stringify({ error: { code: "x".repeat(49) } }),
    JSON.stringify({ error: { code: { canary: 1 } } }),
    JSON.stringify({ error: "canary" }),
    JSON.stringify("canary"),
    "<html>canary</html>",
    "",
  ])("repeats no code that is none of the service's: %s", async (body) => {
    const error = await refused({ status: 403, body, headers: { "x-ms-request-id": "canary request" } });

    expect(error.reason).toBe(`the vault ${host()} refuses it (403)`);
  });
});

describe("a refused write", () => {
  const secret = new Secret("canary-new");

  it("for want of a role names the one that writes", async () => {
    room.vault.instead = ({ method }) =>
      method === "PUT" ? refusal(403, "Forbidden", MESSAGE, "ForbiddenByRbac") : undefined;
    const store = await room.open();

    const error = (await settled(store.put({ path: "key" }, secret, never()))) as ProviderError;

    expect(error).toMatchObject({ failure: "denied", reason: expect.stringContaining("may write it (403") });
    expect(error.hint).toContain("Key Vault Secrets Officer");
    expect(printed(error)).not.toContain("canary");
  });

  it("to a deleted name says how to get it back", async () => {
    const store = await room.open();
    await store.remove({ path: "key" }, never());

    const error = (await settled(store.put({ path: "key" }, secret, never()))) as ProviderError;

    expect(error.failure).toBe("invalid");
    expect(error.reason).toMatch(
      /^key was deleted, and its name is kept .* \(409 ObjectIsDeletedButRecoverable, /,
    );
    expect(error.hint).toContain(`az keyvault secret recover --vault-name ${host()} --name key`);
  });

  it.each(["ObjectIsBeingDeleted", "ObjectIsBeingRecovered"])("for the moment says so: %s", async (inner) => {
    room.vault.instead = ({ method }) =>
      method === "PUT" ? refusal(409, "Conflict", MESSAGE, inner) : undefined;
    const store = await room.open();

    expect(await settled(store.put({ path: "key" }, secret, never()))).toMatchObject({
      failure: "unavailable",
      hint: "again in a minute",
    });
  });

  it("of more than 25 KB is not even tried", async () => {
    const store = await room.open();
    const large = new Secret("é".repeat(12_801));

    expect(await settled(store.put({ path: "key" }, large, never()))).toMatchObject({
      failure: "invalid",
      reason: "the value has 25602 bytes, and Key Vault takes at most 25 KB",
    });
    expect(room.vault.requests.filter(({ method }) => method === "PUT")).toEqual([]);
    await expect(store.put({ path: "key" }, new Secret("x".repeat(25_600)), never())).resolves.toBeDefined();
  });

  it("is not to one version of a secret", async () => {
    const store = await room.open();
    const ref = { path: "key", version: "0".repeat(32) };

    for (const outcome of [store.put(ref, secret, never()), store.remove(ref, never())].map(settled)) {
      expect(await outcome).toMatchObject({ failure: "invalid", hint: "the ref without its version:" });
    }
  });
});

describe("what is tried again", () => {
  const failing = (count: number, instead: Instead, method = "GET") => {
    let left = count;
    room.vault.instead = (request) => (request.method === method && left-- > 0 ? instead : undefined);
  };
  const asked = (method: string) =>
    room.vault.requests.filter((request) => request.isAuthorized && request.method === method).length;

  it.each([408, 429, 500, 502, 503, 504])("is a read that was answered with %d", async (status) => {
    failing(2, { status, body: "{}" });

    expect(await read(await room.open(), { path: "key" })).not.toBeInstanceOf(ProviderError);
    expect(asked("GET")).toBe(3);
  });

  it("is a read whose connection broke off", async () => {
    let isFirst = true;
    room.vault.instead = () => {
      if (!isFirst) return undefined;
      isFirst = false;
      return "half an answer";
    };

    expect(await read(await room.open(), { path: "key" })).not.toBeInstanceOf(ProviderError);
  });

  it("is no read that was refused", async () => {
    failing(1, refusal(403, "Forbidden", MESSAGE));

    await read(await room.open(), { path: "key" });

    expect(asked("GET")).toBe(1);
  });

  it("is a write only if the service has not begun with it", async () => {
    const store = await room.open();
    failing(1, refusal(429, "Throttled", MESSAGE), "PUT");
    await store.put({ path: "key" }, new Secret("canary-new"), never());
    expect(asked("PUT")).toBe(2);

    room.vault.forgetRequests();
    failing(1, { status: 503, body: "{}" }, "PUT");
    expect(await settled(store.put({ path: "key" }, new Secret("canary-2"), never()))).toMatchObject({
      failure: "unavailable",
    });
    expect(asked("PUT")).toBe(1);
  });

  it("waits as long as the service asks, on the clock that it was given", async () => {
    const clock = new VirtualClock();
    failing(1, { ...refusal(429, "Throttled", MESSAGE), headers: { "retry-after": "3" } });
    const provider = await room.open({}, { clock });
    const answer = read(provider, { path: "key" });
    const until = (count: number) => expect.poll(() => asked("GET"), { interval: 5 }).toBe(count);
    await until(1);
    // The refusal has arrived when what is waited for is no longer the request.
    await expect.poll(() => clock.nextIn, { interval: 5 }).toBeLessThan(4_000);

    await clock.advance(2_999);
    expect(asked("GET")).toBe(1);
    await clock.advance(1_000);

    expect(await answer).not.toBeInstanceOf(ProviderError);
    expect(asked("GET")).toBe(2);
  });

  it("is nothing for which the service asks to wait too long: its refusal is the answer", async () => {
    failing(9, { ...refusal(429, "Throttled", MESSAGE), headers: { "retry-after": "60" } });

    expect(await read(await room.open(), { path: "key" })).toMatchObject({
      failure: "unavailable",
      reason: expect.stringMatching(/is asked too often \(429 Throttled, /),
    });
    expect(asked("GET")).toBe(1);
  });
});
