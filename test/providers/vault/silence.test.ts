/** Nothing that mcp-run or its libraries can be made to print holds a credential or a value: the built program, loud. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type FakeAnswer, type FakeRequest, FakeVault } from "../../helpers/fake-vault.ts";
import { Installation, MAIN } from "../../helpers/installation.ts";

let mcpRun: Installation;
let server: FakeVault;

beforeEach(async () => {
  mcpRun = new Installation();
  server = await FakeVault.start();
  server.kv2.put("mcp/key", { value: "canary-value" });
});
afterEach(async () => {
  await server.stop();
  mcpRun.remove();
});

/** Of the libraries, and of Node itself. */
const LOUD = { DEBUG: "*", DEBUG_DEPTH: "10", NODE_DEBUG: "http,https,net,tls,stream,timer" };
const AUTH = { method: "approle", roleId: "role-1", secretId: "env:SECRET_ID" };

async function runLoudly(
  auth: object,
  env: Record<string, string>,
): Promise<{ status: number; all: string }> {
  const entry = JSON.stringify({ type: "vault", address: server.url, auth });
  mcpRun.profile(
    "p",
    `providers: { vault: ${entry} }\ncommand: node\nsecrets: { KEY: "vault:secret/mcp/key#value" }`,
  );
  const args = [MAIN, "--log-level", "debug", "exec", "p", "--", process.execPath, "-e", "0"];
  const child = spawn(process.execPath, args, {
    env: { ...mcpRun.env, ...env, ...LOUD },
    cwd: mcpRun.home,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = once(child, "close");
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const [status] = await ended;
  return { status, all: out + err };
}

/** A refusal that repeats all that it was sent, and more. */
const echo =
  (status: number) =>
  (request: FakeRequest): FakeAnswer => ({
    status,
    body: { errors: [`canary-words ${JSON.stringify(request)}`], data: { secret: "canary-data" } },
  });

describe("a run with DEBUG=* and every line of our own", () => {
  it("shows no secret when all is well", async () => {
    const { status, all } = await runLoudly(AUTH, { SECRET_ID: "canary-secret-id" });

    expect(all).not.toContain("canary");
    expect(status).toBe(0);
  });

  it.each([
    ["every request", "", 400],
    ["every request", "", 403],
    ["every request", "", 500],
    ["the login", "auth/", 500],
    ["the look-up of the mount", "sys/internal/", 500],
    ["the read", "secret/", 400],
    ["the read", "secret/", 403],
    ["the read", "secret/", 404],
    ["the read", "secret/", 500],
  ])("shows none when %s that begins with «%s» is refused with %d", async (_what, prefix, status) => {
    server.before = (request) => (request.path.startsWith(prefix) ? echo(status)(request) : undefined);

    const ran = await runLoudly(AUTH, { SECRET_ID: "canary-secret-id" });

    expect(ran.all).toContain("Cannot read secret KEY from vault:secret/mcp/key#value");
    expect(ran.all).toContain(`(${status}`);
    expect(ran.all).not.toContain("canary");
    expect([69, 77, 78]).toContain(ran.status);
  });

  it("shows none when the connection is cut", async () => {
    server.cut = true;

    const { status, all } = await runLoudly({ method: "token", token: "env:VT" }, { VT: "canary-root" });

    expect(all).toContain("ECONNRESET");
    expect(all).not.toContain("canary");
    expect(status).toBe(69);
  });
});
