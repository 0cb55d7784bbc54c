/**
 * The refusals of real servers, told by the built program with all logging switched on: no token, secret-id, key or
 * value is in them. What a server may do besides refusing is in test/cli/leaks.test.ts.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { EXIT_CODES } from "../../src/errors.ts";
import { describeBackend } from "../helpers/backends.ts";
import { Installation } from "../helpers/installation.ts";
import { LOUD, leaksIn, runInRoom } from "../helpers/loud-run.ts";
import { MOTO_REGION, MotoServer } from "../helpers/moto-server.ts";
import { VaultServer } from "../helpers/vault-server.ts";

/** Of the requests that make secrets; they are sent past the SDK, which would invent one. */
const REQUEST_TOKEN = "00000000-0000-4000-8000-000000000001";

/** What goes wrong, by the name of the secret that it happens to. */
interface Walk {
  readonly providers: Readonly<Record<string, object>>;
  readonly secrets: Readonly<Record<string, object | string>>;
  /** Those of them that are read all the same. */
  readonly fine: readonly string[];
  /** The variables that the `env:` refs name. */
  readonly credentials: Readonly<Record<string, string>>;
  readonly values: readonly string[];
}

function describeWalk(prepare: () => Promise<Walk>): void {
  let room: Installation;
  let walk: Walk;

  beforeAll(async () => {
    room = new Installation();
    walk = await prepare();
    const { providers, secrets } = walk;
    const profiles = { walk: { command: "node", secrets } };
    room.write("config/mcp-run.yaml", JSON.stringify({ version: 1, providers, profiles }));
  });
  afterAll(() => room?.remove());

  it.each([
    ["exec", ["exec", "walk", "--", process.execPath, "-e", "0"], "secret NAME from"],
    ["check", ["check", "--json", "walk"], '"name": "NAME"'],
  ])("%s gives nothing away", async (verb, args, pattern) => {
    const { status, everything } = await runInRoom(room, ["--log-level", "debug", ...args], {
      ...walk.credentials,
      ...LOUD,
    });

    expect(leaksIn(everything, [...Object.values(walk.credentials), ...walk.values])).toEqual([]);
    const names = Object.keys(walk.secrets);
    const unsaid = names.filter((name) => !everything.includes(pattern.replace("NAME", name)));
    expect(unsaid).toEqual(verb === "exec" ? walk.fine : []);
    expect(status).not.toBe(0);
    expect(status).not.toBe(EXIT_CODES.internal);
    expect(status).not.toBe(null);
    for (const value of [...Object.values(walk.credentials), ...walk.values]) {
      expect(room.filesWith(value)).toEqual([]);
    }
  });
}

