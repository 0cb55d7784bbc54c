/** How a rotation has the drill's service make and end keys: docs/hooks.md has the protocol. */
import { text } from "node:stream/consumers";
import { idOf } from "./service.mjs";

const [address] = process.argv.slice(2);
const { DRILL_ADMIN } = process.env;

async function ask(method, id) {
  const headers = { authorization: `Bearer ${DRILL_ADMIN}` };
  const answer = await fetch(`${address}/keys/${encodeURIComponent(id)}`, { method, headers });
  if (answer.status !== 200 && answer.status !== 404) throw new Error(`HTTP ${answer.status}`);
  return answer.status === 200 ? answer.json() : undefined;
}

const actions = {
  mint: ({ rotation }) => ask("PUT", rotation),
  find: async ({ rotation }) => (await ask("GET", rotation)) ?? {},
  async revoke({ keyId, value }) {
    await ask("DELETE", keyId ?? idOf(value));
    return { revoked: true };
  },
  verify: async ({ keyId, value }) => ({ accepted: (await ask("GET", keyId ?? idOf(value))) !== undefined }),
};

const question = JSON.parse(await text(process.stdin));
process.stdout.write(JSON.stringify(await actions[question.action](question)));
