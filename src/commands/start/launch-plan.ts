/**
 * From a profile and its secrets to something that can be started: its environment built, its files delivered, its
 * arguments filled in. Nothing is started here.
 */
import { dirname, resolve } from "node:path";
import { McpRunError } from "../../errors.ts";
import { type DeliveredFiles, deliverFiles } from "../../launch/delivered-files.ts";
import {
  commandSearchPath,
  type Environment,
  programEnvironment,
  serverEnvironment,
} from "../../launch/environment.ts";
import type { LaunchPlan } from "../../launch/spawn.ts";
import { variablesNotPassedOn } from "../../launch/vanished-variables.ts";
import type { Profile } from "../../profile/profile.ts";
import type { ResolvedSecret } from "../../secrets/resolution.ts";
import type { Secret } from "../../secrets/secret.ts";
import { insertNamed } from "../../secrets/template.ts";
import type { CommandContext } from "../context.ts";

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

/** What stands around the secrets and stays as it is from one server to the next. */
export interface Launch {
  readonly context: CommandContext;
  readonly profile: Profile;
  /** Started in place of the profile's server. */
  readonly override?: Program | undefined;
  readonly purpose: Purpose;
  /** In a trial: values in place of those that the backends give, by the name of the secret. */
  readonly candidates?: ReadonlyMap<string, Secret>;
}

export interface LaunchParts {
  readonly plan: Omit<LaunchPlan, "release">;
  /** To be removed when the program has gone. */
  readonly files: DeliveredFiles;
  /** Variables that the client's config sets and that the server will not see. */
  readonly notPassedOn: readonly string[];
}

/**
 * @param namesRead the variables that the backends have read
 *
 * Throws McpRunError; then no file is left.
 */
export function launchPlan(
  { context, profile, override, purpose }: Launch,
  secrets: readonly ResolvedSecret[],
  namesRead: ReadonlySet<string>,
): LaunchParts {
  const { command, args } = override ?? {
    command: profile.command,
    args: argsWithSecrets(context, profile, secrets),
  };
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
    namesRead,
    platform: context.platform,
    ambient: context.env,
  };
  const env: Environment =
    purpose === "program"
      ? programEnvironment(options)
      : serverEnvironment({ ...options, inheritEnv: profile.inheritEnv, nodeFolder });
  const known = [...namesRead, ...profile.variablesUsed];
  return {
    plan: {
      command,
      args,
      cwd: resolve(context.cwd, profile.cwd ?? "."),
      env,
      searchPath: commandSearchPath(env, nodeFolder, context.platform, context.env),
      secretNames: new Set(variables.keys()),
    },
    files,
    notPassedOn: variablesNotPassedOn(context.env, env, known, context.platform),
  };
}

/** The values that are delivered in this way, by name. */
export function valuesFor(
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
  secrets: readonly ResolvedSecret[],
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
