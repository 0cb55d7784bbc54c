/** Keys that their backend replaces by itself, under servers that run: the real backend, the built program. */
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { describeBackend } from "../helpers/backends.ts";
import { closings, Drill, hash, idIn, motoStore, SIBLING, vaultStore } from "../helpers/drill.ts";
import { Gateway } from "../helpers/gateway.ts";
import { PostgresServer } from "../helpers/postgres-server.ts";
import { until } from "../helpers/server-process.ts";
import { VaultServer } from "../helpers/vault-server.ts";

const CONSENT = ["--revoke-first"];
/** Each of these starts a program that logs in at the database: so many a second, and at a time. */
const LOGINS = [9, 6] as const;

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
fetchTimeout: 30s
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

  it("is left as it is by a dry run, and by `--yes` without consent", async () => {
    const { vault, gateway, drill } = await databaseIn(PATH, POLICY);
    const before = (await vault.must("GET", PATH)).data;

    const dry = await drill.rotate(["--dry-run"]);
    const refused = await drill.rotate();

    expect(dry, dry.out).toMatchObject({ status: 0 });
    expect(dry.out).toContain(before.last_vault_rotation);
    expect(refused, refused.out).toMatchObject({ status: 64 });
    expect(refused.out).toContain("Try `--revoke-first` beside `--yes`.");
    expect(gateway.passed.filter(({ method }) => method !== "GET")).toEqual([]);
    expect((await vault.must("GET", PATH)).data.password).toBe(before.password);
  });

  it("is left as it is where the policy does not let it be rotated, which ends with 69", async () => {
    const { vault, drill } = await databaseIn(PATH, `path "${PATH}" { capabilities = ["read"] }`);
    const before = (await vault.must("GET", PATH)).data;

    const result = await drill.rotate(CONSENT);

    expect(result, result.out).toMatchObject({ status: 69 });
    expect(result.out).toContain('path "database/rotate-role/app" { capabilities = ["update"] }');
    expect(result.out).toContain("discarded");
    expect((await vault.must("GET", PATH)).data.password).toBe(before.password);
  });

  it("is not rotated again by a rotation that goes on after the answer was lost", async () => {
    const { database, vault, gateway, drill } = await databaseIn(PATH, POLICY);
    const before = (await vault.must("GET", PATH)).data;
    await drill.serve("p", 1);
    gateway.onRequest = (method, path) => {
      if (method === "GET" || !path.includes("rotate-role")) return;
      gateway.onRequest = () => undefined;
      void gateway.shut();
    };

    const broken = await drill.rotate(CONSENT);
    expect(broken, broken.out).toMatchObject({ status: 75 });
    expect(broken.out).toContain(`mcp-run rotate p --resume ${idIn(broken)}`);
    expect(broken.out).toContain("is no way any more: a backend may have replaced a key by itself");
    const undone = await drill.start(["p", "--rollback", idIn(broken)]).ended;
    expect(undone, undone.out).toMatchObject({ status: 75 });
    await gateway.open();
    const refused = await drill.start(["p", "--rollback", idIn(broken)]).ended;
    expect(refused.out).toContain("nobody can put the old one back");
    const ended = await drill.resume(idIn(broken));

    expect(ended, ended.out).toMatchObject({ status: 0 });
    expect(gateway.count("rotate-role")).toBe(1);
    const { password } = (await vault.must("GET", PATH)).data;
    for (const { key } of await drill.told()) expect(key).toBe(hash(password));
    expect(await database.lets("app", before.password)).toBe(false);
  });

  it("goes on when its database refused the new password, as soon as that takes it", async () => {
    const { database, vault, drill } = await databaseIn(PATH, POLICY);
    const before = (await vault.must("GET", PATH)).data;
    await database.query("alter role app rename to other");

    const broken = await drill.rotate(CONSENT);
    expect(broken, broken.out).toMatchObject({ status: 75 });
    await database.query("alter role other rename to app");
    const ended = await drill.resume(idIn(broken));

    expect(ended, ended.out).toMatchObject({ status: 0 });
    const after = (await vault.must("GET", PATH)).data;
    expect(await database.lets("app", after.password)).toBe(true);
    expect(await database.lets("app", before.password)).toBe(false);
  });

  it.each(["rotate", "revoke", "verify", "spread"])(
    "goes on when it was killed after its step %s, and is rotated once",
    async (step) => {
      const { database, vault, gateway, drill } = await databaseIn(PATH, POLICY);
      const before = (await vault.must("GET", PATH)).data;
      await drill.serve("p", 1);

      const killed = await drill.endAfter(`✔ ${step}`, "SIGKILL", CONSENT);
      const ended = await drill.resume(idIn(killed));

      expect(killed.status).toBeNull();
      expect(ended, ended.out).toMatchObject({ status: 0 });
      expect(gateway.count("rotate-role")).toBe(1);
      const { password } = (await vault.must("GET", PATH)).data;
      for (const { key } of await drill.told()) expect(key).toBe(hash(password));
      expect(await database.lets("app", before.password)).toBe(false);
    },
  );
});

