/**
 * Whether two servers offer the same: a client is told that a list has changed only if it has, and only where
 * the server has promised to tell. MCP specification, list changed notifications.
 */
import { isDeepStrictEqual } from "node:util";
import { at } from "./message.ts";
import { askServer, type OwnRequestOptions, type ServerLine } from "./own-request.ts";

const LISTS = [
  { kind: "tools", method: "tools/list", key: "tools" },
  { kind: "resources", method: "resources/list", key: "resources" },
  { kind: "prompts", method: "prompts/list", key: "prompts" },
] as const;

/** Longer lists are compared as far as this. */
const MOST_PAGES = 20;

export type ListKind = (typeof LISTS)[number]["kind"];

/** What `next` offers otherwise than `current`; a list that can't be read counts as another. Never rejects. */
export async function changedLists(
  current: ServerLine,
  next: ServerLine,
  options: OwnRequestOptions,
): Promise<readonly ListKind[]> {
  const { face } = options.session.recall;
  const promised = LISTS.filter(({ kind }) => at(face?.capabilities, kind, "listChanged") === true);
  const differs = await Promise.all(
    promised.map(async (list) => {
      const [one, other] = await Promise.all([read(current, list, options), read(next, list, options)]);
      return one === undefined || other === undefined || !isDeepStrictEqual(one, other);
    }),
  );
  return promised.filter((_list, index) => differs[index]).map(({ kind }) => kind);
}

/** Undefined if the server did not give it. */
async function read(
  server: ServerLine,
  { method, key }: (typeof LISTS)[number],
  options: OwnRequestOptions,
): Promise<readonly unknown[] | undefined> {
  const { era, meta } = options.session.recall;
  const items: unknown[] = [];
  let cursor: unknown;
  for (let page = 0; page < MOST_PAGES; page++) {
    const params = { ...(cursor !== undefined && { cursor }), ...(era === "modern" && { _meta: meta }) };
    const answer = await askServer(server, method, params, options).catch(() => undefined);
    const found = at(answer, "result", key);
    if (!Array.isArray(found)) return undefined;
    items.push(...found);
    cursor = at(answer, "result", "nextCursor");
    if (cursor === undefined) break;
  }
  return items;
}

/** The lines that tell the client; to a modern one once for each listen that asked for that kind. */
export function listChanged(
  kind: ListKind,
  listens: readonly { id: string; kinds: readonly ListKind[] }[] | "legacy",
): readonly Buffer[] {
  const method = `notifications/${kind}/list_changed`;
  if (listens === "legacy") return [Buffer.from(`{"jsonrpc":"2.0","method":"${method}"}\n`)];
  return listens
    .filter(({ kinds }) => kinds.includes(kind))
    .map(({ id }) =>
      Buffer.from(
        `{"jsonrpc":"2.0","method":"${method}","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":${id}}}}\n`,
      ),
    );
}