describeBackend("what is said of a Vault that refuses", ["vault"], () => {
  let server: VaultServer;
  let sealed: VaultServer;

  beforeAll(async () => {
    [server, sealed] = await Promise.all([VaultServer.start(), VaultServer.start()]);
  });
  afterAll(() => Promise.all([server.stop(), sealed.stop()]));

  describeWalk(async () => {
    const mount = await server.mountKv(2);
    const put = (name: string) =>
      server.must("POST", `${mount}/data/${name}`, { data: { key: "canary-value" } });
    for (const name of ["plain", "deleted", "destroyed"]) await put(name);
    await server.must("DELETE", `${mount}/data/deleted`);
    await server.must("POST", `${mount}/destroy/destroyed`, { versions: [1] });
    await server.must("POST", "sys/auth/approle", { type: "approle" });
    await server.must("POST", "auth/approle/role/walker", { token_policies: ["default"] });
    const { data: role } = await server.must("GET", "auth/approle/role/walker/role-id");
    const { data: given } = await server.must("POST", "auth/approle/role/walker/secret-id", {});
    const wrap = { "X-Vault-Wrap-TTL": "60" };
    const { wrap_info: used } = await server.must("POST", "auth/approle/role/walker/secret-id", {}, wrap);
    await server.must("POST", "sys/wrapping/unwrap", undefined, { "X-Vault-Token": used.token });
    const reader = await server.tokenWith(`path "${mount}/*" { capabilities = ["read"] }`);
    const nobody = await server.tokenWith('path "other/*" { capabilities = ["read"] }');
    await sealed.must("POST", "sys/seal");

    const by = (auth: object, address = server.url) => ({ type: "vault", address, auth });
    const token = (name: string) => by({ method: "token", token: `env:${name}` });
    const approle = (secretId: string, more = {}) =>
      by({ method: "approle", roleId: role.role_id, secretId: `env:${secretId}`, ...more });
    return {
      providers: {
        reader: token("READER"),
        nobody: token("NOBODY"),
        wrong: token("WRONG"),
        approle: approle("SECRET_ID"),
        "wrong-approle": approle("WRONG"),
        "used-up": approle("USED", { wrapped: true }),
        sealed: by({ method: "token", token: "env:READER" }, sealed.url),
      },
      secrets: {
        PLAIN: `reader:${mount}/plain#key`,
        ABSENT: `reader:${mount}/absent`,
        ABSENT_FIELD: `reader:${mount}/plain#absent`,
        ABSENT_VERSION: { from: `reader:${mount}/plain`, version: "9" },
        DELETED: `reader:${mount}/deleted`,
        DESTROYED: `reader:${mount}/destroyed`,
        ABSENT_MOUNT: "reader:nowhere/plain",
        NO_RIGHTS: `nobody:${mount}/plain`,
        WRONG_TOKEN: `wrong:${mount}/plain`,
        ROLE_WITHOUT_RIGHTS: `approle:${mount}/plain`,
        WRONG_SECRET_ID: `wrong-approle:${mount}/plain`,
        USED_UP: `used-up:${mount}/plain`,
        SEALED: `sealed:${mount}/plain`,
      },
      fine: ["PLAIN"],
      credentials: {
        READER: reader,
        NOBODY: nobody,
        WRONG: "hvs.canary-wrong",
        SECRET_ID: given.secret_id,
        USED: used.token,
      },
      values: ["canary-value"],
    };
  });
});

describeBackend("what is said of an AWS that refuses", ["moto"], () => {
  let server: MotoServer;

  beforeAll(async () => {
    server = await MotoServer.start();
  });
  afterAll(() => server.stop());

  describeWalk(async () => {
    for (const Name of ["plain", "deleted", "private"]) {
      await server.must("CreateSecret", {
        Name,
        SecretString: "canary-value",
        ClientRequestToken: REQUEST_TOKEN,
      });
    }
    await server.must("DeleteSecret", { SecretId: "deleted" });
    const rights = (Resource: string) => ({
      Version: "2012-10-17",
      Statement: [{ Effect: "Allow", Action: "secretsmanager:*", Resource }],
    });
    const reader = await server.userWith(rights("*"));
    const nobody = await server.userWith(
      rights("arn:aws:secretsmanager:eu-west-1:123456789012:secret:other-*"),
    );
    await server.enforceIam(true);

    const by = (accessKeyId: string, secretAccessKey: string) => ({
      type: "aws-secrets-manager",
      region: MOTO_REGION,
      endpoint: server.url,
      credentials: { accessKeyId: `env:${accessKeyId}`, secretAccessKey: `env:${secretAccessKey}` },
    });
    return {
      providers: {
        reader: by("READER_ID", "READER_KEY"),
        nobody: by("NOBODY_ID", "NOBODY_KEY"),
        wrong: by("READER_ID", "WRONG_KEY"),
        stranger: by("STRANGER_ID", "WRONG_KEY"),
      },
      secrets: {
        PLAIN: "reader:plain",
        ABSENT: "reader:absent",
        NOT_JSON: "reader:plain#field",
        ABSENT_VERSION: { from: "reader:plain", version: "11111111-2222-3333-4444-555555555555" },
        DELETED: "reader:deleted",
        NO_RIGHTS: "nobody:private",
        WRONG_SIGNATURE: "wrong:plain",
        UNKNOWN_KEY: "stranger:plain",
      },
      fine: ["PLAIN"],
      credentials: {
        READER_ID: reader.accessKeyId,
        READER_KEY: reader.secretAccessKey,
        NOBODY_ID: nobody.accessKeyId,
        NOBODY_KEY: nobody.secretAccessKey,
        STRANGER_ID: "AKIAUNKNOWNUNKNOWN00",
        WRONG_KEY: "canary-wrong-key",
      },
      values: ["canary-value"],
    };
  });
});
