#!/usr/bin/env node
/**
 * Tokens of a Grafana service account (HTTP API «Service account»).
 *
 *   rotate: { hook: [~/.config/mcp-run/hooks/grafana-token.mjs, "https://grafana.example", "7"] }
 *
 * Arguments: the address of Grafana, the number of the service account.
 * GRAFANA_ADMIN_TOKEN: a token with serviceaccounts:read and serviceaccounts:write on that account; not one of its own.
 */
import { text } from "node:stream/consumers";

const [address = "", account = ""] = process.argv.slice(2);
const { GRAFANA_ADMIN_TOKEN: admin = "" } = process.env;
const TOKENS = `/api/serviceaccounts/${encodeURIComponent(account)}/tokens`;

/** The status and the parsed body; rejects for every status that is not expected. */
async function grafana(method, path, { token = admin, body, expected = [200] } = {}) {
  const answer = await fetch(new URL(path, address), {
    method,
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    ...(body && { body: JSON.stringify(body) }),
    redirect: "error",
    signal: AbortSignal.timeout(20_000),
  });
  if (!expected.includes(answer.status)) throw new Error(`HTTP ${answer.status} for ${method} ${path}`);
  return { status: answer.status, data: await answer.json().catch(() => undefined) };
}

async function end(id) {
  await grafana("DELETE", `${TOKENS}/${encodeURIComponent(id)}`, { expected: [200, 404] });
}

const actions = {
  async mint({ rotation, secret }) {
    const { data } = await grafana("POST", TOKENS, { body: { name: nameOf(rotation, secret) } });
    return { value: data.key, keyId: data.id };
  },

  /** Grafana shows a token only once: one that nobody has got is ended, and another is made. */
  async find({ rotation, secret }) {
    const { data } = await grafana("GET", TOKENS);
    for (const { id, name } of data) if (name === nameOf(rotation, secret)) await end(id);
    return {};
  },

  /** Without its number a token can't be told from others. */
  async revoke({ keyId }) {
    if (keyId === undefined) return {};
    await end(keyId);
    return { revoked: true };
  },

  async verify({ keyId, value }) {
    if (value !== undefined) {
      // 403 is for a token that is known and may not do this.
      const { status } = await grafana("GET", "/api/org", { token: value, expected: [200, 401, 403] });
      return { accepted: status !== 401 };
    }
    if (keyId === undefined) return {};
    const { data } = await grafana("GET", TOKENS);
    const found = data.find(({ id }) => String(id) === keyId);
    return { accepted: found !== undefined && !found.hasExpired };
  },
};

function nameOf(rotation, secret) {
  return `mcp-run ${rotation} ${secret}`;
}

try {
  if (!/^https:|^http:\/\/(localhost|127\.0\.0\.1)[:/]/.test(address))
    throw new Error("the address needs https");
  if (admin === "") throw new Error("GRAFANA_ADMIN_TOKEN is not set");
  const question = JSON.parse(await text(process.stdin));
  process.stdout.write(JSON.stringify(await actions[question.action](question)));
} catch (error) {
  const why = `${error.message} ${error.cause?.message ?? ""}`;
  process.stdout.write(JSON.stringify({ error: why.trim() }));
  process.exitCode = 1;
}
