/**
 * From a profile to something that can be started: its secrets resolved, its environment built, its files
 * delivered, and everything that has to be scrubbed known. Nothing is started here.
 */
import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { McpRunError, systemErrorCode } from "../errors.ts";
import { deliverFiles } from "../launch/delivered-files.ts";
import {
  commandSearchPath,
  type Environment,
  programEnvironment,
  serverEnvironment,
} from "../launch/environment.ts";
import type { LaunchPlan } from "../launch/spawn.ts";
import { variablesNotPassedOn } from "../launch/vanished-variables.ts";
import type { Profile } from "../profile/profile.ts";
import type { NeedleSet } from "../scrub/needle-set.ts";
import { scrubText } from "../scrub/scrub-stream.ts";
import { cacheFile, forgetUnwanted } from "../secrets/cache-place.ts";
import { RecordingEnvironment } from "../secrets/environment-reader.ts";
import type { Held } from "../secrets/held.ts";
import type { Resolution, ResolvedSecret, ResolveRequest } from "../secrets/resolution.ts";
import { resolveSecrets } from "../secrets/resolve.ts";
import type { Secret } from "../secrets/secret.ts";
import { insertNamed } from "../secrets/template.ts";
import type { CommandContext } from "./context.ts";
import { providerContext } from "./provider-context.ts";

/**
 * A server gets the reduced environment of the design, a program of `exec` the caller's own. A trial is a server
 * that is started to see whether it could be: then a backend is asked whatever it did before, and nothing else
 * stands in for it.
 */
export type Purpose = "server" | "program" | "trial";

export interface Program {
  readonly command: string;
  readonly args: readonly string[];
}

export interface Prepared {
  readonly plan: LaunchPlan;
  readonly secrets: readonly ResolvedSecret[];
  /** Variables that the client's config sets and that the server will not see. */
  readonly notPassedOn: readonly string[];
  /** Released by the plan; to be awaited before the process ends. */
  readonly held: Held;
}

/** @param needles everything that has to be scrubbed is added to it before anything can be started */
export async function prepare(
  context: CommandContext,
  profile: Profile,
  override: Program | undefined,
  purpose: Purpose,
  needles: NeedleSet,
  signal: AbortSignal,
): Promise<Prepared> {
  const environment = new RecordingEnvironment(context.env);
  const resolution = await resolveSecrets({
    secrets: profile.secrets,
    secretsFrom: profile.secretsFrom,
    providers: profile.providers,
    kinds: context.kinds,
    context: providerContext(context, environment),
    timeoutMs: profile.fetchTimeoutMs,
    signal,
    ...forBadDays(context, profile, purpose),
  });
  try {
    hideFrom(needles, resolution);
    context.printer.scrubWith((text) => scrubText(text, needles));
    return assemble(context, profile, override, purpose, resolution, environment);
  } catch (error) {
    await resolution.held.release();
    throw error;
  }
}

function assemble(
  context: CommandContext,
  profile: Profile,
  override: Program | undefined,
  purpose: Purpose,
  resolution: Resolution,
  environment: RecordingEnvironment,
): Prepared {
  const { command, args } = override ?? {
    command: profile.command,
    args: argsWithSecrets(context, profile, resolution),
  };
  const { secrets, held } = resolution;
  const files = deliverFiles(valuesFor(secrets, "file"), {
    platform: context.platform,
    uid: context.uid,
    runFolder: context.paths.run,
  });
  const variables = valuesFor(secrets, "env");
  const nodeFolder = dirname(context.nodePath);
  const options = {
    env: { ...profile.env, ...files.env },
    secrets: variables,
    secretNames: [...profile.secrets, ...secrets].map(({ name }) => name),
    namesRead: environment.namesRead,
    platform: context.platform,
    ambient: context.env,
  };
  const env: Environment =
    purpose === "program"
      ? programEnvironment(options)
      : serverEnvironment({ ...options, inheritEnv: profile.inheritEnv, nodeFolder });
  return {
    plan: {
      command,
      args,
      cwd: resolve(context.cwd, profile.cwd ?? "."),
      env,
      searchPath: commandSearchPath(env, nodeFolder, context.platform, context.env),
      secretNames: new Set(variables.keys()),
      release: async () => {
        files.remove();
        // Not awaited: the client is to hear of the end of its server first.
        void held.release();
      },
    },
    secrets,
    notPassedOn: variablesNotPassedOn(
      context.env,
      env,
      [...environment.namesRead, ...profile.variablesUsed],
      context.platform,
    ),
    held,
  };
}

