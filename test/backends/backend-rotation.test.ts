/** Keys that their backend replaces by itself, under servers that run: the real backend, the built program. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { describeBackend } from "../helpers/backends.ts";
import { closings, Drill, hash, idIn } from "../helpers/drill.ts";
import { Gateway } from "../helpers/gateway.ts";
import { PostgresServer } from "../helpers/postgres-server.ts";
import { VaultServer } from "../helpers/vault-server.ts";

const CONSENT = ["--revoke-first"];

/** Logs in at the database at each call, with what it was given. */
function server(login: readonly string[]): string {
  return `
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { createInterface } from "node:readline";
const { KEY, USER_NAME } = process.env;
const hash = (text) => createHash("sha256").update(text).digest("hex");
const login = ${JSON.stringify(login)}.map((word) => word === "USER" ? USER_NAME : word);
const call = () => new Promise((resolve) => {
  execFile(login[0], login.slice(1), { env: { HOME: "/", PGPASSWORD: KEY } }, (error) => {
    const told = { pid: process.pid, key: hash(KEY), sibling: "" };
    resolve({ isError: error !== null, content: [{ type: "text", text: error ? "refused" : JSON.stringify(told) }] });
  });
});
const methods = {
  initialize: () => ({ protocolVersion: "2025-11-25", capabilities: { tools: {} }, serverInfo: { name: "db", version: "1" } }),
  "tools/list": () => ({ tools: [{ name: "use", inputSchema: { type: "object" } }] }),
  "tools/call": call,
};
createInterface({ input: process.stdin }).on("line", async (line) => {
  const { id, method, params } = JSON.parse(line);
  if (id === undefined || !methods[method]) return;
  process.stdout.write(JSON.stringify({ jsonrpc: "2.0", id, result: await methods[method](params) }) + "\\n");
});
`;
}

/** A database whose accounts a Vault looks after, and an installation whose servers log in there. */
async function databaseIn(path: string, policy: string) {
  const database = await PostgresServer.start();
  closings.push(() => database.stop());
  const vault = await VaultServer.start();
  closings.push(() => vault.stop());
  const gateway = await Gateway.to(vault.url);
  closings.push(() => gateway.shut());
  await database.query("create role app login password 'canary-first'");
  await vault.must("POST", "sys/mounts/database", { type: "database" });
  await vault.must("POST", "database/config/pg", database.vaultConfig);
  await vault.must("POST", "database/static-roles/app", {
    db_name: "pg",
    username: "app",
    rotation_period: "24h",
  });
  await vault.must("POST", "database/roles/lent", {
    db_name: "pg",
    creation_statements: [
      `create role "{{name}}" login password '{{password}}' valid until '{{expiration}}'`,
    ],
    default_ttl: "1h",
  });
  const token = async (text: string) => vault.tokenWith(text);
  const drill = new Drill({
    providers: `vault: { type: vault, address: "${gateway.url}" }`,
    ref: `vault:${path}`,
    env: { VAULT_TOKEN: await token(policy) },
  });
  const file = drill.home.write("server.mjs", server(database.loginOf("USER")));
  const profile = (more = "") =>
    drill.home.profile(
      "p",
      `version: 1
providers: { vault: { type: vault, address: "${gateway.url}" } }
command: ${process.execPath}
args: [${file}]
probe: { tool: use }
fetchTimeout: 3s
${more}
secrets:
  KEY: { from: "vault:${path}#password", rotate: { backend: true } }
  USER_NAME: { from: "vault:${path}#username", scrub: false }
`,
    );
  profile();
  return { database, vault, gateway, drill, profile };
}

describeBackend("a static role of Vault's database engine", ["vault", "initdb", "postgres"], () => {
  const PATH = "database/static-creds/app";
  const POLICY = `
path "${PATH}" { capabilities = ["read"] }
path "database/rotate-role/app" { capabilities = ["update"] }
`;

  it("gets another password, which every server has, and the old one is refused", async () => {
    const { database, vault, drill } = await databaseIn(PATH, POLICY);
    const before = (await vault.must("GET", PATH)).data;
    await drill.serve("p", 3);
    for (const { key } of await drill.told()) expect(key).toBe(hash(before.password));
    const report = join(drill.home.home, "incident.md");

    const result = await drill.rotate([...CONSENT, "--report", report]);

    expect(result, result.out).toMatchObject({ status: 0 });
    const after = (await vault.must("GET", PATH)).data;
    expect(after.password).not.toBe(before.password);
    for (const { key } of await drill.told()) expect(key).toBe(hash(after.password));
    expect(await database.lets("app", before.password)).toBe(false);
    expect(await database.lets("app", after.password)).toBe(true);
    expect(result.out).toContain("3 acknowledged");
    expect(result.out).toContain("static role of Vault");
    expect(result.out).toContain("can't be tried before or put back");
    expect(result.out).not.toContain("✔ canary");
    expect(result.out).not.toContain("OLD KEY STILL VALID");
    const text = readFileSync(report, "utf8");
    for (const { last_vault_rotation: version } of [before, after]) expect(text).toContain(version);
    for (const { password } of [before, after]) {
      expect(result.out + text).not.toContain(password);
      expect(drill.home.filesWith(password)).toEqual([]);
    }
    expect(drill.home.run(["audit", "verify"])).toMatchObject({ status: 0 });
    expect(idIn(result)).not.toBe("");
  });
});