describeBackend("leases of Vault's database engine", ["vault", "initdb", "postgres"], () => {
  const PATH = "database/creds/lent";
  const LOOKUP = `path "sys/leases/lookup/${PATH}" { capabilities = ["list", "sudo"] }\n`;
  const READ = `
path "${PATH}" { capabilities = ["read"] }
path "sys/leases/renew" { capabilities = ["update"] }
`;
  const REVOKE = `path "sys/leases/revoke" { capabilities = ["update"] }\n`;

  async function lentIn(policy = READ + LOOKUP + REVOKE) {
    const room = await databaseIn(PATH, policy);
    const { vault, database } = room;
    const alive = async (): Promise<readonly string[]> =>
      ((await vault.api("LIST", `sys/leases/lookup/${PATH}`)).json?.data?.keys ?? [])
        .map((id: string) => `${PATH}/${id}`)
        .sort();
    /** Somebody has read one, and it is no longer a secret. */
    const leak = async () => {
      const { data, lease_id: id } = await vault.must("GET", PATH);
      const isGood = () => database.lets(data.username, data.password);
      expect(await isGood()).toBe(true);
      return { id: id as string, isGood, password: data.password as string };
    };
    return { ...room, alive, leak };
  }

  it("are all replaced under servers whose clients notice nothing, and those of before are dead", async () => {
    const { drill, alive, leak, gateway } = await lentIn();
    await drill.serve("p", 3);
    const leaked = await leak();
    const before = await alive();
    expect(before).toHaveLength(4);
    const had = (await drill.told()).map(({ key }) => key);
    const report = join(drill.home.home, "incident.md");

    const rotating = () => drill.rotate(["--report", report]);
    const { result, traffic } = await drill.underLoad(rotating, ...LOGINS);

    expect(result, result.out).toMatchObject({ status: 0 });
    expect(traffic.wrong).toEqual([]);
    for (const id of before) expect(result.out).toContain(id);
    expect(await leaked.isGood()).toBe(false);
    const after = await alive();
    expect(after).toHaveLength(3);
    expect(after.filter((id) => before.includes(id))).toEqual([]);
    for (const { key } of await drill.told()) expect(had).not.toContain(key);
    expect(result.out).toContain("✔ canary");
    expect(result.out).toContain("3 acknowledged");
    expect(gateway.passed.filter(({ path }) => path.includes("prefix"))).toEqual([]);
    expect(result.out + readFileSync(report, "utf8")).not.toContain(leaked.password);
    expect(readFileSync(report, "utf8")).not.toContain("OLD KEY STILL VALID");
    expect(drill.home.filesWith(leaked.password)).toEqual([]);
  });

  it("are not touched where they can't be listed, and the error has the line of the policy", async () => {
    const { drill, leak } = await lentIn(READ + REVOKE);
    const leaked = await leak();

    const result = await drill.rotate();

    expect(result, result.out).toMatchObject({ status: 77 });
    expect(result.out).toContain(LOOKUP.trim());
    expect(await leaked.isGood()).toBe(true);
  });

  it("are named where they can't be revoked, and revoked when they can", async () => {
    const { vault, drill, leak, alive } = await lentIn(READ + LOOKUP);
    await drill.serve("p", 1);
    const leaked = await leak();

    const stuck = await drill.rotate();
    expect(stuck, stuck.out).toMatchObject({ status: 75 });
    expect(stuck.out).toContain("OLD KEY STILL VALID");
    expect(stuck.out).toContain(leaked.id);
    expect(stuck.out).toContain('path "sys/leases/revoke"');
    const lent = await alive();
    const env = { VAULT_TOKEN: await vault.tokenWith(READ + LOOKUP + REVOKE) };
    const ended = await drill.start(["p", "--resume", idIn(stuck)], env).ended;

    expect(ended, ended.out).toMatchObject({ status: 0 });
    expect(await leaked.isGood()).toBe(false);
    expect((await alive()).every((id) => lent.includes(id))).toBe(true);
    await drill.told();
  });

  it("stay alive for a server that can't take another, and for nobody else", async () => {
    const { drill, profile, leak, alive } = await lentIn();
    profile("refresh: { restart: never }");
    await drill.serve("p", 1);
    await drill.told();
    const [kept = ""] = await alive();
    const leaked = await leak();

    const stuck = await drill.rotate(["--missing-ok", hostname(), "--ack-timeout", "15s"]);

    expect(stuck, stuck.out).toMatchObject({ status: 75 });
    expect(stuck.out).toContain(`lease ${kept} kept for p on ${hostname()}`);
    expect(await leaked.isGood()).toBe(false);
    await drill.told();
    await drill.end();
    const ended = await drill.resume(idIn(stuck));
    expect(ended, ended.out).toMatchObject({ status: 0 });
    expect(await alive()).toEqual([]);
  });

  it("stay alive as long as a supervisor says nothing", async () => {
    const { drill, leak } = await lentIn();
    await drill.serve("p", 2);
    await drill.told();
    const leaked = await leak();
    const silent = drill.sessions[0]?.pid ?? 0;
    process.kill(silent, "SIGSTOP");
    closings.push(() => process.kill(silent, "SIGCONT"));

    const stuck = await drill.rotate(["--ack-timeout", "3s"]);
    expect(stuck, stuck.out).toMatchObject({ status: 75 });
    expect(await leaked.isGood()).toBe(true);
    process.kill(silent, "SIGCONT");
    const ended = await drill.resume(idIn(stuck));

    expect(ended, ended.out).toMatchObject({ status: 0 });
    expect(await leaked.isGood()).toBe(false);
    await drill.told();
  });

  it.each(["canary", "spread", "revoke", "verify"])(
    "are all replaced once when it was killed after its step %s",
    async (step) => {
      const { drill, leak, alive, gateway } = await lentIn();
      await drill.serve("p", 2);
      const leaked = await leak();
      const before = await alive();
      const reads = () => gateway.passed.filter(({ path }) => path === `/v1/${PATH}`).length;

      const killed = await drill.endAfter(`✔ ${step}`, "SIGKILL");
      const readBefore = reads();
      const ended = await drill.resume(idIn(killed));

      expect(killed.status).toBeNull();
      expect(ended, ended.out).toMatchObject({ status: 0 });
      expect(await leaked.isGood()).toBe(false);
      expect((await alive()).filter((id) => before.includes(id))).toEqual([]);
      // Who has another lease by then keeps it.
      if (step !== "canary") expect(reads()).toBe(readBefore);
      await drill.told();
    },
  );
});

