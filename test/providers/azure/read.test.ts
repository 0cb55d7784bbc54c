/** Reading: how many requests, which version, what dates and states do, and what is sent where. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AzureRef } from "../../../providers/azure/settings.ts";
import { ProviderError } from "../../../src/errors.ts";
import type { FetchedSecret, Provider } from "../../../src/secrets/provider.ts";
import { refusal } from "../../helpers/fake-key-vault.ts";
import { VirtualClock } from "../../helpers/virtual-clock.ts";
import { AzureRoom, never } from "./open.ts";

const DAY_S = 24 * 3600;

let room: AzureRoom;

beforeEach(async () => {
  room = await AzureRoom.start();
});

afterEach(() => room.stop());

async function read(provider: Provider<AzureRef>, ref: AzureRef): Promise<FetchedSecret | ProviderError> {
  const answer = (await provider.fetch([ref], never())).get(ref);
  if (!answer) throw new Error("no answer");
  return answer;
}

const text = (answer: FetchedSecret | ProviderError) =>
  answer instanceof ProviderError ? answer.reason : answer.value.reveal();

const seconds = (clock: VirtualClock) => Math.floor(clock.now() / 1000);

describe("the requests of a fetch", () => {
  it("are one for each secret, and one without a token for the first of them", async () => {
    const names = Array.from({ length: 50 }, (_, index) => `secret-${index}`);
    for (const name of names) room.vault.add(name, { value: `canary-${name}` });
    const provider = await room.open();

    const answer = await provider.fetch(
      names.map((path) => ({ path })),
      never(),
    );

    expect([...answer].map(([{ path }, found]) => [path, text(found)]).sort()).toEqual(
      names.map((name) => [name, `canary-${name}`]).sort(),
    );
    expect(room.vault.requests).toHaveLength(51);
    expect(room.vault.requests.filter(({ isAuthorized }) => !isAuthorized)).toHaveLength(1);
  });

  it("need no second handshake later on", async () => {
    room.vault.add("a", { value: "canary-a" });
    const provider = await room.open();
    await read(provider, { path: "a" });
    room.vault.forgetRequests();

    await read(provider, { path: "a" });
    await provider.currentVersion?.({ path: "a" }, never());

    expect(room.vault.requests.map(({ isAuthorized }) => isAuthorized)).toEqual([true, true]);
  });

  it("go through at most sixteen connections", async () => {
    const refs = Array.from({ length: 100 }, (_, index) => ({ path: `secret-${index}` }));
    for (const { path } of refs) room.vault.add(path, { value: "canary" });
    const provider = await room.open();
    let most = 0;
    room.vault.instead = () => {
      most = Math.max(most, room.vault.openConnections);
      return undefined;
    };

    await provider.fetch(refs, never());

    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(16);
  });

  it("stop with the first one when the vault can't be reached", async () => {
    const provider = await room.open({ vault: "https://127.0.0.1:1" });
    const refs = Array.from({ length: 20 }, (_, index) => ({ path: `secret-${index}` }));

    const answer = await provider.fetch(refs, never());

    expect(new Set(answer.values()).size).toBe(1);
    expect([...answer.keys()]).toEqual(refs);
  });
});

describe("a version", () => {
  it("is the one that the ref names, and else the latest", async () => {
    const first = room.vault.add("key", { value: "canary-first" });
    const second = room.vault.add("key", { value: "canary-second" });
    const provider = await room.open();

    expect(await read(provider, { path: "key" })).toMatchObject({ version: second });
    expect(text(await read(provider, { path: "key" }))).toBe("canary-second");
    expect(text(await read(provider, { path: "key", version: first }))).toBe("canary-first");
    expect(await provider.currentVersion?.({ path: "key", version: first }, never())).toBe(first);
  });

  it("that is not there is missing, by its name", async () => {
    room.vault.add("key", { value: "canary" });
    const provider = await room.open();
    const version = "0".repeat(32);

    const answer = await read(provider, { path: "key", version });

    expect(answer).toMatchObject({ failure: "missing" });
    expect(text(answer)).toContain(`has no version ${version} of key (404 SecretNotFound, request `);
    expect(await provider.currentVersion?.({ path: "key", version }, never())).toBeUndefined();
  });

  it("is checked by one request, which tells nothing but its name", async () => {
    const version = room.vault.add("key", { value: "canary" });
    const provider = await room.open();
    await read(provider, { path: "key" });
    room.vault.forgetRequests();

    expect(await provider.currentVersion?.({ path: "key" }, never())).toBe(version);

    expect(room.vault.requests).toHaveLength(1);
  });

  it("has the times that the vault knows", async () => {
    const clock = new VirtualClock();
    const exp = seconds(clock) + DAY_S;
    room.vault.add("key", { value: "canary", exp });
    const provider = await room.open({}, { clock });

    const answer = (await read(provider, { path: "key" })) as FetchedSecret;

    expect(answer.expiresAt).toEqual(new Date(exp * 1000));
    expect(answer.createdAt?.getTime()).toBe((room.vault.versions("key")[0]?.created ?? 0) * 1000);
  });
});

describe("a date", () => {
  it.each([
    ["exp", -1, "has expired on 2027-01-15T07:59:59Z", "a new value in key, or ignoreDates"],
    ["exp", 0, "has expired on 2027-01-15T08:00:00Z", "a new value in key, or ignoreDates"],
    ["nbf", 1, "is valid only from 2027-01-15T08:00:01Z", "an earlier version:, or ignoreDates"],
  ])("%s at %d s from now is kept", async (attribute, offset, reason, hint) => {
    const clock = new VirtualClock();
    const version = room.vault.add("key", { value: "canary", [attribute]: seconds(clock) + offset });
    const provider = await room.open({}, { clock });

    const answer = await read(provider, { path: "key" });

    expect(answer).toMatchObject({ failure: "invalid", reason: `version ${version} of key ${reason}` });
    expect((answer as ProviderError).hint).toContain(hint);
  });

  it.each([
    ["exp", 1],
    ["nbf", 0],
  ])("%s at %d s from now hinders nobody", async (attribute, offset) => {
    const clock = new VirtualClock();
    room.vault.add("key", { value: "canary", [attribute]: seconds(clock) + offset });
    const provider = await room.open({}, { clock });

    expect(text(await read(provider, { path: "key" }))).toBe("canary");
  });

  it("is ignored where the profile says so, and then names no expiry", async () => {
    const clock = new VirtualClock();
    room.vault.add("key", { value: "canary", exp: seconds(clock) - DAY_S, nbf: seconds(clock) + DAY_S });
    const provider = await room.open({ ignoreDates: true }, { clock });

    const answer = await read(provider, { path: "key" });

    expect(text(answer)).toBe("canary");
    expect(answer).not.toHaveProperty("expiresAt");
  });

  it("does not hide which version is the current one", async () => {
    const clock = new VirtualClock();
    const version = room.vault.add("key", { value: "canary", exp: seconds(clock) - 1 });
    const provider = await room.open({}, { clock });

    expect(await provider.currentVersion?.({ path: "key" }, never())).toBe(version);
  });
});

describe("a state", () => {
  it("of a disabled secret is an error with its mend, and the version is known all the same", async () => {
    room.vault.add("key", { value: "canary-old", enabled: false });
    const version = room.vault.add("key", { value: "canary", enabled: false });
    const provider = await room.open();

    const answer = await read(provider, { path: "key" });

    expect(answer).toMatchObject({ failure: "denied" });
    expect(text(answer)).toMatch(/^key is disabled \(403 SecretDisabled, request [0-9a-f-]{36}\)$/);
    expect((answer as ProviderError).hint).toMatch(
      /^az keyvault secret set-attributes .* --name key --enabled true$/,
    );
    expect([version, room.vault.versions("key")[0]?.id]).toContain(
      await provider.currentVersion?.({ path: "key" }, never()),
    );
  });

  it("of a disabled version names that version", async () => {
    const version = room.vault.add("key", { value: "canary-old", enabled: false });
    room.vault.add("key", { value: "canary" });
    const provider = await room.open();

    const answer = (await read(provider, { path: "key", version })) as ProviderError;

    expect(answer.reason).toContain(`version ${version} of key is disabled`);
    expect(answer.hint).toContain(`--version ${version} --enabled true`);
    expect(text(await read(provider, { path: "key" }))).toBe("canary");
  });

  it("of a deleted secret says since when, and until when it can be had back", async () => {
    room.vault.add("key", { value: "canary" });
    const provider = await room.open();
    await provider.remove({ path: "key" }, never());

    const answer = (await read(provider, { path: "key" })) as ProviderError;

    expect(answer).toMatchObject({ failure: "missing" });
    expect(answer.reason).toMatch(/^key was deleted on \S+Z, and can be recovered until \S+Z$/);
    expect(answer.hint).toMatch(/^az keyvault secret recover --vault-name \S+ --name key$/);
  });

  it("of a deleted secret is only missing for whoever may not look", async () => {
    room.vault.add("key", { value: "canary" });
    const provider = await room.open();
    await provider.remove({ path: "key" }, never());
    room.vault.instead = ({ path }) =>
      path.startsWith("/deletedsecrets") ? refusal(403, "Forbidden", "no", "ForbiddenByRbac") : undefined;

    expect(await read(provider, { path: "key" })).toMatchObject({
      failure: "missing",
      reason: expect.stringContaining("has no secret key (404"),
    });
  });
});

describe("a value", () => {
  it.each(["application/x-pkcs12", "application/x-pem-file", "text/plain; charset=utf-8", "multi\nline", ""])(
    "is text as it is, whatever its content type (%j)",
    async (contentType) => {
      room.vault.add("cert", { value: "canary-MIIK/base64==", contentType, kid: "https://kv/keys/cert/1" });
      const provider = await room.open();

      expect(text(await read(provider, { path: "cert" }))).toBe("canary-MIIK/base64==");
    },
  );
});

describe("a list", () => {
  it("goes over as many pages as there are", async () => {
    const names = Array.from({ length: 60 }, (_, index) => `secret-${index}`);
    for (const name of names) room.vault.add(name, { value: "canary" });
    room.vault.add("secret-1-mcp-run-pending", { value: "canary" });
    const provider = await room.open();

    const listed = await provider.list(never());

    expect(listed.map(({ path }) => path).sort()).toEqual([...names].sort());
    expect(room.vault.requests.filter(({ isAuthorized }) => isAuthorized)).toHaveLength(3);
  });

  it("is given up when a page leads to another host, which never gets the token", async () => {
    const other = await AzureRoom.start();
    room.vault.add("key", { value: "canary" });
    const provider = await room.open();
    room.vault.instead = ({ path }) =>
      path === "/secrets"
        ? { status: 200, body: JSON.stringify({ value: [], nextLink: `${other.vault.url}/secrets?page=2` }) }
        : undefined;

    const listed = await provider.list(never()).catch((error: unknown) => error);

    const asked = other.vault.requests;
    await other.stop();
    expect(listed).toMatchObject({
      failure: "denied",
      reason: expect.stringContaining("points to another host"),
    });
    expect(asked).toEqual([]);
  });

  it("that never ends is given up", async () => {
    const provider = await room.open();
    const page = Array.from({ length: 25_000 }, (_, index) => ({
      id: `${room.vault.url}/secrets/s${index}`,
    }));
    room.vault.instead = () => ({
      status: 200,
      body: JSON.stringify({ value: page, nextLink: `${room.vault.url}/secrets?again=1` }),
    });

    await expect(provider.list(never())).rejects.toMatchObject({ failure: "invalid" });
  });
});

describe("where a secret lies", () => {
  it("is its id without a version, in whatever case its name was written", async () => {
    room.vault.add("Tp-Key", { value: "canary-1" });
    room.vault.add("tp-key", { value: "canary-2" });
    const provider = await room.open();
    const [old] = room.vault.versions("tp-key");

    const answers = await Promise.all([
      read(provider, { path: "Tp-Key" }),
      read(provider, { path: "TP-KEY" }),
      read(provider, { path: "tp-key", version: old!.id }),
    ]);

    expect(answers.map((answer) => "place" in answer && answer.place)).toEqual(
      answers.map(() => `${room.vault.url}/secrets/tp-key`),
    );
    expect(answers.map(text)).toEqual(["canary-2", "canary-2", "canary-1"]);
  });
});

describe("a challenge", () => {
  it("is believed only if it is of the vault's own cloud", async () => {
    room.vault.add("key", { value: "canary" });
    const provider = await room.open({ verifyChallenge: true });

    const answer = await read(provider, { path: "key" });

    expect(answer).toMatchObject({
      failure: "denied",
      reason: expect.stringContaining("asks for a login that does not belong to its own host"),
      hint: expect.stringContaining("verifyChallenge: false"),
    });
    expect(room.vault.requests.filter(({ isAuthorized }) => isAuthorized)).toEqual([]);
  });

  it.each(["Bearer nonsense", 'Bearer authorization="no url", resource="https://vault.azure.net"', "Basic"])(
    "that is none (%s) is a refusal",
    async (challenge) => {
      room.vault.challenge = challenge;
      const provider = await room.open();

      expect(await read(provider, { path: "key" })).toMatchObject({ failure: "denied" });
    },
  );

  it("with a token that the vault does not accept is a refusal, with the vault's code", async () => {
    room.vault.token = "another one";
    const provider = await room.open();

    expect(await read(provider, { path: "key" })).toMatchObject({
      failure: "denied",
      reason: expect.stringMatching(/does not accept our token \(401 AKV10000, request [0-9a-f-]{36}\)$/),
    });
  });
});
