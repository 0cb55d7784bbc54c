/** From a file and a name to a Profile. Everything that is wrong is collected; nothing is thrown for it. */
import type { ProviderEntry } from "../secrets/spec.ts";
import { checkNames } from "./check-names.ts";
import type { Compilation } from "./compilation.ts";
import { compileAudit } from "./compile-audit.ts";
import type { CompiledFleet } from "./compile-fleet.ts";
import { compileProbe } from "./compile-probe.ts";
import { compileRefresh } from "./compile-refresh.ts";
import { compileSecrets } from "./compile-secrets.ts";
import { compileServer } from "./compile-server.ts";
import type { Findings } from "./findings.ts";
import { mergedBody } from "./merged-body.ts";
import type { FleetSettings, Profile } from "./profile.ts";
import { isMapping, type ProfileFile, providerEntries } from "./profile-file.ts";
import { checkProviders } from "./provider-uses.ts";
import type { ProfileRequest } from "./request.ts";
import { PROFILE_NAME, RESERVED_PROFILE_NAMES } from "./reserved-names.ts";
import { kindOfValue } from "./wording.ts";

/** Undefined when the profile is not even a mapping; otherwise usable if `findings` holds no error. */
export async function compileProfile(
  file: ProfileFile,
  name: string,
  request: ProfileRequest,
  findings: Findings,
): Promise<Profile | undefined> {
  const raw = file.bodies.get(name);
  if (!raw) return undefined;
  checkName(name, file, findings);
  if (!isMapping(raw.value)) {
    findings.error(
      { path: raw.path },
      `the profile \`${name}\` must be a mapping, not ${kindOfValue(raw.value)}`,
      {
        hint: "`command:` and `args:` below it",
      },
    );
    return undefined;
  }
  const entries = providerEntries(file);
  const compilation: Compilation = {
    ...mergedBody(file, raw, findings),
    request,
    document: file.document,
    findings,
    providerWords: [...new Set([...entries.keys(), ...request.kinds.names])],
    variablesUsed: new Set(),
  };
  const { body } = compilation;
  const server = compileServer(compilation);
  const probe = compileProbe(compilation);
  const { secrets, secretsFrom, uses } = compileSecrets(compilation);
  const refresh = await compileRefresh(secrets, compilation);
  const audit = compileAudit(secretsFrom, compilation);
  const secretsInArgs = body.secretsInArgs ?? [];
  checkNames({ ...server, secrets, secretsFrom, secretsInArgs }, compilation);
  const also = request.checkAllProviders ? entries.keys() : [];
  const fleet = await fleetOf(file, compilation);
  const providers = await checkProviders([...uses, ...(fleet?.uses ?? [])], entries, also, compilation);
  return {
    name,
    file: file.file,
    ...(body.description !== undefined && { description: body.description }),
    ...server,
    secrets,
    secretsFrom,
    secretsInArgs,
    refresh,
    ...(probe && { probe }),
    ...(body.environment !== undefined && { environment: body.environment }),
    audit,
    ...(fleet && { fleet: fleet.settings }),
    variablesUsed: [...compilation.variablesUsed],
    providers,
  };
}

/** Most files have none, and then no start reads the code for it. */
async function fleetOf(
  file: ProfileFile,
  context: Pick<Compilation, "request" | "findings" | "providerWords" | "variablesUsed">,
): Promise<CompiledFleet | undefined> {
  if (file.root.fleet === undefined) return undefined;
  return (await import("./compile-fleet.ts")).compileFleet(file, context);
}

/** The bus of a file alone, and the providers of its credentials. */
export async function compileFleetAlone(
  file: ProfileFile,
  request: ProfileRequest,
  findings: Findings,
): Promise<FleetOfFile | undefined> {
  const entries = providerEntries(file);
  const context = {
    request,
    findings,
    providerWords: [...new Set([...entries.keys(), ...request.kinds.names])],
    variablesUsed: new Set<string>(),
  };
  const fleet = await fleetOf(file, context);
  if (!fleet) return undefined;
  return { fleet: fleet.settings, providers: await checkProviders(fleet.uses, entries, [], context) };
}

export interface FleetOfFile {
  readonly fleet: FleetSettings;
  readonly providers: ReadonlyMap<string, ProviderEntry>;
}

/** The entries under `providers:` alone; those in `names` are checked like those of a profile. */
export async function compileProviders(
  file: ProfileFile,
  names: readonly string[],
  request: ProfileRequest,
  findings: Findings,
): Promise<ReadonlyMap<string, ProviderEntry>> {
  const entries = providerEntries(file);
  return checkProviders(
    [],
    entries,
    names.filter((name) => entries.has(name)),
    {
      request,
      findings,
      providerWords: [...new Set([...entries.keys(), ...request.kinds.names])],
      variablesUsed: new Set(),
    },
  );
}

function checkName(name: string, { isOneProfile, bodies }: ProfileFile, findings: Findings): void {
  const path = bodies.get(name)?.path ?? [];
  const mend = isOneProfile ? "another name for the file" : "another name";
  if (RESERVED_PROFILE_NAMES.includes(name)) {
    findings.error({ path, part: "key" }, `a profile can't be called \`${name}\`: it is a command`, {
      hint: mend,
    });
  } else if (!PROFILE_NAME.test(name) || /\.ya?ml$/.test(name)) {
    findings.error(
      { path, part: "key" },
      "a profile's name is made of at most 64 letters, digits, dots, dashes and underscores, a letter or digit first, without `.yaml`",
      { hint: mend },
    );
  }
}
