/** The built mcp-run with a vault and a login: nothing of the SDK's own logging is seen, whatever switches it on. */
import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { refusal } from "../../helpers/fake-key-vault.ts";
import { Installation, MAIN } from "../../helpers/installation.ts";
import { ConnectProxy } from "./connect-proxy.ts";
import { entraRefusal, FakeEntra } from "./fake-entra.ts";
import { AzureRoom } from "./open.ts";

const LOUD = {
  AZURE_LOG_LEVEL: "verbose",
  TYPESPEC_RUNTIME_LOG_LEVEL: "verbose",
  DEBUG: "*",
};
const CREDENTIAL = {
  AZURE_TENANT_ID: "contoso.example.com",
  AZURE_CLIENT_ID: "app",
  AZURE_CLIENT_SECRET: "canary-client-secret",
};

let room: AzureRoom;
let entra: FakeEntra;
let mcpRun: Installation;

beforeEach(async () => {
  room = await AzureRoom.start();
  entra = await FakeEntra.start(room.vault.tls);
  mcpRun = new Installation();
  room.vault.add("key", { value: "canary-value" });
});

afterEach(async () => {
  mcpRun.remove();
  await room.stop();
  await entra.stop();
});

/** Runs a program with the secret `key` as TOKEN. Not synchronously: the servers live in this process. */
async function exec(
  script: string,
  env: Readonly<Record<string, string>> = {},
): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const provider = {
    type: "azure-key-vault",
    vault: room.vault.url,
    credential: "environment",
    authorityHost: entra.url,
    caCert: room.caFile,
    verifyChallenge: false,
  };
  const profiles = { p: { command: "node", secrets: { TOKEN: "azure:key" } } };
  mcpRun.write(
    "config/mcp-run.yaml",
    JSON.stringify({ version: 1, providers: { azure: provider }, profiles }),
  );
  const child = spawn(process.execPath, [MAIN, "exec", "p", "--", process.execPath, "-e", script], {
    env: { ...mcpRun.env, ...CREDENTIAL, ...LOUD, ...env },
    cwd: mcpRun.home,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { status: await ended, stdout, stderr };
}

describe("with every log of the SDK switched on", () => {
  it("a program gets its secret, nothing of the login, and no line of a log", async () => {
    const script = `const { TOKEN, ...rest } = process.env;
      console.log(TOKEN === "canary-value", Object.keys(rest).filter((name) => /^AZURE_CLIENT|^AZURE_TENANT/.test(name)).join());`;

    const ran = await exec(script);

    expect(ran).toMatchObject({ status: 0, stdout: "true \n" });
    expect(ran.stderr).toMatch(/^mcp-run: p: generation 1 started in \d+ ms with TOKEN \(azure:key\)\n$/);
  });

  it.each([
    ["a vault that refuses", () => refusal(403, "Forbidden", "canary-message", "ForbiddenByRbac"), 77],
    ["a vault that has no such secret", () => refusal(404, "SecretNotFound", "canary-message"), 78],
    ["a vault with a page of its own", () => ({ status: 200, body: "<html>canary-page" }), 78],
  ])("%s is one line", async (_name, instead, status) => {
    room.vault.instead = instead;

    const ran = await exec("0");

    expect(ran).toMatchObject({ status, stdout: "" });
    expect(ran.stderr).toMatch(/^mcp-run: Cannot read secret TOKEN from azure:key: [^\n]+\n$/);
    expect(ran.stderr).not.toContain("canary");
  });

  it("a login that refuses is one line", async () => {
    entra.answer = () => entraRefusal(401, "invalid_client", 7000215);

    const ran = await exec("0");

    expect(ran).toMatchObject({ status: 77, stdout: "" });
    expect(ran.stderr).toBe(
      "mcp-run: Cannot read secret TOKEN from azure:key: the client secret is wrong (401 AADSTS7000215). " +
        "Try storing the secret's value there, which is not its id.\n",
    );
  });

  it("the login of a proxy is in no line", async () => {
    const proxy = await ConnectProxy.start();
    const ran = await exec("0", { HTTPS_PROXY: `http://user:canary-proxy-password@${proxy.address}` });

    const { tunnels } = proxy;
    await proxy.stop();
    expect(ran.status).toBe(0);
    expect(tunnels.every(({ login }) => login?.startsWith("Basic "))).toBe(true);
    expect(tunnels.length).toBeGreaterThan(0);
    expect(ran.stdout + ran.stderr).not.toMatch(/canary|Basic /);
  });
});
