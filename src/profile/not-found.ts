/** The error for a name that no file has: with near names, and the way to a file that is not used by itself. */
import { join } from "node:path";
import { McpRunError } from "../errors.ts";
import { nearestFew } from "../nearest.ts";
import { profileNames } from "./list.ts";
import { MAIN_FILE, mainFile, profilesFolder, unlessRefused } from "./places.ts";
import type { ProfileFile } from "./profile-file.ts";
import { readProfileFile } from "./profile-file.ts";
import type { ProfileRequest } from "./request.ts";
import { COMMANDS } from "./reserved-names.ts";

const MOST_NEAR = 3;
const LONGEST_NAME = 64;

/** @param file the one that was searched, where there is one */
export async function notFound(
  name: string,
  file: ProfileFile | undefined,
  request: ProfileRequest,
): Promise<McpRunError> {
  const names = await profileNames(request);
  const near = [
    ...nearestFew(name, names, MOST_NEAR).map((profile) => `\`${profile}\``),
    ...nearestFew(name, COMMANDS, 1).map((command) => `\`mcp-run ${command}\``),
  ];
  const hint = (await hintFromWorkingDirectory(name, file, request)) ?? hintFor(near, names);
  return new McpRunError(
    "profile-not-found",
    `Cannot find profile ${shown(name)}: ${state(file, names, request)}`,
    {
      hint,
    },
  );
}

function state(file: ProfileFile | undefined, names: readonly string[], request: ProfileRequest): string {
  if (names.length === 0 && !file)
    return `there is neither ${mainFile(request)} nor a file in ${profilesFolder(request)}`;
  return file && !names.some((name) => !file.bodies.has(name))
    ? `${file.file} does not have it`
    : `neither ${mainFile(request)} nor the folder ${profilesFolder(request)} has it`;
}

function hintFor(near: readonly string[], names: readonly string[]): string {
  if (near.length > 0) return near.join(" or ");
  if (names.length > 0) return `one of ${names.slice(0, 20).join(", ")}`;
  return "`mcp-run init`, which writes a profile to begin with";
}

/** Only looked at to be named; what it says is never used. */
async function hintFromWorkingDirectory(
  name: string,
  file: ProfileFile | undefined,
  request: ProfileRequest,
): Promise<string | undefined> {
  const path = join(request.cwd, MAIN_FILE);
  if (path === file?.file) return undefined;
  const { uid: _uid, ...anyOwner } = request;
  const here = await unlessRefused(readProfileFile(path, "any", anyOwner));
  return here?.bodies.has(name)
    ? `\`--config ./${MAIN_FILE}\` (a file in the working directory is never used by itself)`
    : undefined;
}

function shown(name: string): string {
  return JSON.stringify(name.length > LONGEST_NAME ? `${name.slice(0, LONGEST_NAME)}…` : name);
}
