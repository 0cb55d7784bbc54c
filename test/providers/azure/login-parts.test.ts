/** How long a token is kept, the order in which credentials are looked for, and whether a metadata service is there. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { AzureError } from "../../../providers/azure/azure-error.ts";
import { doesAnswer } from "../../../providers/azure/login/does-answer.ts";
import { Login, type Token, type TokenRequest } from "../../../providers/azure/login/login.ts";
import { systemClock } from "../../../src/clock.ts";
import type { ProgramRunner } from "../../../src/secrets/program.ts";
import { FAKE_TOKEN } from "../../helpers/fake-key-vault.ts";
import { answers, HostileServer, json, refusingUrl, silent } from "../../helpers/hostile-server.ts";
import { VirtualClock } from "../../helpers/virtual-clock.ts";
import { read, revealed } from "../contract.ts";
import { FakeEntra } from "./fake-entra.ts";
import { AzureRoom, never } from "./open.ts";

const MINUTE = 60_000;

describe("a token", () => {
  const clock = new VirtualClock();
  let next: (request: TokenRequest) => Token | AzureError;
  let asked: TokenRequest[];
  let login: Login;

  beforeEach(() => {
    asked = [];
    next = () => ({ text: `canary-${asked.length}`, expiresAt: clock.now() + 60 * MINUTE });
    const source = {
      async token(request: TokenRequest) {
        asked.push(request);
        const answer = next(request);
        if (answer instanceof Error) throw answer;
        return answer;
      },
      close: () => undefined,
    };
    login = new Login(source, clock);
  });

  const token = async (scope = "https://vault.azure.net/.default", options = {}) =>
    (await login.getToken([scope], options)).token;

  it("is kept until five minutes before its end", async () => {
    expect(await token()).toBe("canary-1");
    await clock.advance(54 * MINUTE);
    expect(await token()).toBe("canary-1");

    await clock.advance(2 * MINUTE);

    expect(await token()).toBe("canary-2");
  });

  it("is shown to the SDK as expired, so that it renews none by itself", async () => {
    expect(await login.getToken("scope")).toMatchObject({ expiresOnTimestamp: 0 });
  });

  it("serves on while the login is out of reach, as long as it lasts", async () => {
    await token();
    next = () => new AzureError("unavailable", "no answer");
    await clock.advance(57 * MINUTE);

    expect(await token()).toBe("canary-1");

    await clock.advance(4 * MINUTE);
    await expect(token()).rejects.toMatchObject({ failure: "unavailable" });
  });

  it("does not serve on when the login refuses", async () => {
    await token();
    next = () => new AzureError("denied", "no");
    await clock.advance(57 * MINUTE);

    await expect(token()).rejects.toMatchObject({ failure: "denied" });
  });

  it("is another one for another scope, another tenant, and where the vault asks for more", async () => {
    await token();

    expect(await token("https://vault.azure.cn/.default")).toBe("canary-2");
    expect(await token(undefined, { tenantId: "t" })).toBe("canary-3");
    expect(await token(undefined, { claims: "{}" })).toBe("canary-4");
    expect(asked.at(-1)?.claims).toBe("{}");
  });
});

describe("a metadata service", () => {
  let server: HostileServer | undefined;

  afterEach(async () => {
    await server?.stop();
    server = undefined;
  });

  it("is there if it refuses", async () => {
    server = await HostileServer.start({ behave: () => answers(json({}, 400)) });

    // However long that takes on this machine: its second does not pass.
    expect(await doesAnswer(server.url, new VirtualClock(), never())).toBe(true);
    expect(server.requests[0]?.headers.metadata).toBeUndefined();
  });

  it("is not there if nobody listens", async () => {
    expect(await doesAnswer(await refusingUrl("http"), systemClock, never())).toBe(false);
  });

  it("is not there if it is silent for a second", async () => {
    server = await HostileServer.start({ behave: () => silent });
    const clock = new VirtualClock();
    const answer = doesAnswer(server.url, clock, never());
    await expect.poll(() => server?.requests).toHaveLength(1);

    await clock.advance(1_000);

    expect(await answer).toBe(false);
  });

  it("is looked for no longer than somebody wants to know", async () => {
    server = await HostileServer.start({ behave: () => silent });
    const abort = new AbortController();
    const reason = new Error("no longer wanted");
    const answer = doesAnswer(server.url, new VirtualClock(), abort.signal);
    await expect.poll(() => server?.requests).toHaveLength(1);

    abort.abort(reason);

    await expect(answer).rejects.toBe(reason);
    await expect.poll(() => server?.connections).toBe(0);
  });
});

describe("the default credential", () => {
  let room: AzureRoom;
  let entra: FakeEntra;

  beforeEach(async () => {
    room = await AzureRoom.start();
    entra = await FakeEntra.start(room.vault.tls);
    room.vault.add("key", { value: "canary-value" });
  });

  afterEach(async () => {
    vi.unstubAllEnvs();
    await room.stop();
    await entra.stop();
  });

  const az = (stdout: string, exitCode = 0, stderr = ""): ProgramRunner =>
    vi.fn(async () => ({ type: "exited" as const, exitCode, stdout: Buffer.from(stdout), stderr }));
  const AZ_TOKEN = JSON.stringify({ accessToken: FAKE_TOKEN, expires_on: 4_000_000_000 });
  /** So that nothing outside of this machine is asked whether it is a metadata service. */
  const withoutIdentity = { AZURE_POD_IDENTITY_AUTHORITY_HOST: "http://8.8.8.8" };

  it("is the client of the environment, if there is one, and then no program is run", async () => {
    const runProgram = az(AZ_TOKEN);
    const env = {
      AZURE_TENANT_ID: "t.example.com",
      AZURE_CLIENT_ID: "c",
      AZURE_CLIENT_SECRET: "canary-secret",
    };
    const { provider } = await room.openWith(
      { credential: "default", authorityHost: entra.url },
      { env, runProgram },
    );

    expect(revealed(await read(provider, { path: "key" }))).toBe("canary-value");

    expect(entra.forms).toHaveLength(1);
    expect(runProgram).not.toHaveBeenCalled();
  });

  it("is the Azure CLI where there is nothing else, and stays it", async () => {
    for (const [name, value] of Object.entries(withoutIdentity)) vi.stubEnv(name, value);
    const runProgram = az(AZ_TOKEN);
    const { provider } = await room.openWith({ credential: "default" }, { env: withoutIdentity, runProgram });

    expect(revealed(await read(provider, { path: "key" }))).toBe("canary-value");
    expect(runProgram).toHaveBeenCalledTimes(1);
  });

  it("says what it has tried when nothing fits", async () => {
    for (const [name, value] of Object.entries(withoutIdentity)) vi.stubEnv(name, value);
    const runProgram = az("", 1, "ERROR: Please run 'az login' to setup account.");
    const { provider } = await room.openWith({ credential: "default" }, { env: withoutIdentity, runProgram });

    const answer = await read(provider, { path: "key" });

    expect(answer).toMatchObject({
      failure: "denied",
      reason: expect.stringMatching(
        /^no credential was found: environment and workload-identity are not set up, managed-identity: .+, cli: nobody is logged in/,
      ),
      hint: expect.stringContaining("az login"),
    });
  });
});
