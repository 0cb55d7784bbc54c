#!/usr/bin/env node
/**
 * Project access tokens of GitLab (REST API «Project access tokens»).
 *
 *   rotate:
 *     hook: [~/.config/mcp-run/hooks/gitlab-project-token.mjs, "https://gitlab.com", group/project, "read_api", "20", "90"]
 *     grantOldValue: true
 *
 * Arguments: the address of GitLab, the project (path or number), scopes with commas between them, the access level
 * (10 guest, 20 reporter, 30 developer, 40 maintainer), and for how many days a token is made.
 * GITLAB_ADMIN_TOKEN: a personal access token with the scope api of somebody who maintains the project.
 *
 * GitLab's own «rotate» is not used: it ends the old token at once, while servers still have it.
 */
import { text } from "node:stream/consumers";

const [address = "", project = "", scopes = "", level = "", days = ""] = process.argv.slice(2);
const { GITLAB_ADMIN_TOKEN: admin = "" } = process.env;
const TOKENS = `/api/v4/projects/${encodeURIComponent(project)}/access_tokens`;
const SELF = "/api/v4/personal_access_tokens/self";
const DAY_MS = 86_400_000;

/** The status and the parsed body; rejects for every status that is not expected. */
async function gitlab(method, path, { token = admin, body, expected = [200] } = {}) {
  const answer = await fetch(new URL(path, address), {
    method,
    headers: { "private-token": token, "content-type": "application/json" },
    ...(body && { body: JSON.stringify(body) }),
    redirect: "error",
    signal: AbortSignal.timeout(20_000),
  });
  if (!expected.includes(answer.status)) throw new Error(`HTTP ${answer.status} for ${method} ${path}`);
  return { status: answer.status, data: await answer.json().catch(() => undefined) };
}

async function isActive(id) {
  const path = `${TOKENS}/${encodeURIComponent(id)}`;
  const { status, data } = await gitlab("GET", path, { expected: [200, 404] });
  return status === 200 && data.active;
}

/** GitLab may call it an error to end a token twice. */
async function end(id) {
  if (await isActive(id))
    await gitlab("DELETE", `${TOKENS}/${encodeURIComponent(id)}`, { expected: [204, 404] });
}

const actions = {
  async mint({ rotation, secret }) {
    const { data } = await gitlab("POST", TOKENS, {
      expected: [201],
      body: {
        name: nameOf(rotation, secret),
        scopes: scopes.split(","),
        access_level: Number(level),
        expires_at: new Date(Date.now() + Number(days) * DAY_MS).toISOString().slice(0, 10),
      },
    });
    return { value: data.token, keyId: data.id };
  },

  /** GitLab shows a token only once: one that nobody has got is ended, and another is made. */
  async find({ rotation, secret }) {
    const name = nameOf(rotation, secret);
    const { data } = await gitlab("GET", `${TOKENS}?state=active&search=${encodeURIComponent(name)}`);
    for (const token of data) if (token.name === name) await end(token.id);
    return {};
  },

  async revoke({ keyId, value }) {
    const id = keyId ?? (value === undefined ? undefined : await idOf(value));
    if (id === undefined) return {};
    if (id !== "refused") await end(id);
    return { revoked: true };
  },

  async verify({ keyId, value }) {
    if (value !== undefined) return { accepted: (await idOf(value)) !== "refused" };
    return keyId === undefined ? {} : { accepted: await isActive(keyId) };
  },
};

/** A token may always ask GitLab about itself. */
async function idOf(token) {
  const { status, data } = await gitlab("GET", SELF, { token, expected: [200, 401] });
  return status === 401 ? "refused" : data.id;
}

function nameOf(rotation, secret) {
  return `mcp-run ${rotation} ${secret}`;
}

try {
  if (!/^https:|^http:\/\/(localhost|127\.0\.0\.1)[:/]/.test(address))
    throw new Error("the address needs https");
  if (!(Number(days) >= 1)) throw new Error("the last argument is a number of days");
  if (admin === "") throw new Error("GITLAB_ADMIN_TOKEN is not set");
  const question = JSON.parse(await text(process.stdin));
  process.stdout.write(JSON.stringify(await actions[question.action](question)));
} catch (error) {
  const why = `${error.message} ${error.cause?.message ?? ""}`;
  process.stdout.write(JSON.stringify({ error: why.trim() }));
  process.exitCode = 1;
}
