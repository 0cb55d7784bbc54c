/** Copies of old values that mcp-run itself keeps: the caches of the profiles that have one of these secrets. */
import { McpRunError } from "../../errors.ts";
import { listProfiles, loadProfile } from "../../profile/load.ts";
import type { Profile } from "../../profile/profile.ts";
import { cacheFile } from "../../secrets/cache-place.ts";
import { forgetCache } from "../../secrets/document-cache.ts";
import type { Ref } from "../../secrets/spec.ts";
import type { CommandContext } from "../context.ts";
import { profileRequest } from "../profile-request.ts";

/** @param refs as profiles have them; a profile with another field of the same document counts as well */
export async function forgetCopies(context: CommandContext, refs: readonly string[]): Promise<void> {
  const request = profileRequest(context);
  const documents = new Set(refs.map(documentOf));
  for (const { name } of await listProfiles(request)) {
    try {
      const { profile } = await loadProfile(name, request);
      if (refsOf(profile).some(({ text }) => documents.has(documentOf(text))))
        forgetCache(cacheFile(context.paths.cache, profile));
    } catch (error) {
      // A profile that can't be read starts nothing, with its cache or without.
      if (!(error instanceof McpRunError)) throw error;
    }
  }
}

function refsOf({ secrets, secretsFrom }: Profile): readonly Ref[] {
  return [
    ...secrets.flatMap(({ source }) => (source.type === "ref" ? [source.ref] : [])),
    ...secretsFrom.map(({ ref }) => ref),
  ];
}

/** A ref up to its field. */
function documentOf(ref: string): string {
  return ref.replace(/(?<!\\)#.*$/s, "");
}
