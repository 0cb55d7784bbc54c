/** `mcp-run fleet permissions`: what a host or the operator has to be allowed, for the configuration of nats-server. */
import {
  hostPermissions,
  hostUser,
  nscArguments,
  operatorPermissions,
  type Permissions,
  permissionsBlock,
} from "../../control/bus/permissions.ts";
import { McpRunError } from "../../errors.ts";
import { escapeControl } from "../../escape.ts";
import type { Profile } from "../../profile/profile.ts";
import { NeedleSet } from "../../scrub/needle-set.ts";
import { scrubText } from "../../scrub/scrub-stream.ts";
import type { Ref } from "../../secrets/spec.ts";
import { shellWord } from "../../shell-word.ts";
import { type CommandContext, interruptible } from "../context.ts";
import { loadForStart } from "../start/load-for-start.ts";
import { SecretsInUse } from "../start/secrets-in-use.ts";
import { hostOf } from "./credentials.ts";
import { backendOf, sharedSecrets } from "./shared-secrets.ts";

export interface PermissionsOptions {
  readonly host?: string;
  readonly operator?: boolean;
}

interface Named {
  readonly key: string;
  /** Where it lies, for people. */
  readonly what: string;
}

/** Returns 0. Asks the backends where the secrets lie, and prints no value. Throws McpRunError. */
export async function printPermissions(
  context: CommandContext,
  profiles: readonly string[],
  { host, operator = false }: PermissionsOptions,
): Promise<number> {
  const { stdout } = context;
  if (operator) {
    refuseBeside(profiles, host);
    stdout.write(block("the operator", "mcp-run-operator", [], operatorPermissions()));
    return 0;
  }
  if (profiles.length === 0) {
    throw new McpRunError("usage", "Cannot tell what a host needs: no profile is named", {
      hint: "`mcp-run fleet permissions PROFILE…` with every profile that it runs, or `--operator`",
    });
  }
  const needles = new NeedleSet();
  const loaded: Profile[] = [];
  for (const name of profiles) loaded.push(await loadForStart(context, name));
  const known = await interruptible(context, async (signal) => {
    const named: Named[] = [];
    for (const profile of loaded) named.push(...(await secretsOf(context, profile, needles, signal)));
    return named;
  });
  const here = host ?? loaded.map(({ fleet }) => fleet && hostOf(fleet)).find((name) => name !== undefined);
  if (here === undefined) {
    throw new McpRunError(
      "profile-invalid",
      "Cannot tell which host is meant: the profile file has no `fleet:`",
      {
        hint: "`--host NAME`",
      },
    );
  }
  const keys = known.map(({ key }) => key);
  stdout.write(
    scrubText(block(`the host ${here}`, hostUser(here), known, hostPermissions(here, keys)), needles),
  );
  return 0;
}

async function secretsOf(
  context: CommandContext,
  profile: Profile,
  needles: NeedleSet,
  signal: AbortSignal,
): Promise<readonly Named[]> {
  const inUse = new SecretsInUse({ context, profile: withoutOwn(profile), purpose: "trial" }, needles);
  try {
    await inUse.fetch(signal);
    const shared = sharedSecrets(inUse.resolution.secrets, profile.providers);
    return [...shared].map(([key, [{ from, place }]]) => ({
      key,
      what: `${from} of ${profile.name}${place === undefined ? "" : `, ${place}`}`,
    }));
  } finally {
    await inUse.release();
  }
}

/** What only the host itself has is not here, where the operator types it; nor is what is made of that. */
function withoutOwn(profile: Profile): Profile {
  const { secrets, secretsFrom, providers } = profile;
  const isShared = ({ text }: Ref) => backendOf(text, providers) !== undefined;
  return {
    ...profile,
    secrets: secrets.filter(({ source }) => source.type === "ref" && isShared(source.ref)),
    secretsFrom: secretsFrom.filter(({ ref }) => isShared(ref)),
  };
}

/** One entry for `users: [ … ]` of an account. */
function block(who: string, user: string, secrets: readonly Named[], permissions: Permissions): string {
  const indented = permissionsBlock(permissions).replaceAll("\n", "\n  ");
  const nsc = nscArguments(user, permissions).map(shellWord).join(" ");
  const lines = [
    `# ${who}`,
    ...secrets.map(({ key, what }) => `# ${key} is ${escapeControl(what, " ")}`),
    "{",
    `  user: ${JSON.stringify(user)}`,
    '  password: "…"  # a bcrypt hash of it, or in place of both lines nkey: "U…"',
    `  ${indented}`,
    "}",
    "# where users are JWTs:",
    `# nsc add user ${nsc}`,
  ];
  return `${lines.join("\n")}\n`;
}

function refuseBeside(profiles: readonly string[], host: string | undefined): void {
  if (profiles.length === 0 && host === undefined) return;
  throw new McpRunError("usage", "Cannot name a host or its profiles beside --operator", {
    hint: "one of the two",
  });
}
