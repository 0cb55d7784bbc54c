#!/usr/bin/env node
/**
 * Access keys of an IAM user (IAM API reference: CreateAccessKey, UpdateAccessKey, DeleteAccessKey, TagUser).
 *
 *   AWS_SECRET_ACCESS_KEY:
 *     from: vault:mcp/aws#secret
 *     rotate: { hook: [~/.config/mcp-run/hooks/aws-access-key.mjs, mcp-server], with: [AWS_ACCESS_KEY_ID] }
 *   AWS_ACCESS_KEY_ID: { from: vault:mcp/aws#id, scrub: false }
 *
 * Argument: the user's name. The key's id goes to the secret under `with`.
 * AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN: of somebody who may do the above and ListAccessKeys,
 * ListUserTags for that user. `aws configure export-credentials --format env` prints them for a profile.
 *
 * A user has at most two keys. An old key is made inactive, which can be taken back, and is deleted by the next
 * rotation. Keys have no names, so a tag of the user says which rotation is under way, and which key was there before.
 */
import { createHash, createHmac } from "node:crypto";
import { text } from "node:stream/consumers";

const [user = ""] = process.argv.slice(2);
const {
  AWS_ACCESS_KEY_ID: id = "",
  AWS_SECRET_ACCESS_KEY: secret = "",
  AWS_SESSION_TOKEN: session,
} = process.env;
const address = new URL(process.env.AWS_ENDPOINT_URL_IAM ?? "https://iam.amazonaws.com/");
const TAG = "mcp-run-rotation";

/** IAM's answer, which is XML; rejects with IAM's code of the error. */
async function iam(action, parameters = {}) {
  const body = new URLSearchParams({ Action: action, Version: "2010-05-08", UserName: user, ...parameters });
  const answer = await fetch(address, {
    method: "POST",
    headers: signed(body.toString()),
    body: body.toString(),
    redirect: "error",
    signal: AbortSignal.timeout(20_000),
  });
  const xml = await answer.text();
  if (!answer.ok) throw new Error(`HTTP ${answer.status} ${valuesOf("Code", xml).join()} for ${action}`);
  return xml;
}

/** AWS Signature Version 4, for the global service iam. */
function signed(body) {
  const time = new Date().toISOString().replace(/[-:]|\.\d+/g, "");
  const scope = `${time.slice(0, 8)}/us-east-1/iam/aws4_request`;
  const headers = {
    "content-type": "application/x-www-form-urlencoded; charset=utf-8",
    host: address.host,
    "x-amz-date": time,
    ...(session && { "x-amz-security-token": session }),
  };
  const names = Object.keys(headers).join(";");
  const lines = Object.entries(headers).map(([name, value]) => `${name}:${value}\n`);
  const request = ["POST", address.pathname, "", lines.join(""), names, sha256(body)].join("\n");
  const toSign = ["AWS4-HMAC-SHA256", time, scope, sha256(request)].join("\n");
  const key = scope.split("/").reduce((last, part) => hmac(last, part), `AWS4${secret}`);
  const signature = hmac(key, toSign).toString("hex");
  return {
    ...headers,
    authorization: `AWS4-HMAC-SHA256 Credential=${id}/${scope}, SignedHeaders=${names}, Signature=${signature}`,
  };
}

function sha256(content) {
  return createHash("sha256").update(content).digest("hex");
}

function hmac(key, content) {
  return createHmac("sha256", key).update(content).digest();
}

/** The texts of every element of this name. Ids, states and keys hold none of XML's special characters. */
function valuesOf(element, xml) {
  return [...xml.matchAll(new RegExp(`<${element}>([^<]*)</${element}>`, "g"))].map(([, value]) => value);
}

async function keys() {
  const xml = await iam("ListAccessKeys");
  const states = valuesOf("Status", xml);
  return valuesOf("AccessKeyId", xml).map((key, index) => ({ key, isActive: states[index] === "Active" }));
}

/** The key that was there before this rotation; undefined if the rotation has not begun. */
async function keyBefore(rotation) {
  const xml = await iam("ListUserTags");
  const [tagged, before = ""] = valuesOf("Value", xml)[valuesOf("Key", xml).indexOf(TAG)]?.split(" ") ?? [];
  return tagged === rotation ? before : undefined;
}

const actions = {
  async mint({ rotation, with: [idName] = [] }) {
    const all = await keys();
    const active = all.filter(({ isActive }) => isActive);
    if (active.length > 1)
      throw new Error(`${user} has two active keys; one of them must be made inactive first`);
    for (const { key, isActive } of all) if (!isActive) await iam("DeleteAccessKey", { AccessKeyId: key });
    const before = active[0]?.key ?? "none";
    await iam("TagUser", { "Tags.member.1.Key": TAG, "Tags.member.1.Value": `${rotation} ${before}` });
    const xml = await iam("CreateAccessKey");
    const [key] = valuesOf("AccessKeyId", xml);
    const [value] = valuesOf("SecretAccessKey", xml);
    return { value, keyId: key, ...(idName !== undefined && { with: { [idName]: key } }) };
  },

  /** AWS shows a key only once: one that nobody has got is deleted, and another is made. */
  async find({ rotation }) {
    const before = await keyBefore(rotation);
    if (before === undefined) return {};
    for (const { key } of await keys())
      if (key !== before) await iam("DeleteAccessKey", { AccessKeyId: key });
    return {};
  },

  async revoke({ rotation, keyId }) {
    const key = keyId ?? (await keyBefore(rotation));
    if (key === undefined || key === "none") return {};
    if ((await keys()).some((one) => one.key === key && one.isActive))
      await iam("UpdateAccessKey", { AccessKeyId: key, Status: "Inactive" });
    return { revoked: true };
  },

  async verify({ rotation, keyId }) {
    const key = keyId ?? (await keyBefore(rotation));
    if (key === undefined || key === "none") return {};
    return { accepted: (await keys()).some((one) => one.key === key && one.isActive) };
  },
};

try {
  if (address.protocol !== "https:" && !["localhost", "127.0.0.1"].includes(address.hostname))
    throw new Error("the address needs https");
  if (user === "") throw new Error("the argument is the name of the user");
  if (id === "" || secret === "") throw new Error("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set");
  const question = JSON.parse(await text(process.stdin));
  process.stdout.write(JSON.stringify(await actions[question.action](question)));
} catch (error) {
  const why = `${error.message} ${error.cause?.message ?? ""}`;
  process.stdout.write(JSON.stringify({ error: why.trim() }));
  process.exitCode = 1;
}
