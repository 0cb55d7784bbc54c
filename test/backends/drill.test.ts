/** The drill of docs/drill.md as a team runs it: the script itself, against real backends. */
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { describeBackend } from "../helpers/backends.ts";
import { closeAll } from "../helpers/closings.ts";
import { MAIN, ROOT } from "../helpers/installation.ts";
import { MOTO_REGION, MotoServer } from "../helpers/moto-server.ts";
import { killAll } from "../helpers/processes.ts";
import { VaultServer } from "../helpers/vault-server.ts";

const SCRIPT = join(ROOT, "docs/drill/drill.mjs");
/** On a machine with much to do; a rotation ends as soon as everybody has answered. */
const PATIENTLY = ["--ack-timeout", "240s"];
const GOOD = [
  "the rotation has ended with 0",
  /failed client requests: 0 of \d+/,
  "servers that work with the new key: 20 of 20",
  /status shows the new version: \S+/,
  "the service refuses the leaked key",
  "the store has the new version, and does not hand out the leaked one",
  "mcp-run audit verify: the audit is whole",
  /the report is in .*/,
  "no key in a file of mcp-run, in what it says, or in the report",
];

let folder: string;
const closings: (() => Promise<unknown> | unknown)[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "mcp-run-drilled-"));
});

afterEach(async () => {
  await closeAll(closings);
  rmSync(folder, { recursive: true, force: true });
});

/** What the script has said, in an environment with nothing but what a backend needs. */
async function drill(env: Readonly<Record<string, string>>, ...args: readonly string[]) {
  const child = spawn(process.execPath, [SCRIPT, "--report", join(folder, "report.md"), ...args], {
    env: { PATH: process.env.PATH, HOME: folder, TMPDIR: folder, MCP_RUN: MAIN, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  closings.push(() => killAll([child.pid ?? 0]));
  let out = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk) => {
      out += chunk;
    });
  const status = await new Promise((resolve) => child.once("close", resolve));
  return { status, out };
}

/** All is well, and nothing of it is left on this machine but the report. */
function expectAllWell({ status, out }: Awaited<ReturnType<typeof drill>>, what: string): void {
  expect(status, out).toBe(0);
  const verdicts = out
    .split("\n")
    .filter((line) => /^[✔✘] /.test(line))
    .slice(-GOOD.length);
  expect(verdicts).toEqual(GOOD.map((good) => expect.stringMatching(good)));
  expect(out).toContain("20 acknowledged");
  const report = readFileSync(join(folder, "report.md"), "utf8");
  expect(report.match(/has the new value/g)?.length).toBeGreaterThanOrEqual(20);
  expect(readdirSync(folder)).toEqual(["report.md"]);
  process.stdout.write(`${what}: ${out.slice(out.indexOf("from Enter")).trim().replaceAll(/\s+/g, " ")}\n`);
}

describeBackend("the drill in Vault", ["vault"], () => {
  let vault: VaultServer;
  let env: Readonly<Record<string, string>>;

  beforeEach(async () => {
    vault = await VaultServer.start();
    closings.push(() => vault.stop());
    const policy = 'path "secret/*" { capabilities = ["create", "read", "update", "delete", "list"] }';
    env = { VAULT_ADDR: vault.url, VAULT_TOKEN: await vault.tokenWith(policy) };
  });

  it("ends well: its clients notice nothing, and the old version is destroyed", async () => {
    expectAllWell(await drill(env, "--ref", "vault:secret/drill", "--keep", ...PATIENTLY), "Vault");

    const { json, status } = await vault.api("GET", "secret/data/drill?version=1");
    expect(status).toBe(404);
    expect(json.data.metadata.destroyed).toBe(true);
    expect((await vault.api("GET", "secret/data/drill")).status).toBe(200);
    expect((await vault.api("GET", "secret/data/drill-mcp-run-pending")).status).toBe(404);
  }, 600_000);

  it("leaves nothing in the store", async () => {
    const { status, out } = await drill(env, "--supervisors", "1", ...PATIENTLY);
    expect(status, out).toBe(0);
    expect((await vault.api("LIST", "secret/metadata")).status).toBe(404);
  });

  it("says what is wrong where it can't begin, and leaves nothing behind", async () => {
    const { status, out } = await drill({ ...env, VAULT_TOKEN: "canary-wrong" }, "--supervisors", "1");
    expect(status).toBe(1);
    expect(out).toMatch(/✘ mcp-run secrets set vault:.* ended with 77: .*is not valid/);
    expect(out).not.toContain("canary-wrong");
    expect(readdirSync(folder)).toEqual([]);
  });

  it("does not end well where a server is at work that can't be given the new key", async () => {
    const { status, out } = await drill(env, "--supervisors", "1", "--stubborn");
    expect(status).toBe(1);
    expect(out).toContain("✘ the rotation has ended with 75");
    expect(out).toContain("✘ the service refuses the leaked key");
    expect((await vault.api("LIST", "secret/metadata")).status).toBe(404);
  });
});

describeBackend("the drill in AWS Secrets Manager", ["moto"], () => {
  it("ends well: its clients notice nothing, and the old version bears no label", async () => {
    const moto = await MotoServer.start({ mended: true });
    closings.push(() => moto.stop());
    const env = {
      AWS_ENDPOINT_URL: moto.url,
      AWS_REGION: MOTO_REGION,
      AWS_ACCESS_KEY_ID: "canary-id",
      AWS_SECRET_ACCESS_KEY: "canary-secret",
    };

    expectAllWell(await drill(env, "--ref", "aws:drill", "--keep", ...PATIENTLY), "AWS");

    const now = await moto.must("GetSecretValue", { SecretId: "drill" });
    const { VersionIdsToStages: stages } = await moto.must("DescribeSecret", { SecretId: "drill" });
    const labelled = Object.entries<string[]>(stages).filter(([, labels]) => labels.length > 0);
    expect(labelled).toEqual([[now.VersionId, expect.arrayContaining(["AWSCURRENT"])]]);
    expect(Object.values(stages).flat()).not.toContain("AWSPENDING");
  }, 600_000);
});
