/** The secrets that the headers of an export need, where no program has them: for a rotation. */
import type { ExportPlan, Profile } from "../../profile/profile.ts";
import type { NeedleSet } from "../../scrub/needle-set.ts";
import { RecordingEnvironment } from "../../secrets/environment-reader.ts";
import { tryResolveSecrets } from "../../secrets/resolve.ts";
import type { Secret } from "../../secrets/secret.ts";
import type { SecretSpec } from "../../secrets/spec.ts";
import { parseTemplate, templateNames } from "../../secrets/template.ts";
import type { CommandContext } from "../context.ts";
import { providerContext } from "../start/provider-context.ts";

/** What can be had of them, by name; from now on `needles` hide it. Rejects only when aborted. */
export async function headerSecrets(
  context: CommandContext,
  profile: Profile,
  { headers }: ExportPlan,
  needles: NeedleSet,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Secret>> {
  const names = headers.flatMap(({ needs }) => needs);
  if (names.length === 0) return new Map();
  const wanted = withParts(new Set(names), profile.secrets);
  const secrets = profile.secrets.filter(({ name }) => wanted.has(name));
  const areAllNamed = names.every((name) => secrets.some((secret) => secret.name === name));
  const { secrets: found } = await tryResolveSecrets({
    secrets,
    secretsFrom: areAllNamed ? [] : profile.secretsFrom,
    providers: profile.providers,
    kinds: context.kinds,
    context: providerContext(context, new RecordingEnvironment(context.env)),
    timeoutMs: profile.fetchTimeoutMs,
    breaker: "lets-through",
    signal,
  });
  for (const { name, value } of found) needles.add(name, value);
  return new Map(found.map(({ name, value }) => [name, value]));
}

/** Templates need others, which may be templates. */
function withParts(names: ReadonlySet<string>, secrets: readonly SecretSpec[]): ReadonlySet<string> {
  const all = new Set(names);
  for (const name of all) {
    const source = secrets.find((secret) => secret.name === name)?.source;
    const parsed = source?.type === "template" ? parseTemplate(source.template) : undefined;
    // A set that grows is walked to its new end.
    if (parsed?.ok) for (const needed of templateNames(parsed.parts)) all.add(needed);
  }
  return all;
}
