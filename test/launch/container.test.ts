import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { LaunchPlan } from "../../src/launch/spawn.ts";
import { isAlive, killAll, until } from "../helpers/processes.ts";
import { type Serving, serving } from "../helpers/serving.ts";

const FAKE = join(import.meta.dirname, "../helpers/servers/fake-docker.sh");
const ID = "0123456789abcdef".repeat(4);

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "mcp-run-container-"));
  symlinkSync(FAKE, join(folder, "docker"));
});
afterEach(() => {
  if (existsSync(join(folder, "pid"))) killAll([containerPid()]);
  rmSync(folder, { recursive: true });
});

const containerPid = () => Number(readFileSync(join(folder, "pid"), "utf8"));
const log = () => readFileSync(join(folder, "log"), "utf8").trimEnd().split("\n");
const leftOver = () => readdirSync(join(folder, "run", "containers"));

function planOf(...args: string[]): LaunchPlan {
  const PATH = `${folder}:${process.env.PATH}`;
  const env = { PATH, STATE: folder, TOKEN: "canary-c0" };
  return { command: "docker", args, cwd: folder, env, searchPath: PATH, secretNames: new Set(["TOKEN"]) };
}

async function up(plan: LaunchPlan, changes: Parameters<typeof serving>[1] = {}): Promise<Serving> {
  const client = serving(plan, { runFolder: join(folder, "run"), ...changes });
  await until("the container is up", () => client.out().includes("\n"));
  return client;
}

describe.skipIf(process.platform === "win32")("a server in a container", () => {
  it("is started with an id file of ours right after `run`, and stopped by the id", async () => {
    const client = await up(planOf("run", "-i", "--rm", "-e", "TOKEN", "img"));
    const [file] = leftOver();

    client.signal("SIGTERM");
    await client.served;

    await until("the container is gone", () => !isAlive(containerPid()));
    expect(log()).toEqual([
      `run --cidfile ${folder}/run/containers/${file}/id -i --rm -e TOKEN img [canary-c0]`,
      `stop -t 1 ${ID} [no token]`,
    ]);
    expect(leftOver()).toEqual([]);
  });

  it("is killed by the id if it ignores TERM", async () => {
    writeFileSync(join(folder, "deaf"), "");
    const client = await up(planOf("run", "-i", "img"), { stopGraceMs: 200 });

    client.signal("SIGTERM");
    expect((await client.served).exitCode).toBe(137);

    await until("the container is gone", () => !isAlive(containerPid()));
    expect(log()).toContain(`kill ${ID} [no token]`);
  });

  it("does not outlive the engine's client", async () => {
    const client = await up(planOf("run", "-i", "img"));

    process.kill(await client.pid, "SIGKILL");
    await client.served;

    await until("the container is gone", () => !isAlive(containerPid()));
  });

  it("is stopped with the options that stand before `run`", async () => {
    const client = await up(planOf("--context", "far", "run", "-i", "img"));

    client.signal("SIGTERM");
    await client.served;

    expect(log()[1]).toBe(`--context far stop -t 1 ${ID} [no token]`);
  });

  it("keeps the profile's own id file", async () => {
    const own = join(folder, "own-id");
    const client = await up(planOf("run", "-i", "--cidfile", own, "img"));

    client.signal("SIGTERM");
    await client.served;

    expect(log()).toEqual([`run -i --cidfile ${own} img [canary-c0]`, `stop -t 1 ${ID} [no token]`]);
    expect(readFileSync(own, "utf8")).toBe(ID);
  });

  it("leaves no id file behind if there is no engine", async () => {
    const client = serving(
      { ...planOf("run", "img"), searchPath: "/nonexistent" },
      { runFolder: join(folder, "run") },
    );

    await expect(client.served).rejects.toMatchObject({ code: "command-not-found" });

    expect(existsSync(join(folder, "run"))).toBe(false);
  });
});
