/** What a canary is made of in a test: a context, a profile with two secrets of a store in memory, a server of a shell. */
import { join } from "node:path";
import { PassThrough } from "node:stream";
import type { MemoryKind } from "../../../providers/memory.ts";
import type { CommandContext } from "../../../src/commands/context.ts";
import { mcpRunPaths } from "../../../src/paths.ts";
import type { Profile } from "../../../src/profile/profile.ts";
import type { ProviderKind } from "../../../src/secrets/provider.ts";
import { createPrinter } from "../../../src/ui/printer.ts";
import type { Installation } from "../../helpers/installation.ts";
import { testContext } from "../../helpers/provider-context.ts";
import { secret } from "../../secrets/requests.ts";

export const OLD_VALUES = { key: "canary-old", other: "canary-other" };

/** Notes its pid; `check` passes if the shell command `test` does. */
export function serverWith(test: string, before = ""): string {
  return `
echo $$ >pid
${before}
answer() { printf '{"jsonrpc":"2.0","id":%s,"result":%s}\\n' "$1" "$2"; }
while IFS= read -r line; do
  id=\${line#*'"id":'}; id=\${id%%,*}
  case $line in
    *'"method":"initialize"'*)
      answer "$id" '{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"sh","version":"1"}}' ;;
    *'"name":"check"'*)
      if ${test}; then answer "$id" '{"content":[]}'; else answer "$id" '{"content":[],"isError":true}'; fi ;;
  esac
done`;
}

export function contextOf(home: Installation, kind: MemoryKind, clock = testContext().clock): CommandContext {
  const env = { PATH: process.env.PATH ?? "", MCP_RUN_HOME: home.home };
  return {
    ...testContext({ clock }),
    env,
    cwd: home.home,
    home: home.home,
    nodePath: process.execPath,
    scriptPath: "/nonexistent/main.cjs",
    packageRoot: "/nonexistent",
    paths: mcpRunPaths(env, "linux", home.home),
    platform: process.platform,
    uid: process.getuid?.(),
    stdin: new PassThrough(),
    stdout: new PassThrough(),
    stderr: new PassThrough(),
    onTerminal: false,
    printer: createPrinter({ write: () => undefined, level: "error", format: "text" }),
    kinds: { names: ["memory"], load: async () => kind as unknown as ProviderKind },
    onSignal: () => () => undefined,
  } as unknown as CommandContext;
}

export function profileOf(home: Installation, script: string, given: Partial<Profile> = {}): Profile {
  return {
    name: "p",
    file: join(home.home, "p.yaml"),
    command: "/bin/sh",
    args: ["-c", script],
    env: {},
    inheritEnv: [],
    secrets: [secret("KEY", "memory:key"), secret("OTHER", "memory:other")],
    secretsFrom: [],
    secretsInArgs: [],
    stopGraceMs: 1500,
    maxLineBytes: 1_048_576,
    fetchTimeoutMs: 10_000,
    refresh: { restart: "overlap", drainMs: 1 },
    variablesUsed: [],
    providers: new Map(),
    ...given,
  } as unknown as Profile;
}