describeBackend("the rotation of AWS Secrets Manager", ["moto", "script"], () => {
  const FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:rotate";
  const NEW = "canary-key-by-function";

  async function rotatedStore() {
    const store = await motoStore();
    const { moto, drill } = store;
    // Only tests the function, and rotates nothing yet.
    await moto.must("RotateSecret", {
      SecretId: "mcp/app",
      RotationLambdaARN: FUNCTION,
      RotationRules: { AutomaticallyAfterDays: 30 },
      RotateImmediately: false,
    });
    const written = drill.home.read("config/profiles/p.yaml").toString();
    drill.home.profile("p", written.replace(/rotate: .* }$/m, "rotate: { backend: true } }"));
    const stages = async (): Promise<Record<string, readonly string[]>> =>
      (await moto.must("DescribeSecret", { SecretId: "mcp/app" })).VersionIdsToStages;
    const pending = async () =>
      Object.entries(await stages()).find(
        ([, labels]) => labels.includes("AWSPENDING") && !labels.includes("AWSCURRENT"),
      )?.[0];
    const { VersionId: old } = await moto.must("GetSecretValue", { SecretId: "mcp/app" });
    /** What a rotation function does in its four steps, until the last of them. */
    const make = async (): Promise<string> => {
      await until("AWS has begun a rotation", async () => (await pending()) !== undefined);
      const version = (await pending()) ?? "";
      await moto.must("PutSecretValue", {
        SecretId: "mcp/app",
        ClientRequestToken: version,
        SecretString: JSON.stringify({ key: NEW, sibling: SIBLING }),
        VersionStages: ["AWSPENDING"],
      });
      drill.valid = [...drill.valid, NEW];
      return version;
    };
    const finish = (version: string) =>
      moto.must("UpdateSecretVersionStage", {
        SecretId: "mcp/app",
        VersionStage: "AWSCURRENT",
        MoveToVersionId: version,
        RemoveFromVersionId: old,
      });
    return { ...store, old, stages, pending, make, finish };
  }

  it("makes another key, which every server has, and a person says when the old one is dead", async () => {
    const { moto, drill, old, stages, make, finish } = await rotatedStore();
    await drill.serve("p", 3);

    const { result, traffic } = await drill.underLoad(async () => {
      const rotating = drill.onTerminal();
      await finish(await make());
      await until("the person is asked", async () => rotating.shown().includes("revoked where it was made"));
      drill.valid = [NEW];
      rotating.answer("y");
      return rotating.ended;
    });

    expect(result, result.out).toMatchObject({ status: 0 });
    expect(result.out).toContain("rotation of AWS Secrets Manager");
    expect(result.out).toContain("Requests will fail in between. Do it?");
    expect(traffic.wrong).toEqual([]);
    for (const { key, sibling } of await drill.told())
      expect({ key, sibling }).toEqual({ key: hash(NEW), sibling: hash(SIBLING) });
    const now = await moto.must("GetSecretValue", { SecretId: "mcp/app" });
    expect(JSON.parse(now.SecretString).key).toBe(NEW);
    expect((await stages())[old] ?? []).toEqual([]);
    expect(result.out).not.toContain("canary-");
    expect(drill.placesWithValues()).toEqual([]);
  });

  it("leaves the version before where it is as long as nobody says that it is dead", async () => {
    const { drill, old, stages, make, finish } = await rotatedStore();
    await drill.serve("p", 1);

    const rotating = drill.rotate(CONSENT);
    await finish(await make());
    const result = await rotating;

    expect(result, result.out).toMatchObject({ status: 75 });
    expect(result.out).toContain("OLD KEY STILL VALID: KEY of aws:mcp/app");
    expect((await stages())[old]).toEqual(["AWSPREVIOUS"]);
    for (const { key } of await drill.told()) expect(key).toBe(hash(NEW));
  });

  it("is begun once by a rotation that was killed while AWS was at it, and waited for", async () => {
    const { drill, stages, pending, make, finish } = await rotatedStore();
    await drill.serve("p", 1);
    const { child, ended } = drill.start(["p", "--reason", "drill", ...CONSENT]);
    const version = await make();
    child.kill("SIGKILL");
    const killed = await ended;

    const resumed = drill.resume(idIn(killed));
    await finish(version);
    const result = await resumed;

    expect(result, result.out).toMatchObject({ status: 75 });
    expect(result.out).toContain(`version ${version}`);
    expect(result.out).toContain("OLD KEY STILL VALID");
    expect(Object.keys(await stages())).toHaveLength(2);
    expect(await pending()).toBeUndefined();
    for (const { key } of await drill.told()) expect(key).toBe(hash(NEW));
  });

  it("is not begun while another one is under way", async () => {
    const { moto, drill, stages } = await rotatedStore();
    await moto.must("RotateSecret", { SecretId: "mcp/app", ClientRequestToken: "f".repeat(36) });
    const before = await stages();

    const result = await drill.rotate(CONSENT);

    expect(result, result.out).toMatchObject({ status: 75 });
    expect(result.out).toContain("a rotation of AWS itself that failed");
    expect(result.out).toContain("--remove-from-version-id");
    expect(await stages()).toEqual(before);
  });

  it("is refused with what to do where none is enabled", async () => {
    const { drill } = await motoStore();
    const written = drill.home.read("config/profiles/p.yaml").toString();
    drill.home.profile("p", written.replace(/rotate: .* }$/m, "rotate: { backend: true } }"));

    const result = await drill.rotate(CONSENT);

    expect(result, result.out).toMatchObject({ status: 78 });
    expect(result.out).toContain("AWS does not rotate it: no rotation is enabled for it");
    expect(result.out).toContain("aws secretsmanager rotate-secret --secret-id mcp/app");
  });
});

describeBackend("a secret that no backend replaces by itself", ["vault"], () => {
  it("is refused with what to do, where it is kept in KV", async () => {
    const { drill } = await vaultStore();
    const written = drill.home.read("config/profiles/p.yaml").toString();
    drill.home.profile("p", written.replace(/rotate: .*$/m, "rotate: { backend: true } }"));

    const result = await drill.rotate(CONSENT);

    expect(result, result.out).toMatchObject({ status: 78 });
    expect(result.out).toContain("is a KV store, which keeps keys and makes none");
    expect(result.out).toContain("Try `rotate:` with `generate`, `hook` or `console` instead of `backend`.");
  });
});
