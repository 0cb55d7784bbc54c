/** What is said of a program that runs: names, refs and versions only, never a value. */
import type { ChangedSecret } from "../../events.ts";
import type { ResolvedSecret } from "../../secrets/resolution.ts";
import type { CommandContext } from "../context.ts";
import type { SecretsInUse } from "./secrets-in-use.ts";

/** The one line at the start, and one for what the client's config sets in vain. */
export function announceStart(
  { clock, printer }: CommandContext,
  profile: string,
  inUse: SecretsInUse,
  pid: number,
  startedAt: number,
): void {
  const secrets = inUse.resolution.secrets.map(({ name, from, cachedSince }) => ({
    name,
    from,
    ...(cachedSince && { cachedMs: clock.now() - cachedSince.getTime() }),
  }));
  inUse.started();
  const ms = clock.monotonic() - startedAt;
  printer.emit({ type: "started", profile, generation: 1, pid, secrets, ms });
  const names = inUse.current?.notPassedOn.join(", ");
  if (!names) return;
  printer.emit({
    type: "warning",
    message: `the client sets ${names} for mcp-run, and the server does not get it`,
    hint: `inheritEnv: [${names}] in the profile`,
  });
}

/** These names, with what is known of their secrets; one that has gone has its name only. */
export function named(
  names: readonly string[],
  secrets: readonly ResolvedSecret[],
): readonly ChangedSecret[] {
  return names.map((name) => {
    const found = secrets.find((secret) => secret.name === name);
    return {
      name,
      ...(found && { from: found.from }),
      ...(found?.version !== undefined && { version: found.version }),
    };
  });
}
