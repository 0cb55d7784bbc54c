/** `mcp-run check`: everything that a start needs, tried out and reported, without printing a secret. */
import { parse } from "node:path";
import type { AuditEntry } from "../audit/record.ts";
import { EXIT_CODES, InterruptedError, McpRunError, worstOf } from "../errors.ts";
import { adviseOnContainer } from "../launch/container-advice.ts";
import { listProfiles, loadProfile } from "../profile/load.ts";
import type { Profile } from "../profile/profile.ts";
import { NeedleSet } from "../scrub/needle-set.ts";
import { RecordingEnvironment } from "../secrets/environment-reader.ts";
import type { Resolution } from "../secrets/resolution.ts";
import { tryResolveSecrets } from "../secrets/resolve.ts";
import { denials, note } from "./audit/note.ts";
import { overdueSecrets } from "./check/overdue.ts";
import {
  asFinding,
  type CheckedSecret,
  type CheckResult,
  type Finding,
  formatResult,
} from "./check/result.ts";
import { tryStart } from "./check/start.ts";
import { type CommandContext, interruptible } from "./context.ts";
import { profileRequest } from "./profile-request.ts";
import { providerContext } from "./start/provider-context.ts";

export interface CheckOptions {
  readonly offline?: boolean;
  readonly start?: boolean;
  readonly json?: boolean;
}

/** Returns the exit code of the worst finding; 0 with warnings only. Throws McpRunError if there is nothing to check. */
export async function check(
  context: CommandContext,
  names: readonly string[],
  options: CheckOptions,
): Promise<number> {
  if (options.offline && options.start) {
    throw new McpRunError("usage", "Cannot start a server offline: --start needs its secrets", {
      hint: "one of the two",
    });
  }
  const chosen =
    names.length > 0 ? names : (await listProfiles(profileRequest(context))).map(({ name }) => name);
  if (chosen.length === 0) {
    throw new McpRunError("profile-not-found", "Cannot check anything: there is no profile on this machine", {
      hint: "mcp-run init",
    });
  }
  const results: CheckResult[] = [];
  const outOfReach = new Map<string, readonly Finding[]>();
  for (const name of chosen) {
    const result = await checkProfile(context, name, options, outOfReach);
    results.push(result);
    if (!options.json) context.stdout.write(formatResult(result));
  }
  await note(context, ...results.flatMap(denialsIn));
  const ok = results.every((result) => result.ok);
  if (options.json) context.stdout.write(`${JSON.stringify({ ok, profiles: results }, null, 2)}\n`);
  return ok ? 0 : worstExitCode(results);
}

async function checkProfile(
  context: CommandContext,
  name: string,
  options: CheckOptions,
  outOfReach: Map<string, readonly Finding[]>,
): Promise<CheckResult> {
  const findings: Finding[] = [];
  let secrets: CheckedSecret[] = [];
  let profile: Profile | undefined;
  let start: CheckResult["start"];
  let fleet: CheckResult["fleet"];
  try {
    const loaded = await loadProfile(name, { ...profileRequest(context), checkAllProviders: true });
    profile = loaded.profile;
    findings.push(...loaded.warnings.map((message): Finding => ({ severity: "warning", message })));
    findings.push(...adviceFor(profile));
    const filesOfFleet = await checkFilesOfFleet(context, profile);
    findings.push(...filesOfFleet);
    if (!options.offline) {
      const environment = new RecordingEnvironment(context.env);
      const resolution = await interruptible(context, (signal) =>
        resolve(context, loaded.profile, environment, signal),
      );
      secrets = checkedSecrets(resolution);
      findings.push(...shortValues(resolution));
      findings.push(...overdueSecrets(loaded.profile, resolution.secrets, context.clock.now()));
      if (profile.fleet && filesOfFleet.length === 0) {
        const asked = { profile, fleet: profile.fleet, secrets: resolution.secrets };
        const { checkFleet } = await import("./check/fleet.ts");
        const seen = await interruptible(context, (signal) => checkFleet(context, asked, outOfReach, signal));
        fleet = seen.checked;
        findings.push(...seen.findings);
      }
      if (options.start && resolution.failures.length === 0)
        start = await interruptible(context, (signal) =>
          tryStart(context, loaded.profile, environment.namesRead, findings, signal),
        );
    }
  } catch (error) {
    if (!(error instanceof McpRunError) || error instanceof InterruptedError) throw error;
    findings.push(asFinding(error, error.message));
  }
  return {
    profile: name,
    ...(profile && { file: profile.file }),
    ok: secrets.every(({ ok }) => ok) && findings.every(({ severity }) => severity !== "error"),
    findings,
    secrets,
    ...(start && { start }),
    ...(fleet && { fleet }),
  };
}

