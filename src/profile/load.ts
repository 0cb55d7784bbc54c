/**
 * A profile by name or path: found, read, checked, compiled. All errors of a file are reported at once; a
 * mistake in another profile of the file, or in a provider that this profile does not use, is no reason to
 * refuse this one.
 */
import type { ProviderEntry } from "../secrets/spec.ts";
import { compileFleetAlone, compileProfile, compileProviders, type FleetOfFile } from "./compile.ts";
import { findProfile } from "./find.ts";
import { Findings } from "./findings.ts";
import { explicitFile, mainFile, readExplicit } from "./places.ts";
import type { Profile } from "./profile.ts";
import { checkTop, type ProfileFile, readProfileFile, refusalOf } from "./profile-file.ts";
import type { ProfileRequest } from "./request.ts";

export type { FleetOfFile } from "./compile.ts";
export { type ListedProfile, listProfiles } from "./list.ts";
export type { ProfileRequest } from "./request.ts";

export interface LoadedProfile {
  readonly profile: Profile;
  /** One line each, with its position. */
  readonly warnings: readonly string[];
}

/**
 * Throws McpRunError: `profile-not-found`; `profile-invalid` with every error and its position in `details`;
 * `access-denied` for a file that others can change; `usage` for a path that does not lead to one profile.
 */
export async function loadProfile(name: string, request: ProfileRequest): Promise<LoadedProfile> {
  const found = await findProfile(name, request);
  const { file } = found;
  const findings = new Findings();
  checkTop(file, findings);
  const profile = await compileProfile(file, found.name, request, findings);
  if (!profile || findings.errors.length > 0) {
    for (const other of file.bodies.keys()) {
      if (other !== found.name) await compileProfile(file, other, request, findings);
    }
    if (!profile && findings.errors.length === 0)
      findings.error({ path: ["profiles"] }, "there is no profile in this file", {
        hint: "a name and `command:` below `profiles:`",
      });
    throw await refusalOf(file.file, file.document, findings);
  }
  return { profile, warnings: await warningsOf(file, findings) };
}

/**
 * The providers that are set up, for commands that need no profile. Of those in `names` everything is
 * checked; of the others only that they have a type. Throws McpRunError.
 */
export async function loadProviderEntries(
  request: ProfileRequest,
  names: readonly string[] = [],
): Promise<ReadonlyMap<string, ProviderEntry>> {
  const explicit = explicitFile(request);
  const file =
    explicit === undefined
      ? await readProfileFile(mainFile(request), "any", request)
      : await readExplicit(explicit, request);
  if (!file) return new Map();
  const findings = new Findings();
  checkTop(file, findings);
  const entries = await compileProviders(file, names, request, findings);
  if (findings.errors.length > 0) throw await refusalOf(file.file, file.document, findings);
  return entries;
}

/**
 * The bus of the file that holds this profile, or without one of the file in use; undefined where it has none. Of the
 * profiles nothing is checked. Throws McpRunError.
 */
export async function loadFleet(request: ProfileRequest, profile?: string): Promise<FleetOfFile | undefined> {
  const explicit = explicitFile(request);
  const file =
    profile !== undefined
      ? (await findProfile(profile, request)).file
      : explicit === undefined
        ? await readProfileFile(mainFile(request), "any", request)
        : await readExplicit(explicit, request);
  if (!file) return undefined;
  const findings = new Findings();
  checkTop(file, findings);
  const found = await compileFleetAlone(file, request, findings);
  if (file.root.fleet === undefined) return undefined;
  if (findings.errors.length > 0) throw await refusalOf(file.file, file.document, findings);
  return found;
}

async function warningsOf(file: ProfileFile, { warnings }: Findings): Promise<readonly string[]> {
  if (warnings.length === 0) return [];
  const { renderBriefly } = await import("./render-diagnostics.ts");
  return renderBriefly(file.file, file.document, warnings);
}
