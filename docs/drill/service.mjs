/**
 * The service whose key leaks: it makes keys, takes them, and ends them. On loopback, in the memory of whoever starts it.
 *
 *   GET /use                 200 and the key's id, or 401          authorization: Bearer KEY
 *   PUT|GET|DELETE /keys/ID  makes, shows and ends a key           authorization: Bearer ADMIN
 */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";

/** A key tells its id, as those of most services do. */
export function idOf(key) {
  return key.split(".")[0];
}

export async function startService() {
  const keys = new Map();
  const lastUse = new Map();
  const admin = randomBytes(16).toString("hex");

  const use = (key) => {
    const id = idOf(key);
    if (keys.get(id) !== key) return [401, {}];
    lastUse.set(id, performance.now());
    return [200, { keyId: id }];
  };
  const administer = (method, id) => {
    if (method === "PUT" && !keys.has(id)) keys.set(id, `${id}.${randomBytes(24).toString("base64url")}`);
    if (method === "DELETE") keys.delete(id);
    return keys.has(id) ? [200, { keyId: id, value: keys.get(id) }] : [404, {}];
  };

  const server = createServer(({ method, url, headers }, response) => {
    const credential = (headers.authorization ?? "").replace("Bearer ", "");
    const [, room, id] = url.split("/");
    let [status, body] = [404, {}];
    if (room === "use") [status, body] = use(credential);
    if (room === "keys") [status, body] = credential === admin ? administer(method, id) : [401, {}];
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  });
  // A machine with much to do would hang up on a server that asks at that moment, and the drill would count a failure.
  server.keepAliveTimeout = 0;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    admin,
    make: (id) => administer("PUT", id)[1].value,
    keys: () => [...keys.values()],
    takes: (key) => keys.get(idOf(key)) === key,
    /** When the key was taken last; ms of performance.now(). */
    lastUseOf: (key) => lastUse.get(idOf(key)),
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
