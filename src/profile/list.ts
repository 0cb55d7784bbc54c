/** Which profiles there are; nothing inside them is checked. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { systemErrorCode } from "../errors.ts";
import { explicitFile, mainFile, profilesFolder, readExplicit, unlessRefused } from "./places.ts";
import { isMapping, type ProfileFile, readProfileFile } from "./profile-file.ts";
import type { ProfileRequest } from "./request.ts";

export interface ListedProfile {
  readonly name: string;
  readonly file: string;
  readonly description?: string;
}

/**
 * Every profile that can be named, in the order of the files. A file of the `profiles` folder that can't be
 * read is listed by its name. Throws McpRunError when a file that may hold many can't be read.
 */
export async function listProfiles(request: ProfileRequest): Promise<readonly ListedProfile[]> {
  const explicit = explicitFile(request);
  if (explicit !== undefined) return listed(await readExplicit(explicit, request));
  const main = await readProfileFile(mainFile(request), "any", request);
  const own = await Promise.all(
    ownNames(request).map(async (name) => {
      const path = join(profilesFolder(request), `${name}.yaml`);
      const file = await unlessRefused(readProfileFile(path, "one", request));
      return file ? listed(file) : [{ name, file: path }];
    }),
  );
  return [...(main ? listed(main) : []), ...own.flat()];
}

/** Only the names, as far as they can be read. Never throws for what the files hold. */
export async function profileNames(request: ProfileRequest): Promise<readonly string[]> {
  const explicit = explicitFile(request);
  const many = await unlessRefused(readProfileFile(explicit ?? mainFile(request), "any", request));
  return [...(many?.bodies.keys() ?? []), ...(explicit === undefined ? ownNames(request) : [])];
}

function ownNames(request: ProfileRequest): readonly string[] {
  try {
    return readdirSync(profilesFolder(request))
      .filter((file) => file.endsWith(".yaml") && !file.startsWith("."))
      .map((file) => file.slice(0, -".yaml".length))
      .sort();
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    return [];
  }
}

function listed({ file, bodies }: ProfileFile): readonly ListedProfile[] {
  return [...bodies].map(([name, { value }]) => {
    const description = isMapping(value) ? value.description : undefined;
    return { name, file, ...(typeof description === "string" && { description }) };
  });
}
