/** The load test of the MCP Inspector, an independent judge, while the secret of its server is changed. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { MAIN } from "../helpers/installation.ts";
import { isAlive, until } from "../helpers/processes.ts";
import { collected } from "../helpers/serving.ts";
import { hasInspector, INSPECTOR } from "./inspector.ts";
import { SoakHome } from "./mcp-run-session.ts";

const CHANGES = 10;
/** Ms after which there are no more changes, and the load goes on long enough for the last one, on a slow machine too. */
const CHANGING_MS = 6_000;
const LOAD = ["--load", "--load-rate", "250", "--load-concurrency", "20", "--load-duration", "16"];

const homes: SoakHome[] = [];
afterEach(() => {
  for (const { installation } of homes.splice(0)) installation.remove();
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
    const ended = once(inspector, "close");
    const pids = new Set<number>();

    let startedAt: number | undefined;
    while (pids.size < CHANGES && performance.now() - (startedAt ?? performance.now()) < CHANGING_MS) {
      await until("one server runs", () => home.servers().length === 1);
      startedAt ??= performance.now();
      const [server] = home.servers() as [number];
      pids.add(server);
      home.rotate();
      process.kill(parentOf(server), "SIGUSR2");
      await until("another has its place", () => !isAlive(server) && home.servers().length === 1);
    }
    expect(inspector.exitCode).toBeNull();
    await ended;

    const { result } = JSON.parse(out()) as { result: Record<string, unknown> };
    process.stdout.write(`mcp-inspector, ${era}, ${pids.size} changes: ${JSON.stringify(result)}\n`);
    expect(result).toMatchObject({ errors: 0, toolErrors: 0, ok: result.requests });
    expect(result.requests).toBeGreaterThan(100);
    expect(pids.size).toBeGreaterThan(1);
    expect(err().split("has taken over").length).toBe(pids.size + 1);
    await until("no server is left over", () => home.servers().length === 0);
  });
});

function parentOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
}
