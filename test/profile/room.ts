/** A home of its own for each test, with profile files in it, and backends that only have schemas. */
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, onTestFinished } from "vitest";
import * as z from "zod/mini";
import { commandKind } from "../../providers/command.ts";
import { createMemoryKind } from "../../providers/memory.ts";
import { type ErrorCode, McpRunError } from "../../src/errors.ts";
import { mcpRunPaths } from "../../src/paths.ts";
import { loadProfile, type ProfileRequest } from "../../src/profile/load.ts";
import type { Profile } from "../../src/profile/profile.ts";
import type { ProviderKind, ProviderKinds } from "../../src/secrets/provider.ts";

/** A backend that needs settings, one of which may hold a ref. */
export const safeKind: ProviderKind = {
  ...createMemoryKind(),
  name: "safe",
  worksWithoutSettings: false,
  configSchema: z.strictObject({
    address: z.url("Invalid URL"),
    region: z.optional(z.string()),
    auth: z.optional(
      z.discriminatedUnion("method", [
        z.strictObject({ method: z.literal("token"), token: z.string() }),
        z.strictObject({ method: z.literal("approle"), roleId: z.string(), secretId: z.string() }),
      ]),
    ),
  }),
  refSchema: z.strictObject({
    path: z.string().check(z.regex(/^[\w/-]+$/, "a path is made of words and slashes")),
    version: z.optional(z.string()),
    mount: z.optional(z.string()),
  }),
};

function plainKind(name: string): ProviderKind {
  return { ...createMemoryKind(), name, worksWithoutSettings: true };
}

const KINDS = new Map<string, ProviderKind>(
  [
    safeKind,
    ...["local", "keychain", "env", "file", "memory"].map(plainKind),
    commandKind as unknown as ProviderKind,
  ].map((kind) => [kind.name, kind]),
);

/** Remembers which backends were asked for. */
export function recordingKinds(): ProviderKinds & { readonly loaded: string[] } {
  const loaded: string[] = [];
  return {
    names: [...KINDS.keys()],
    loaded,
    load: async (type) => {
      loaded.push(type);
      return KINDS.get(type);
    },
  };
}

export interface Room {
  readonly home: string;
  readonly request: ProfileRequest;
  /** Writes a file below the home, 0600, and returns its path. */
  write(path: string, text: string | Uint8Array): string;
  /** Writes the main file. */
  main(text: string): string;
}

export function room(over: Partial<ProfileRequest> = {}): Room {
  const home = realpathSync(mkdtempSync(join(tmpdir(), "mcp-run-profile-")));
  chmodSync(home, 0o700);
  onTestFinished(() => rmSync(home, { recursive: true, force: true }));
  const cwd = join(home, "work");
  mkdirSync(cwd);
  const request: ProfileRequest = {
    env: { HOME: home },
    cwd,
    home,
    paths: mcpRunPaths({ HOME: home }, "linux", home),
    platform: "linux",
    uid: process.getuid?.(),
    gid: process.getgid?.(),
    allowPlaintext: false,
    kinds: recordingKinds(),
    ...over,
  };
  const write = (path: string, text: string | Uint8Array) => {
    const full = join(home, path);
    mkdirSync(dirname(full), { recursive: true, mode: 0o700 });
    writeFileSync(full, text, { mode: 0o600 });
    return full;
  };
  return { home, request, write, main: (text) => write(".config/mcp-run/mcp-run.yaml", text) };
}

/** The profile `p` of a main file with this body; indented by the caller as YAML wants it. */
export async function loadBody(body: string, over: Partial<ProfileRequest> = {}): Promise<Profile> {
  const { request, main } = room(over);
  main(fileOf(body));
  return (await loadProfile("p", request)).profile;
}

/** A file with one profile `p`, whose keys are the lines of `body`. */
export function fileOf(body: string): string {
  const lines = body.split("\n").filter((line) => line.trim() !== "");
  return ["version: 1", "profiles:", "  p:", ...lines.map((line) => `    ${line}`), ""].join("\n");
}

export async function errorOf(work: Promise<unknown>): Promise<McpRunError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof McpRunError) return error;
  throw new Error(`no McpRunError: ${String(error)}`);
}

export async function expectCode(work: Promise<unknown>, code: ErrorCode): Promise<McpRunError> {
  const error = await errorOf(work);
  expect(`${error.code}: ${error.message}`).toMatch(new RegExp(`^${code}: Cannot `));
  return error;
}

/** What is printed below «Cannot load FILE: N errors», with the file's path left out. */
export async function diagnosticsOf(text: string, over: Partial<ProfileRequest> = {}): Promise<string> {
  const { request, main } = room(over);
  const file = main(text);
  const error = await expectCode(loadProfile("p", request), "profile-invalid");
  return error.details.join("\n").replaceAll(file, "mcp-run.yaml");
}

/** Only the first lines of the diagnostics of a profile: `line:column: message`, counted inside the body. */
export async function messagesOf(body: string, over: Partial<ProfileRequest> = {}): Promise<string[]> {
  const text = await diagnosticsOf(fileOf(body), over);
  return text
    .split("\n")
    .filter((line) => line.startsWith("mcp-run.yaml:"))
    .map((line) =>
      line.replace(
        /^mcp-run\.yaml:(\d+):(\d+)/,
        (_whole, row: string, column: string) => `${Number(row) - 3}:${Number(column) - 4}`,
      ),
    );
}
