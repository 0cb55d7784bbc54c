// A server that nobody gets rid of politely: it ignores TERM, INT, HUP and the end of its stdin, and has a
// helper in a session of its own that does the same. Says so, with the pids of both, once both are up.
import { spawn } from "node:child_process";

for (const signal of ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"]) process.on(signal, () => undefined);
setInterval(() => undefined, 60_000);

if (process.argv[2] === "helper") {
  process.send?.("up");
} else {
  const helper = spawn(process.execPath, [process.argv[1], "helper"], {
    detached: true,
    stdio: ["ignore", "ignore", "ignore", "ipc"],
  });
  helper.once("message", () => {
    const params = { pids: [process.pid, helper.pid] };
    process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", method: "up", params })}\n`);
    helper.disconnect();
  });
  process.stdin.resume();
}
