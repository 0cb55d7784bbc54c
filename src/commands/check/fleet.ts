/** Whether the servers of a profile would be heard in their fleet: who this host is there, and what it may do. */
import { refusalToConnect } from "../../control/bus/refusal.ts";
import { type BusTrial, tryBus } from "../../control/bus/trial.ts";
import { McpRunError } from "../../errors.ts";
import type { FleetSettings, Profile } from "../../profile/profile.ts";
import { NeedleSet } from "../../scrub/needle-set.ts";
import { scrubText } from "../../scrub/scrub-stream.ts";
import type { ResolvedSecret } from "../../secrets/resolution.ts";
import type { Secret } from "../../secrets/secret.ts";
import type { CommandContext } from "../context.ts";
import { certificates, fetchFleetCredentials, hideFleetCredentials, hostOf } from "../fleet/credentials.ts";
import { sharedSecrets } from "../fleet/shared-secrets.ts";
import { lacksOf } from "./fleet-lacks.ts";
import { asFinding, type CheckedFleet, type Finding } from "./result.ts";

export interface FleetOfProfile {
  readonly profile: Profile;
  readonly fleet: FleetSettings;
  readonly secrets: readonly ResolvedSecret[];
}

/**
 * Rejects only when aborted.
 *
 * @param outOfReach why, by profile file: a bus that nobody can reach is not waited for once more for each profile
 */
export async function checkFleet(
  context: CommandContext,
  { profile, fleet, secrets }: FleetOfProfile,
  outOfReach: Map<string, readonly Finding[]>,
  signal: AbortSignal,
): Promise<{ readonly checked: CheckedFleet; readonly findings: readonly Finding[] }> {
  const host = hostOf(fleet);
  const needles = new NeedleSet();
  const shared = sharedSecrets(secrets, profile.providers);
  const done = (findings: readonly Finding[], server?: string) => ({
    checked: { host, ok: server !== undefined && !findings.some(isError), ...(server && { server }) },
    findings: findings.map((one) => ({ ...one, message: scrubText(one.message, needles) })),
  });
  const known = outOfReach.get(profile.file);
  if (known) return done(known);
  try {
    const credentials = await fetchFleetCredentials(
      context,
      profile.providers,
      fleet.credentials,
      needles,
      signal,
    );
    const trial = await tryWith(credentials, context, fleet, needles, [...shared.keys()], signal);
    const failures = failuresOf(trial);
    if (trial.server === undefined) outOfReach.set(profile.file, failures);
    return done([...failures, ...lacksOf(trial, { host, profile: profile.name, shared })], trial.server);
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof McpRunError)) throw error;
    const findings = [withoutCredentials(error, fleet)];
    outOfReach.set(profile.file, findings);
    return done(findings);
  }
}

async function tryWith(
  credentials: Secret,
  { clock }: CommandContext,
  fleet: FleetSettings,
  needles: NeedleSet,
  keys: readonly string[],
  signal: AbortSignal,
): Promise<BusTrial> {
  hideFleetCredentials(credentials, needles);
  const ca = fleet.ca === undefined ? undefined : await certificates(fleet.ca);
  const { servers } = fleet;
  const options = { servers, credentials, host: hostOf(fleet), clock, ...(ca !== undefined && { ca }) };
  return tryBus(options, keys, signal);
}

/** What has to be mended decides the exit code, not another server that is down; and one that lets us in is enough. */
export function failuresOf({ server, failures }: BusTrial): readonly Finding[] {
  const isRefused = failures.some(({ type }) => type === "refused");
  return failures.map((failure) => {
    const error = refusalToConnect(failure);
    const finding = asFinding(error, error.message);
    const counts = server === undefined && (failure.type === "refused" || !isRefused);
    if (counts) return finding;
    const { code: _code, ...rest } = finding;
    return { ...rest, severity: "warning" as const };
  });
}

/** Where an operator types commands, no server need run. */
function withoutCredentials(error: McpRunError, { operator, credentials }: FleetSettings): Finding {
  if (operator === undefined || error.code !== "secret-invalid") return asFinding(error, error.message);
  return {
    severity: "warning",
    message: `a server that runs here would not be heard in its fleet: ${error.message}`,
    hint: `mcp-run secrets set ${credentials.text}, if servers are to run here`,
  };
}

function isError({ severity }: Finding): boolean {
  return severity === "error";
}
