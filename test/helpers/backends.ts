/**
 * Tests against a real backend, and where its programs are. What is absent is skipped with the reason; under
 * MCP_RUN_REQUIRE_BACKENDS=1 (in CI) that is a failure, but for what MCP_RUN_BACKENDS_NOT_HERE names (a comma
 * between two), because it can't be had there.
 */
import { accessSync, constants, existsSync, readdirSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { describe, it } from "vitest";

/** What .ci/install-backends puts into its cache, by the names that it has there. */
const CACHED = {
  vault: "vault",
  moto: "moto_server",
  "lowkey-vault": "lowkey-vault.jar",
  "k8s-decode": "k8s-decode",
} as const;

/** What a person may have installed, the better kept one first. */
const IN_PATH: Readonly<Record<string, readonly string[]>> = {
  vault: ["bao", "vault"],
  moto: ["moto_server"],
};

/** Where Debian puts servers, and not every account looks. */
const SYSTEM_FOLDERS = [
  "/usr/sbin",
  ...versionsBelow("/usr/lib/postgresql").map((folder) => join(folder, "bin")),
];

export type BackendName = keyof typeof CACHED | "nats-server";

/** Like describe, for a backend that needs all of these: backends by their names, or programs in the PATH. */
export function describeBackend(
  name: string,
  needs: readonly (BackendName | (string & {}))[],
  tests: () => void,
): void {
  const { absent, isFailure } = lookFor(needs, process.env);
  if (absent.length === 0) {
    describe(name, tests);
    return;
  }
  const reason = `not here: ${absent.join(", ")} (.ci/install-backends installs what it can)`;
  it(`${name} can be tested on this machine`, (context) => {
    if (isFailure) throw new Error(reason);
    process.stderr.write(`Skipped ${name}: ${reason}\n`);
    context.skip(reason);
  });
}

/** Which of these are not here, and whether that has to fail. */
export function lookFor(needs: readonly string[], env: NodeJS.ProcessEnv) {
  const absent = needs.filter((need) => whereIs(need, env) === undefined);
  const notHere = (env.MCP_RUN_BACKENDS_NOT_HERE ?? "").split(",");
  const isFailure = env.MCP_RUN_REQUIRE_BACKENDS === "1" && absent.some((need) => !notHere.includes(need));
  return { absent, isFailure };
}

/** The server's program, or jar: $MCP_RUN_TEST_VAULT (_MOTO, _LOWKEY_VAULT), the cache, the PATH; in that order. */
export function backendPath(name: BackendName, env = process.env): string {
  const path = whereIs(name, env);
  if (path === undefined) throw new Error(`${name} is not on this machine; .ci/install-backends installs it`);
  return path;
}

/** A program that comes with no backend of ours, such as one of PostgreSQL's. */
export function programPath(name: string): string {
  const path = whereIs(name, process.env);
  if (path === undefined) throw new Error(`${name} is not on this machine; .ci/install-backends installs it`);
  return path;
}

function versionsBelow(folder: string): readonly string[] {
  const names = existsSync(folder) ? readdirSync(folder) : [];
  return names.sort((one, other) => Number(other) - Number(one)).map((name) => join(folder, name));
}

function whereIs(need: string, env: NodeJS.ProcessEnv): string | undefined {
  const named = env[`MCP_RUN_TEST_${need.toUpperCase().replaceAll("-", "_")}`];
  if (named) return named;
  const cache = env.MCP_RUN_BACKENDS_CACHE || join(homedir(), ".cache/mcp-run-backends");
  const cached = Object.hasOwn(CACHED, need) ? [join(cache, CACHED[need as keyof typeof CACHED])] : [];
  const folders = [...(env.PATH ?? "").split(delimiter), ...SYSTEM_FOLDERS];
  const programs = (IN_PATH[need] ?? [need]).flatMap((one) => folders.map((folder) => join(folder, one)));
  return [...cached, ...programs].find(isThere);
}

function isThere(file: string): boolean {
  try {
    accessSync(file, file.endsWith(".jar") ? constants.R_OK : constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
