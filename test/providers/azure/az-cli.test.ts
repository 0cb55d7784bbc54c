/** `credential: cli`: what `az` is run with, and what its answers and failures become. */
import { chmodSync, existsSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ProviderError } from "../../../src/errors.ts";
import type { ProgramRunner } from "../../../src/secrets/program.ts";
import { runProgram } from "../../../src/secrets/run-program.ts";
import { FAKE_TOKEN } from "../../helpers/fake-key-vault.ts";
import { printed, read, revealed } from "../contract.ts";
import { AzureRoom, never } from "./open.ts";

let room: AzureRoom;

beforeEach(async () => {
  room = await AzureRoom.start();
  room.vault.add("key", { value: "canary-value" });
});

afterEach(() => room.stop());

/** A program `az` that notes how it was started, and then does this. */
function installAz(script: string): void {
  const file = join(room.folder, "az");
  writeFileSync(file, `#!/bin/sh\nprintf '%s\\n' "$@" > "${noted()}"\nenv >> "${noted()}.env"\n${script}\n`);
  chmodSync(file, 0o755);
}

const noted = () => join(room.folder, "noted");
const answering = (answer: object) => installAz(`cat <<'END'\n${JSON.stringify(answer)}\nEND`);
const complaining = (text: string, code = 1) => installAz(`cat >&2 <<'END'\n${text}\nEND\nexit ${code}`);

const open = (credential: unknown = "cli", env: Record<string, string> = {}) =>
  room.openWith(
    { credential },
    {
      runProgram,
      env: { HOME: room.folder, PATH: [room.folder, "/usr/bin", "/bin"].join(delimiter), ...env },
    },
  );

async function failureOf(...args: Parameters<typeof open>): Promise<ProviderError> {
  const { provider } = await open(...args);
  const answer = await read(provider, { path: "key" });
  expect(printed(answer)).not.toContain("canary");
  return answer as ProviderError;
}

describe.skipIf(process.platform === "win32")("the Azure CLI", () => {
  it("is asked for a token of the vault's own tenant, once for all that is read", async () => {
    answering({
      accessToken: FAKE_TOKEN,
      expires_on: Math.floor(Date.now() / 1000) + 3600,
      tokenType: "Bearer",
    });
    const { provider } = await open();

    expect(revealed(await read(provider, { path: "key" }))).toBe("canary-value");
    const first = readFileSync(noted(), "utf8");
    writeFileSync(noted(), "not again");
    await provider.fetch([{ path: "key" }, { path: "key" }], never());

    expect(first.trim().split("\n")).toEqual([
      ...["account", "get-access-token", "--output", "json"],
      ...["--resource", "https://vault.azure.net"],
      ...["--tenant", "11111111-2222-3333-4444-555555555555"],
    ]);
    expect(readFileSync(noted(), "utf8")).toBe("not again");
  });

  it("may be asked for a token of another tenant", async () => {
    answering({ accessToken: FAKE_TOKEN, expires_on: 4_000_000_000 });

    const { provider } = await open({ type: "cli", tenantId: "contoso.example.com" });

    expect(revealed(await read(provider, { path: "key" }))).toBe("canary-value");
    expect(readFileSync(noted(), "utf8")).toContain("--tenant\ncontoso.example.com\n");
  });

  it("gets the user's environment, but for what belongs to mcp-run", async () => {
    answering({ accessToken: FAKE_TOKEN, expires_on: 4_000_000_000 });
    const { provider } = await open("cli", { AZURE_CONFIG_DIR: "/somewhere", MCP_RUN_AGE_KEY: "canary-age" });

    await read(provider, { path: "key" });

    const env = readFileSync(`${noted()}.env`, "utf8");
    expect(env).toContain("AZURE_CONFIG_DIR=/somewhere");
    expect(env).toContain(`PWD=${room.folder}`);
    expect(env).not.toContain("MCP_RUN");
  });

  it("may be so old that it says the expiry in local time only", async () => {
    answering({ accessToken: FAKE_TOKEN, expiresOn: "2099-01-01 10:00:00.000000" });
    const { provider } = await open();

    expect(revealed(await read(provider, { path: "key" }))).toBe("canary-value");
  });

  it("that is not installed is an error that speaks of PATH", async () => {
    expect(await failureOf()).toMatchObject({
      failure: "unavailable",
      reason: "the Azure CLI can't be started (ENOENT)",
      hint: expect.stringContaining("PATH"),
    });
    expect(existsSync(noted())).toBe(false);
  });

  it.each([
    ["ERROR: Please run 'az login' to setup account.", "nobody is logged in to the Azure CLI, or no longer"],
    [
      "ERROR: AADSTS70043: The refresh token has expired canary-description.\nTo re-authenticate, please run: az login",
      "the login has expired (AADSTS70043)",
    ],
    ["ERROR: AADSTS50076: canary-description of MFA", "the login needs a second factor (AADSTS50076)"],
  ])("whose login is no good says so: %s", async (said, reason) => {
    complaining(said);

    expect(await failureOf()).toMatchObject({
      failure: "denied",
      reason,
      hint: expect.stringContaining("az login"),
    });
  });

  it("that fails otherwise is quoted with its last line, without what looks like a credential", async () => {
    complaining("Traceback\nERROR: broken: password=hunter2-hunter2-hunter2", 3);

    const failure = await failureOf();

    expect(failure.reason).toMatch(/^az exited with code 3: ERROR: broken/);
    expect(failure.reason).not.toContain("hunter2-hunter2");
  });

  it.each(["", "no JSON canary", "null", "[]", '{"accessToken":""}', '{"accessToken":"canary-x"}'])(
    "that prints %j has printed no token, and is not quoted",
    async (text) => {
      installAz(`printf '%s' '${text}'`);

      expect(await failureOf()).toMatchObject({
        failure: "unavailable",
        reason: "what az printed is no token",
      });
    },
  );

  it.each([
    [{ type: "timed-out", stdout: Buffer.of(), stderr: "" } as const, "az did not end within 30 s"],
    [
      { type: "killed", signal: "SIGKILL", stdout: Buffer.of(), stderr: "" } as const,
      "az was killed by SIGKILL",
    ],
    [{ type: "output-too-large", stdout: Buffer.of(), stderr: "" } as const, "what az printed is no token"],
  ])("that does not come to an end is an error: %o", async (outcome, reason) => {
    const stuck: ProgramRunner = async () => outcome;
    const { provider } = await room.openWith({ credential: "cli" }, { runProgram: stuck });

    expect(await read(provider, { path: "key" })).toMatchObject({ failure: "unavailable", reason });
  });

  it("is never given what a challenge makes up", async () => {
    answering({ accessToken: FAKE_TOKEN, expires_on: 4_000_000_000 });
    room.vault.challenge =
      'Bearer authorization="https://login.example.com/--debug;x", resource="https://vault.azure.net"';

    expect(await failureOf()).toMatchObject({
      failure: "denied",
      reason: expect.stringContaining("that is none"),
    });
    expect(existsSync(noted())).toBe(false);
  });

  it("is known by the time of its last login, so that a new one counts as another credential", async () => {
    const profile = join(room.folder, ".azure", "azureProfile.json");
    await mkdir(join(room.folder, ".azure"));
    const [absent] = (await open()).context.credentials;
    writeFileSync(profile, "{}");
    utimesSync(profile, 1_000, 1_000);
    const [first] = (await open()).context.credentials;
    utimesSync(profile, 2_000, 2_000);
    const [second] = (await open()).context.credentials;

    expect(new Set([absent, first, second]).size).toBe(3);
    expect(first).toBe(`az ${profile} 1000000`);
  });
});
