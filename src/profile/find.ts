/**
 * Finds the file of a profile: `--config`, `$MCP_RUN_CONFIG`, then the user's own configuration. Never from
 * the working directory by itself: a client starts servers inside a cloned repository, and a file there
 * could name its own commands and read the user's keychain.
 */
import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import { McpRunError } from "../errors.ts";
import { Findings } from "./findings.ts";
import { absolute, explicitFile, mainFile, profilesFolder, readExplicit, unlessRefused } from "./places.ts";
import { checkTop, type ProfileFile, readProfileFile, refusalOf } from "./profile-file.ts";
import type { ProfileRequest } from "./request.ts";

export interface FoundProfile {
  readonly file: ProfileFile;
  readonly name: string;
}

/** The file and the profile's name in it. Throws McpRunError. */
export async function findProfile(name: string, request: ProfileRequest): Promise<FoundProfile> {
  if (isPath(name, request)) return onlyProfileOf(name, request);
  const explicit = explicitFile(request);
  if (explicit !== undefined) {
    const file = await readExplicit(explicit, request);
    if (file.bodies.has(name)) return { file, name };
    throw await notFound(name, file, request);
  }
  return findInConfiguration(name, request);
}

async function findInConfiguration(name: string, request: ProfileRequest): Promise<FoundProfile> {
  const ownPath = join(profilesFolder(request), `${name}.yaml`);
  const own = existsSync(ownPath) ? ownPath : undefined;
  const main = own ? await unlessRefused(readMain(request)) : await readMain(request);
  if (own && main?.bodies.has(name)) {
    throw new McpRunError(
      "profile-invalid",
      `Cannot load profile ${name}: both ${main.file} and ${own} have it`,
      {
        hint: "removing or renaming one of them",
      },
    );
  }
  if (main?.bodies.has(name)) return { file: main, name };
  const file = own ? await readProfileFile(own, "one", request) : undefined;
  if (file) return { file, name };
  throw await notFound(name, main, request);
}

function readMain(request: ProfileRequest): Promise<ProfileFile | undefined> {
  return readProfileFile(mainFile(request), "any", request);
}

async function onlyProfileOf(path: string, request: ProfileRequest): Promise<FoundProfile> {
  if (request.configFile !== undefined) {
    throw new McpRunError("usage", `Cannot load ${path}: it is a path, and --config names another file`, {
      hint: "one of the two",
    });
  }
  const full = absolute(path, request.cwd, request.home);
  const file = await readProfileFile(full, "any", request);
  if (!file) {
    throw new McpRunError("profile-not-found", `Cannot load ${full}: there is no such file`, {
      hint: "the right path, or only the name of a profile",
    });
  }
  const [name, ...others] = file.bodies.keys();
  if (name !== undefined && others.length === 0) return { file, name };
  if (name === undefined) {
    // Nothing to choose from is said of the file itself, with its position.
    return { file, name: basename(full) };
  }
  throw new McpRunError("usage", `Cannot choose a profile of ${full}: it has ${others.length + 1}`, {
    hint: `\`--config ${path} ${name}\`; it has ${[name, ...others].slice(0, 20).join(", ")}`,
  });
}

/** A file whose top is wrong may well have the profile, under a key that is misspelt. */
async function notFound(
  name: string,
  file: ProfileFile | undefined,
  request: ProfileRequest,
): Promise<McpRunError> {
  const findings = new Findings();
  if (file) checkTop(file, findings);
  if (file && findings.errors.length > 0) return refusalOf(file.file, file.document, findings);
  return (await import("./not-found.ts")).notFound(name, file, request);
}

function isPath(name: string, { platform }: ProfileRequest): boolean {
  return name.includes("/") || (platform === "win32" && name.includes("\\")) || /\.ya?ml$/.test(name);
}
