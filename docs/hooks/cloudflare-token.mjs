#!/usr/bin/env node
/**
 * API tokens of Cloudflare (API «User API tokens» and «Account API tokens»).
 *
 *   rotate: { hook: [~/.config/mcp-run/hooks/cloudflare-token.mjs, dns-tools], grantOldValue: true }
 *
 * Arguments: the name of the token, and for a token of an account that account's id. The new token may do what the
 * newest one of that name may do, is called by that name and the rotation's id, and lives as long.
 * CLOUDFLARE_API_TOKEN: a token that may edit API tokens («User API Tokens Write», «Account API Tokens Write»).
 *
 * Cloudflare's own «roll» is not used: it ends the old value at once, while servers still have it.
 */
import { text } from "node:stream/consumers";

const [base = "", account] = process.argv.slice(2);
const { CLOUDFLARE_API_TOKEN: admin = "", CLOUDFLARE_BASE_URL } = process.env;
const address = CLOUDFLARE_BASE_URL ?? "https://api.cloudflare.com/client/v4";
const TOKENS = account === undefined ? "/user/tokens" : `/accounts/${encodeURIComponent(account)}/tokens`;
const PAGE = 50;

/** The status and the result; rejects for every status that is not expected. */
async function cloudflare(method, path, { token = admin, body, expected = [200] } = {}) {
  const answer = await fetch(`${address}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    ...(body && { body: JSON.stringify(body) }),
    redirect: "error",
    signal: AbortSignal.timeout(20_000),
  });
  if (!expected.includes(answer.status)) throw new Error(`HTTP ${answer.status} for ${method} ${path}`);
  return { status: answer.status, result: (await answer.json().catch(() => undefined))?.result };
}

async function allTokens() {
  const tokens = [];
  for (let page = 1; ; page++) {
    const { result } = await cloudflare("GET", `${TOKENS}?page=${page}&per_page=${PAGE}`);
    tokens.push(...result);
    if (result.length < PAGE) return tokens;
  }
}

async function end(id) {
  await cloudflare("DELETE", `${TOKENS}/${encodeURIComponent(id)}`, { expected: [200, 404] });
}

const actions = {
  async mint({ rotation }) {
    const models = (await allTokens()).filter(
      ({ name }) => name === base || name.startsWith(`${base} mcp-run `),
    );
    const model = models.sort((a, b) => Date.parse(b.issued_on) - Date.parse(a.issued_on))[0];
    if (!model) throw new Error(`there is no token ${base} whose rights a new one could have`);
    const { result } = await cloudflare("POST", TOKENS, {
      body: {
        name: nameOf(rotation),
        policies: model.policies.map(({ effect, resources, permission_groups: groups }) => ({
          effect,
          resources,
          permission_groups: groups.map(({ id }) => ({ id })),
        })),
        ...(model.condition && { condition: model.condition }),
        ...(model.expires_on && { expires_on: soLongFromNow(model) }),
      },
    });
    return { value: result.value, keyId: result.id };
  },

  /** Cloudflare shows a token only once: one that nobody has got is ended, and another is made. */
  async find({ rotation }) {
    for (const { id, name } of await allTokens()) if (name === nameOf(rotation)) await end(id);
    return {};
  },

  async revoke({ keyId, value }) {
    const id = keyId ?? (value === undefined ? undefined : (await look(value)).id);
    // A value that Cloudflare does not know is refused already.
    if (id === undefined) return value === undefined ? {} : { revoked: true };
    await end(id);
    return { revoked: true };
  },

  async verify({ keyId, value }) {
    if (value !== undefined) return { accepted: (await look(value)).status === "active" };
    if (keyId === undefined) return {};
    const path = `${TOKENS}/${encodeURIComponent(keyId)}`;
    const { result } = await cloudflare("GET", path, { expected: [200, 404] });
    return { accepted: result?.status === "active" };
  },
};

/** What Cloudflare says of a token that asks about itself; nothing if it does not know it. */
async function look(token) {
  const { status, result } = await cloudflare("GET", `${TOKENS}/verify`, { token, expected: [200, 401] });
  return status === 401 ? {} : result;
}

function nameOf(rotation) {
  return `${base} mcp-run ${rotation}`;
}

function soLongFromNow({ issued_on, expires_on }) {
  const end = Date.now() + Date.parse(expires_on) - Date.parse(issued_on);
  return new Date(end).toISOString().replace(/\.\d+Z$/, "Z");
}

try {
  if (!/^https:|^http:\/\/(localhost|127\.0\.0\.1)[:/]/.test(address))
    throw new Error("the address needs https");
  if (base === "") throw new Error("the first argument is the name of the token");
  if (admin === "") throw new Error("CLOUDFLARE_API_TOKEN is not set");
  const question = JSON.parse(await text(process.stdin));
  process.stdout.write(JSON.stringify(await actions[question.action](question)));
} catch (error) {
  const why = `${error.message} ${error.cause?.message ?? ""}`;
  process.stdout.write(JSON.stringify({ error: why.trim() }));
  process.exitCode = 1;
}