/** Breaker and cache; a home that does not exist is not made for their sake. */
function forBadDays(
  { env, home, paths, onTerminal }: CommandContext,
  profile: Profile,
  purpose: Purpose,
): Pick<ResolveRequest, "breaker" | "cache"> {
  if (!env.MCP_RUN_HOME && !existsSync(home)) return {};
  if (purpose === "trial") return { breaker: "lets-through" };
  const maxAgeMs = profile.cacheMaxAgeMs;
  return {
    breaker: onTerminal ? "lets-through" : "guards",
    ...(maxAgeMs !== undefined && { cache: { file: cacheFile(paths.cache, profile), maxAgeMs } }),
  };
}

/**
 * The program runs: the one line at the start, and one for what the client's config sets in vain. Names only,
 * never a value. Also the time for what must not delay a start.
 */
export function announceStart(
  context: CommandContext,
  profile: Profile,
  prepared: Prepared | undefined,
  pid: number,
  startedAt: number,
): void {
  const { clock, printer } = context;
  const { secrets: resolved = [], notPassedOn = [] } = prepared ?? {};
  const secrets = resolved.map(({ name, from, cachedSince }) => ({
    name,
    from,
    ...(cachedSince && { cachedMs: clock.now() - cachedSince.getTime() }),
  }));
  lookAfterCache(context, profile, prepared?.held);
  const ms = clock.monotonic() - startedAt;
  printer.emit({ type: "started", profile: profile.name, generation: 1, pid, secrets, ms });
  if (notPassedOn.length === 0) return;
  const names = notPassedOn.join(", ");
  printer.emit({
    type: "warning",
    message: `the client sets ${names} for mcp-run, and the server does not get it`,
    hint: `inheritEnv: [${names}] in the profile`,
  });
}

function lookAfterCache({ paths, printer }: CommandContext, profile: Profile, held: Held | undefined): void {
  held?.started();
  if (held?.hasCache) return;
  const file = cacheFile(paths.cache, profile);
  const warn = (error: unknown) => {
    const reason = systemErrorCode(error) ?? "a bug in mcp-run";
    printer.emit({ type: "warning", message: `the old cache ${file} could not be removed: ${reason}` });
  };
  forgetUnwanted(file).catch(warn);
}

function hideFrom(needles: NeedleSet, { secrets, secretZero }: Resolution): void {
  for (const { name, value, scrub } of secrets) if (scrub) needles.add(name, value);
  for (const { name, value } of secretZero) needles.add(name, value);
}

function valuesFor(
  secrets: readonly ResolvedSecret[],
  delivery: ResolvedSecret["deliver"],
): ReadonlyMap<string, Secret> {
  return new Map(
    secrets.filter(({ deliver }) => deliver === delivery).map(({ name, value }) => [name, value]),
  );
}

/** `{{NAME}}` in arguments, for the names that the profile allows there, and for no others. */
function argsWithSecrets(
  { printer }: CommandContext,
  profile: Profile,
  { secrets }: Resolution,
): readonly string[] {
  const allowed = new Map(
    profile.secretsInArgs.map((name) => {
      const secret = secrets.find((candidate) => candidate.name === name);
      if (!secret)
        throw new McpRunError("secret-invalid", `Cannot put ${name} into args: it is absent`, {
          hint: "making it a required secret",
        });
      return [name, secret.value.reveal()] as const;
    }),
  );
  if (allowed.size === 0) return profile.args;
  printer.emit({
    type: "warning",
    message: `ps shows the value of ${[...allowed.keys()].join(", ")} to every user of this machine, because secretsInArgs puts it into the arguments`,
  });
  return profile.args.map((argument) => insertNamed(argument, allowed));
}