async function checkFilesOfFleet(context: CommandContext, { fleet }: Profile): Promise<readonly Finding[]> {
  if (!fleet) return [];
  const { checkFleetFiles } = await import("./check/fleet-files.ts");
  return checkFleetFiles(context, fleet);
}

/** What was refused, by a backend or by the file itself. */
function denialsIn({ profile, findings, secrets }: CheckResult): readonly AuditEntry[] {
  const ofSecrets = secrets.flatMap(({ name, from, failure }) =>
    failure?.code === undefined
      ? []
      : denials({ code: failure.code, message: `${name}: ${from}: ${failure.message}` }, "check", profile),
  );
  const ofProfile = findings.flatMap(({ code, message }) =>
    code === undefined ? [] : denials({ code, message }, "check", profile),
  );
  return [...ofProfile, ...ofSecrets];
}

type Resolved = Omit<Resolution, "held">;

function resolve(
  context: CommandContext,
  profile: Profile,
  environment: RecordingEnvironment,
  signal: AbortSignal,
): Promise<Resolved> {
  return tryResolveSecrets({
    secrets: profile.secrets,
    secretsFrom: profile.secretsFrom,
    providers: profile.providers,
    kinds: context.kinds,
    context: providerContext(context, environment),
    timeoutMs: profile.fetchTimeoutMs,
    // Without the cache too: what is to be found out is whether the backend can be reached.
    breaker: "lets-through",
    signal,
  });
}

function checkedSecrets({ secrets, failures }: Resolved): CheckedSecret[] {
  return [
    ...secrets.map(({ name, from, version }) => ({
      name,
      from,
      ok: true,
      ...(version !== undefined && { version }),
    })),
    ...failures.map(({ name, from, error }) => ({
      name,
      from,
      ok: false,
      failure: asFinding(error, error.reason),
    })),
  ];
}

function shortValues({ secrets }: Resolved): Finding[] {
  const needles = new NeedleSet();
  return secrets
    .filter(({ scrub, value }) => scrub && needles.tooShort(value))
    .map(({ name }) => ({
      severity: "warning",
      message: `${name} is too short to be scrubbed: it would hide ordinary text`,
      hint: "a longer value, or `scrub: false` if it is no secret",
    }));
}

function adviceFor(profile: Profile): readonly Finding[] {
  const delivered = profile.secrets.filter(({ deliver }) => deliver === "env").map(({ name }) => name);
  const onContainer = adviseOnContainer(profile.command, profile.args, delivered).map(
    (advice): Finding => (advice.severity === "error" ? { ...advice, code: "profile-invalid" } : advice),
  );
  return [...onContainer, ...adviseOnPackageRunner(profile)];
}

/** They run what the folder offers that they are started in, and coding clients start servers in a cloned repository. */
const PACKAGE_RUNNERS = ["npx", "npm", "pnpm", "pnpx", "yarn", "bunx"];

function adviseOnPackageRunner({ command, cwd }: Profile): readonly Finding[] {
  const program = parse(command).name;
  if (cwd !== undefined || !PACKAGE_RUNNERS.includes(program)) return [];
  const message = `${program} obeys the .npmrc and node_modules of the folder that the client is in, which could be a stranger's repository`;
  return [{ severity: "warning", message, hint: "`cwd: ~/` in the profile" }];
}

function worstExitCode(results: readonly CheckResult[]): number {
  const codes = results.flatMap(({ findings, secrets }) => [
    ...findings.map(({ code }) => code),
    ...secrets.map(({ failure }) => failure?.code),
  ]);
  return EXIT_CODES[worstOf(codes) ?? "internal"];
}
