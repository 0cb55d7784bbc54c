/**
 * What a start loads: a profile of one backend reads that backend's library from disk and no other's, and of its
 * library only the way to log in that is used. Seen on a build of the test's own, which knows what is in each chunk.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, relative } from "node:path";
import { type OutputOptions, rolldown } from "rolldown";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import config from "../../rolldown.config.ts";
import { answers, HostileServer } from "../helpers/hostile-server.ts";
import { Installation, ROOT } from "../helpers/installation.ts";
import { type PrivateCa, privateCa } from "../helpers/private-ca.ts";
import { CREDENTIALS, REMOTE_LOGINS } from "../helpers/remote-logins.ts";

const LIBRARIES = {
  vault: /^node_modules\/(node-vault|axios|tv4|mustache)\//,
  aws: /^node_modules\/(@aws-sdk|@smithy|@aws|@aws-crypto)\//,
  azure: /^node_modules\/(@azure|@azure-rest|@typespec)\//,
  keychain: /^node_modules\/@napi-rs\//,
  cron: /^node_modules\/croner\//,
  opentelemetry: /^node_modules\/@opentelemetry\//,
};
type Library = keyof typeof LIBRARIES;

/** What only some logins need, and is much. */
const LOGIN_LIBRARIES = {
  "MSAL, for the logins of Entra": /^node_modules\/@azure\/(identity|msal-node|msal-common)\//,
  "STS, for assumed roles": /^node_modules\/@aws-sdk\/nested-clients\/.*\bsts\b/,
  "IAM Identity Center": /^node_modules\/@aws-sdk\/.*\bsso/,
};

let folder: string;
let room: Installation;
let tls: PrivateCa;
/** The sources in each file of the build. */
const sourcesIn = new Map<string, readonly string[]>();
const servers: HostileServer[] = [];

/** Starts a program with a profile and answers the sources that were loaded for it. */
async function loadedFor(profile: string): Promise<readonly string[]> {
  const list = join(folder, `${profile}.json`);
  const hook = join(folder, "hook.cjs");
  const child = spawn(
    process.execPath,
    [
      "--require",
      hook,
      join(folder, "dist/main.cjs"),
      ...["--log-level", "error"],
      "exec",
      profile,
      "--",
      process.execPath,
      "-e",
      "0",
    ],
    { env: { ...room.env, ...CREDENTIALS, LOADED_LIST: list }, stdio: ["ignore", "ignore", "inherit"] },
  );
  expect(await once(child, "close")).toEqual([0, null]);
  const files: string[] = JSON.parse(readFileSync(list, "utf8"));
  return files.flatMap((file) => sourcesIn.get(basename(file)) ?? []);
}

function librariesAmong(sources: readonly string[]): string[] {
  return Object.entries(LIBRARIES)
    .filter(([, pattern]) => sources.some((source) => pattern.test(source)))
    .map(([name]) => name);
}

/** The folders and files of `providers/`, by the backend's own name. */
function providersAmong(sources: readonly string[]): string[] {
  const names = sources.flatMap((source) => /^providers\/([\w-]+)/.exec(source)?.[1] ?? []);
  return [...new Set(names)].sort();
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "mcp-run-loaded-"));
  const bundle = await rolldown({ ...config, logLevel: "silent" });
  const { output } = await bundle.write({ ...(config.output as OutputOptions), dir: join(folder, "dist") });
  await bundle.close();
  for (const chunk of output) {
    if (chunk.type !== "chunk") continue;
    const sources = chunk.moduleIds.map((id) => relative(ROOT, id).replaceAll("\\", "/"));
    sourcesIn.set(basename(chunk.fileName), sources);
  }
  writeFileSync(
    join(folder, "hook.cjs"),
    `process.on("exit", () => require("fs").writeFileSync(process.env.LOADED_LIST, JSON.stringify(Object.keys(require.cache))));`,
  );

  tls = await privateCa();
  room = new Installation();
  const ca = room.write("ca.pem", tls.ca);
  const providers: Record<string, object> = {};
  const secretOf: Record<string, string> = { env: "env:WALK_JWT", local: "local:stored" };
  for (const login of REMOTE_LOGINS) {
    const server: HostileServer = await HostileServer.start({
      behave: (request) => answers(login.good(request, server.url)),
      ...(login.needsTls && { tls }),
    });
    servers.push(server);
    providers[login.name] = login.settings({ url: server.url, ca });
    secretOf[login.name] = `${login.name}:${login.path}`;
  }
  const profiles: Record<string, object> = Object.fromEntries(
    Object.entries(secretOf).map(([name, from]) => [name, { command: "node", secrets: { VALUE: from } }]),
  );
  profiles.every = { ...profiles.local, refresh: { every: "15m" } };
  profiles.calls = { ...profiles.local, audit: { calls: "metadata" } };
  profiles.exported = { ...profiles.local, audit: { export: { otlp: "http://127.0.0.1:9" } } };
  profiles.cron = { ...profiles.local, refresh: { cron: "0 3 * * *", timezone: "Europe/Berlin" } };
  room.write("config/mcp-run.yaml", JSON.stringify({ version: 1, providers, profiles }));
  room.set("local:stored", "canary-stored");
}, 180_000);

afterAll(async () => {
  for (const server of servers) await server.stop();
  room?.remove();
  rmSync(folder, { recursive: true, force: true });
});

describe("a start", () => {
  it.each<[profile: string, libraries: readonly Library[], providers: readonly string[]]>([
    ["env", [], ["env"]],
    ["local", [], ["local"]],
    ["every", [], ["local"]],
    ["cron", ["cron"], ["local"]],
    ["calls", [], ["local"]],
    ["exported", ["opentelemetry"], ["local"]],
    ["vault-token", ["vault"], ["env", "vault"]],
    ["vault-approle", ["vault"], ["env", "vault"]],
    ["aws-keys", ["aws"], ["aws", "env"]],
    ["aws-role", ["aws"], ["aws", "env"]],
    ["azure-token", ["azure"], ["azure", "env"]],
    ["azure-client-secret", ["azure"], ["azure", "env"]],
  ])(
    "with the profile %s loads the libraries %j and no other backend",
    async (profile, libraries, providers) => {
      const loaded = await loadedFor(profile);

      expect(librariesAmong(loaded)).toEqual(libraries);
      expect(providersAmong(loaded)).toEqual(providers);
    },
  );

  it.each([
    ["azure-token", []],
    ["azure-client-secret", ["MSAL, for the logins of Entra"]],
    ["aws-keys", []],
    ["aws-role", ["STS, for assumed roles"]],
  ])("with the profile %s loads of the logins %j", async (profile, expected) => {
    const loaded = await loadedFor(profile);

    const found = Object.entries(LOGIN_LIBRARIES)
      .filter(([, pattern]) => loaded.some((source) => pattern.test(source)))
      .map(([name]) => name);
    expect(found).toEqual(expected);
  });
});
