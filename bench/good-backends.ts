/**
 * Backends on loopback that always answer well, for bench/backends.mjs: a process of its own, bundled there. Writes
 * one line of JSON, {credentials, ca, providers, refs}, when they listen, and ends when its stdin does.
 */
import { writeFileSync } from "node:fs";
import { answers, HostileServer } from "../test/helpers/hostile-server.ts";
import { privateCa } from "../test/helpers/private-ca.ts";
import { CREDENTIALS, REMOTE_LOGINS } from "../test/helpers/remote-logins.ts";

const [caFile = ""] = process.argv.slice(2);
const tls = await privateCa();
writeFileSync(caFile, tls.ca);
const providers: Record<string, object> = {};
const refs: Record<string, string> = {};
for (const login of REMOTE_LOGINS) {
  const server: HostileServer = await HostileServer.start({
    behave: (request) => answers(login.good(request, server.url)),
    ...(login.needsTls && { tls }),
  });
  providers[login.name] = login.settings({ url: server.url, ca: caFile });
  refs[login.name] = `${login.name}:${login.path}`;
}
process.stdout.write(`${JSON.stringify({ credentials: CREDENTIALS, providers, refs })}\n`);
process.stdin.resume().once("end", () => process.exit());
