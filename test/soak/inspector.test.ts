/** The load test of the MCP Inspector, an independent judge, while the secret of its server is changed. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { MAIN } from "../helpers/installation.ts";
import { isAlive, until } from "../helpers/processes.ts";
import { collected } from "../helpers/serving.ts";
import { hasInspector, INSPECTOR } from "./inspector.ts";
import { SoakHome } from "./mcp-run-session.ts";

const CHANGES = 10;
/** Ms after which there are no more changes, and the load goes on for the last one. */
const CHANGING_MS = 6_000;
const LOAD = ["--load", "--load-rate", "250", "--load-concurrency", "20", "--load-duration", "24"];
const LONGEST_MS = 120_000;

const homes: SoakHome[] = [];
const inspectors: ChildProcess[] = [];
afterEach(async () => {
  for (const inspector of inspectors.splice(0)) inspector.kill("SIGKILL");
  for (const home of homes.splice(0)) {
    await until("no server is left over", () => home.servers().length === 0);
    home.installation.remove();
  }
});

it("can be judged by the MCP Inspector", (context) => {
  if (hasInspector) return;
  const reason = "not here: the MCP Inspector (.ci/install-inspector installs it)";
  if (process.env.MCP_RUN_REQUIRE_BACKENDS === "1") throw new Error(reason);
  context.skip(reason);
});

describe.skipIf(!hasInspector)("mcp-inspector --load", () => {
  it.each(["legacy", "auto", "modern"])("counts no error over changes of the secret: %s", async (era) => {
    const home = new SoakHome();
    homes.push(home);
    const { HOME, ...env } = home.installation.env;
    const given = Object.entries(env).flatMap(([name, value]) => ["-e", `${name}=${value}`]);
    const call = ["--method", "tools/call", "--tool-name", "wait", "--tool-arg", "ms=15", "value=x"];
    const inspector = spawn(
      process.execPath,
      [
        INSPECTOR,
        "--cli",
        process.execPath,
        MAIN,
        "soak",
        ...given,
        ...call,
        ...LOAD,
        "--protocol-era",
        era,
        "--format",
        "json",
      ],
      { env: home.installation.env, stdio: ["ignore", "pipe", "pipe"] },
    );
    const [out, err] = [collected(inspector.stdout), collected(inspector.stderr)];
    inspectors.push(inspector);
    let isOver = false;
    const ended = once(inspector, "close").finally(() => {
      isOver = true;
    });
    ended.catch(() => undefined); // It is awaited below.

    // On a machine where a change takes as long as the load, the load may end first.
    let [changes, startedAt] = [0, performance.now()];
    while (changes < CHANGES && (changes === 0 || performance.now() - startedAt < CHANGING_MS)) {
      await until("one server runs", () => isOver || home.servers().length === 1);
      if (isOver) break;
      const [server] = home.servers() as [number];
      if (changes === 0) startedAt = performance.now();
      home.rotate();
      if (!hasLooked(server)) break;
      await until(
        "another has its place",
        () => isOver || (!isAlive(server) && home.servers().length === 1),
        LONGEST_MS,
      );
      if (!isOver) changes++;
    }
    await ended;

    const { result } = JSON.parse(out()) as { result: Record<string, unknown> };
    process.stdout.write(`mcp-inspector, ${era}, ${changes} changes: ${JSON.stringify(result)}\n`);
    expect(result).toMatchObject({ errors: 0, toolErrors: 0, ok: result.requests });
    expect(result.requests).toBeGreaterThan(100);
    expect(changes).toBeGreaterThan(0);
    const takeovers = err().split("has taken over").length - 1;
    expect(takeovers).toBeGreaterThanOrEqual(changes);
    // The last one may have come to nothing, or to its end when nobody looked any more.
    expect(takeovers).toBeLessThanOrEqual(changes + 1);
    await until("no server is left over", () => home.servers().length === 0);
  });
});

/** Has its mcp-run look at the secret; not if the session has ended meanwhile. */
function hasLooked(server: number): boolean {
  try {
    const stat = readFileSync(`/proc/${server}/stat`, "latin1");
    process.kill(Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]), "SIGUSR2");
    return true;
  } catch (error) {
    if (["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "")) return false;
    throw error;
  }
}
