/** The built program with every logging switched on that it, Node or an SDK knows, and a search in what it says. */
import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { variantsOf } from "../../src/scrub/encodings.ts";
import { type Installation, MAIN } from "./installation.ts";

/** Whatever a person who looks for a mistake may switch on. */
export const LOUD: Readonly<Record<string, string>> = {
  DEBUG: "*",
  NODE_DEBUG: "http,https,net,tls,fetch,undici",
  AZURE_LOG_LEVEL: "verbose",
  VAULT_LOG_LEVEL: "trace",
};

const LONGEST_MS = 150_000;

export interface Said {
  /** Null if it had to be killed, since it did not end. */
  readonly status: number | null;
  /** Both streams. */
  readonly everything: string;
}

/** Not by spawnSync: the servers that are asked may live in this process. */
export async function runInRoom(
  room: Installation,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<Said> {
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { ...room.env, ...env },
    cwd: room.home,
    stdio: ["ignore", "pipe", "pipe"],
    timeout: LONGEST_MS,
    killSignal: "SIGKILL",
  });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { status: await ended, everything: out + err };
}

/** The lines that give one of the secrets away, in any encoding, cut short; an assertion that fails shows them. */
export function leaksIn(said: string, secrets: readonly string[]): string[] {
  const variants = secrets.flatMap((secret) => variantsOf(secret).map(String));
  const lines = said
    .split("\n")
    .filter((line) => /canary/i.test(line) || variants.some((variant) => line.includes(variant)));
  return [...new Set(lines.map((line) => line.trim().slice(0, 200)))].slice(0, 10);
}
