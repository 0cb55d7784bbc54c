/**
 * As many supervisors as asked for in one process, each a whole BusMember with a connection and a host of its own, for
 * bench/fleet.mjs: bundled there. A look takes 50 ms and finds what the backend has: the last argument, later the last
 * line on stdin, which is said again once it is taken. Ends when its stdin does.
 */
import { createHmac } from "node:crypto";
import { createInterface } from "node:readline";
import { systemClock } from "../src/clock.ts";
import { BusMember } from "../src/control/bus/member.ts";
import { busKey } from "../src/control/bus/names.ts";
import { Secret } from "../src/secrets/secret.ts";

const LOOK_MS = 50;
/** So many connect at the same time. */
const AT_ONCE = 50;
const REF = "vault:mcp/github#token";

const [url = "", first = "0", count = "0", atFirst = ""] = process.argv.slice(2);
let backend = atFirst;
const key = busKey({ from: REF });

const members: BusMember[] = [];
async function join(index: number): Promise<void> {
  let value = "old";
  await new Promise<void>((resolve) => {
    const member = BusMember.join({
      servers: [url],
      credentials: new Secret("op:bench"),
      host: `host-${index}`,
      clock: systemClock,
      pid: index,
      profile: "github",
      secrets: () => [{ key, ref: REF, version: value }],
      fingerprint: (_busKey, bytes) => createHmac("sha256", bytes).update(value).digest("hex"),
      standing: () => ({ generation: 1, era: "handshake", mode: "overlap", isLooking: false }),
      look: async () => {
        await new Promise((done) => setTimeout(done, LOOK_MS));
        value = backend;
      },
      onState: (state) => {
        if (state.id === "connected") resolve();
      },
    });
    members.push(member);
  });
}

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  backend = line;
  process.stdout.write(`${line}\n`);
});
lines.on("close", () => process.exit());

const indices = Array.from({ length: Number(count) }, (_, index) => Number(first) + index).values();
const joinInTurn = async () => {
  for (const index of indices) await join(index);
};
await Promise.all(Array.from({ length: AT_ONCE }, joinInTurn));
