/** `mcp-run secrets …` on stores across a network: the words and the outcome are those of the local store. */
import { execFile } from "node:child_process";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FAKE_REGION, FakeSecretsManager } from "../helpers/fake-secrets-manager.ts";
import { FakeVault } from "../helpers/fake-vault.ts";
import { Installation, MAIN } from "../helpers/installation.ts";

let mcpRun: Installation;
let stop: () => Promise<void>;

beforeEach(() => {
  mcpRun = new Installation();
});

afterEach(async () => {
  await stop();
  mcpRun.remove();
});

const CREDENTIALS = {
  AWS_ACCESS_KEY_ID: "canary-access-key",
  AWS_SECRET_ACCESS_KEY: "canary-secret-key",
  VAULT_TOKEN: "canary-root",
};

/** Each starts a server and returns the settings that lead to it. */
const SERVERS = {
  async vault() {
    const server = await FakeVault.start();
    stop = () => server.stop();
    return { type: "vault", address: server.url, auth: { method: "token" } };
  },
  async "aws-secrets-manager"() {
    const server = await FakeSecretsManager.start();
    stop = () => server.stop();
    return { type: "aws-secrets-manager", region: FAKE_REGION, endpoint: server.url };
  },
};

interface Ran {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Not synchronous, since the server is in this process. */
function run(args: readonly string[], input = ""): Promise<Ran> {
  return new Promise((resolve) => {
    const options = { env: { ...mcpRun.env, ...CREDENTIALS }, timeout: 80_000 };
    const child = execFile(process.execPath, [MAIN, ...args], options, (error, stdout, stderr) => {
      resolve({ status: error ? Number(error.code) : 0, stdout, stderr });
    });
    child.stdin?.end(input);
  });
}

describe.each(Object.keys(SERVERS) as (keyof typeof SERVERS)[])("mcp-run secrets on %s", (type) => {
  const start = async () => {
    const settings = await SERVERS[type]();
    mcpRun.write(
      "config/mcp-run.yaml",
      JSON.stringify({ version: 1, providers: { cloud: settings }, profiles: {} }),
    );
  };
  const path = type === "vault" ? "secret/app" : "app";

  it("sets, generates, reads, lists and removes", async () => {
    await start();

    const set = await run(["secrets", "set", `cloud:${path}`], '{"user":"app","password":"canary-old"}');
    const field = await run(["secrets", "set", `cloud:${path}#password`], "canary-new\n");
    const again = await run(["secrets", "generate", `cloud:${path}#password`]);
    const made = await run(["secrets", "generate", `cloud:${path}#key`]);
    const got = await run(["secrets", "get", `cloud:${path}`, "--reveal"]);

    expect([set.status, field.status, again.status, made.status]).toEqual([0, 0, 64, 0]);
    expect(field.stderr).toContain(`mcp-run: Stored cloud:${path}#password, version `);
    expect(JSON.parse(got.stdout)).toEqual({
      user: "app",
      password: "canary-new",
      key: expect.stringMatching(/^[\w-]{43}$/),
    });
    expect((await run(["secrets", "rm", `cloud:${path}`])).stderr).toContain(`Removed cloud:${path}`);
    expect((await run(["secrets", "get", `cloud:${path}`])).status).toBe(78);
    expect(`${set.stderr}${field.stderr}${again.stderr}${made.stderr}`).not.toContain("canary");
  });

  it("makes the document for a first field", async () => {
    await start();

    expect((await run(["secrets", "set", `cloud:${path}#token`], "canary-new")).status).toBe(0);

    expect((await run(["secrets", "get", `cloud:${path}#token`, "--reveal"])).stdout).toBe("canary-new");
  });
});
