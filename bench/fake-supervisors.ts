/**
 * The sockets of as many supervisors as asked for, in one process, for bench/status.mjs: bundled there. Says `ready`
 * when all listen, and ends when its stdin does. Each has five secrets, as a large profile has.
 */
import { systemClock } from "../src/clock.ts";
import { ControlServer } from "../src/control/server.ts";
import { statusOf } from "../test/control/status.ts";

const [folder = "", count = "0"] = process.argv.slice(2);
const place = { folder, platform: process.platform, uid: process.getuid?.(), loginName: () => "bench" };
const secrets = Array.from({ length: 5 }, (_, index) => ({
  name: `SECRET_NUMBER_${index}`,
  ref: `vault:secret/mcp/some-server#field-${index}`,
  provider: "vault",
  version: String(index),
  createdAt: "2027-01-03T12:00:00.000Z",
  fetchedAt: "2027-01-15T08:00:00.000Z",
}));
const servers: ControlServer[] = [];
for (let pid = 1; pid <= Number(count); pid++) {
  const handlers = { status: () => ({ status: statusOf(pid, { secrets }) }) };
  servers.push(
    await ControlServer.listen({ place, pid, clock: systemClock, handlers, scrub: (text) => text }),
  );
}
process.stdout.write("ready\n");
process.stdin.resume().once("end", async () => {
  for (const server of servers) await server.close();
});
