/** docs/hooks/aws-access-key.mjs against a server that checks signatures and policies: moto's IAM. */
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { quotable } from "../../src/commands/quotable.ts";
import { hookIssuer } from "../../src/rotation/issuers/hook.ts";
import { runProgram } from "../../src/secrets/run-program.ts";
import { describeBackend } from "../helpers/backends.ts";
import { MotoServer } from "../helpers/moto-server.ts";
import { errorOf } from "../profile/room.ts";
import { never, REQUEST } from "../rotation/issuers/asking.ts";

const HOOK = join(import.meta.dirname, "../../docs/hooks/aws-access-key.mjs");

/** What docs/hooks.md tells people to allow. */
const NEEDED = [
  "CreateAccessKey",
  "ListAccessKeys",
  "UpdateAccessKey",
  "DeleteAccessKey",
  "TagUser",
  "ListUserTags",
];

describeBackend("the hook for IAM's access keys, as moto plays it", ["moto"], () => {
  let moto: MotoServer;
  let admin: { accessKeyId: string; secretAccessKey: string };
  let oldId: string;

  beforeAll(async () => {
    moto = await MotoServer.start();
    const Action = NEEDED.map((action) => `iam:${action}`);
    admin = await moto.userWith({
      Version: "2012-10-17",
      Statement: [{ Effect: "Allow", Action, Resource: "*" }],
    });
    await iam("CreateUser");
    oldId = /<AccessKeyId>([^<]+)</.exec(await iam("CreateAccessKey"))?.[1] ?? "";
    await moto.enforceIam(true);
  });

  afterAll(() => moto?.stop());

  /** Past the hook, as long as everybody may do everything. */
  async function iam(Action: string): Promise<string> {
    const answer = await fetch(moto.url, {
      method: "POST",
      headers: {
        authorization: "AWS4-HMAC-SHA256 Credential=AKIA/20270101/us-east-1/iam/aws4_request",
        "content-type": "application/x-www-form-urlencoded",
      },
      body: new URLSearchParams({ Version: "2010-05-08", Action, UserName: "mcp-server" }).toString(),
    });
    expect(answer.status).toBe(200);
    return answer.text();
  }

  function issuer(secretAccessKey = admin.secretAccessKey) {
    const argv = [process.execPath, HOOK, "mcp-server"] as const;
    return hookIssuer({ type: "hook", argv: [...argv], grantsOldValue: false }, ["KEY_ID"], {
      runProgram,
      env: {
        AWS_ACCESS_KEY_ID: admin.accessKeyId,
        AWS_SECRET_ACCESS_KEY: secretAccessKey,
        AWS_ENDPOINT_URL_IAM: moto.url,
      },
      home: "/",
      quotable,
    });
  }

  it("mints beside the old key, clears up after a crash, and makes the old one inactive", async () => {
    const lost = await issuer().mint(REQUEST, never());
    expect(await issuer().find(REQUEST, never())).toBeUndefined();
    expect(await issuer().verify(REQUEST, { keyId: lost.keyId ?? "" }, never())).toBe("refused");

    const minted = await issuer().mint(REQUEST, never());
    expect(minted.value.reveal().length).toBeGreaterThan(30);
    expect(minted.along?.get("KEY_ID")?.reveal()).toBe(minted.keyId);
    expect(await issuer().verify(REQUEST, {}, never())).toBe("accepted");
    expect(await issuer().revoke(REQUEST, {}, never())).toBe("revoked");

    expect(await issuer().verify(REQUEST, { keyId: oldId }, never())).toBe("refused");
    expect(await issuer().verify(REQUEST, { keyId: minted.keyId ?? "" }, never())).toBe("accepted");

    const next = { ...REQUEST, rotationId: "20270301-120000-second" };
    await issuer().mint(next, never());
    expect(await issuer().verify(next, {}, never())).toBe("accepted");
  });

  it("is refused with a wrong key of the administrator", async () => {
    const error = await errorOf(issuer("canary-wrong").mint(REQUEST, never()));

    expect(error.message).toMatch(/HTTP 403 SignatureDoesNotMatch for ListAccessKeys$/);
  });
});
