/**
 * Checks the providers that a profile uses, by its refs and by refs that stand in the settings of other
 * providers: the word is known, the settings fit the backend's own schema, and so does every ref. Only the
 * code of backends in use is loaded.
 */

import { nearest } from "../nearest.ts";
import type { ProviderKind } from "../secrets/provider.ts";
import { looksLikeRef, parseRef } from "../secrets/ref.ts";
import type { ProviderEntry, Ref } from "../secrets/spec.ts";
import { type Compilation, expanded } from "./compilation.ts";
import type { DocumentPath } from "./findings.ts";
import { checkSetting } from "./literals.ts";
import { mapLeaves } from "./map-leaves.ts";
import { LATER_PROVIDER_TYPES } from "./schema.ts";
import { findingsOfIssues, notYetSupported } from "./schema-findings.ts";
import { keysAt } from "./schema-keys.ts";
import { expandVariables } from "./variables.ts";

/** A ref, and where it stands. */
export interface ProviderUse {
  readonly ref: Ref;
  readonly path: DocumentPath;
  /** The mapping of the long form, whose further keys belong to the provider. */
  readonly entry?: DocumentPath;
  /** The keys of that mapping that are ours. */
  readonly keys?: readonly string[];
}

type RawEntries = ReadonlyMap<string, Readonly<Record<string, unknown>>>;
type Context = Pick<Compilation, "request" | "findings" | "providerWords" | "variablesUsed">;

/** Every entry of the file; `${…}` is expanded, and everything checked, in those that are in use. */
export async function checkProviders(
  uses: readonly ProviderUse[],
  entries: RawEntries,
  alsoCheck: Iterable<string>,
  context: Context,
): Promise<ReadonlyMap<string, ProviderEntry>> {
  const checked = new Map<string, ProviderEntry>();
  const waiting: ProviderUse[] = [...uses];
  const kinds = new Map<string, ProviderKind | undefined>();
  const open = async (name: string) => {
    if (kinds.has(name)) return kinds.get(name);
    const raw = entries.get(name);
    const kind = await kindOf(name, raw, context);
    kinds.set(name, kind);
    if (!raw || !kind) return kind;
    const settings = checkSettings(name, raw, kind, context);
    checked.set(name, { name, type: kind.name, settings });
    waiting.push(...refsIn(settings, ["providers", name], context));
    return kind;
  };

  for (const name of alsoCheck) await open(name);
  for (let use = waiting.shift(); use; use = waiting.shift()) {
    const { provider } = use.ref;
    const kind = await open(provider);
    if (kind) checkRef(use, kind, entries.has(provider), context);
    else if (!entries.has(provider)) reportUnknown(use, context);
  }
  for (const [name, { type, ...settings }] of entries) {
    if (!checked.has(name)) checked.set(name, { name, type: String(type), settings });
  }
  return checked;
}

/** The backend's code; undefined, and reported where an entry is to blame, when there is none. */
async function kindOf(
  name: string,
  raw: Readonly<Record<string, unknown>> | undefined,
  { request, findings }: Context,
): Promise<ProviderKind | undefined> {
  const type = raw ? String(raw.type) : name;
  const kind = request.kinds.names.includes(type) ? await request.kinds.load(type) : undefined;
  if (kind || !raw) return kind;
  const path = ["providers", name, "type"];
  if (LATER_PROVIDER_TYPES.includes(type)) {
    findings.errors.push(notYetSupported(`provider type \`${type}\``, { path }));
  } else {
    const near = nearest(type, request.kinds.names);
    findings.error(
      { path },
      `there is no provider type \`${type}\`${near ? `, did you mean \`${near}\`?` : ""}`,
      {
        ...(!near && { hint: `one of ${request.kinds.names.join(", ")}` }),
      },
    );
  }
  return undefined;
}

function checkSettings(
  name: string,
  raw: Readonly<Record<string, unknown>>,
  kind: ProviderKind,
  context: Context,
): Readonly<Record<string, unknown>> {
  const base = ["providers", name];
  const before = context.findings.errors.length;
  const { type: _type, ...written } = raw;
  const settings = mapTexts(written, base, (text, path) => {
    checkSetting(text, path, context);
    return expanded(
      expandVariables(text, context.request.env, (variable) => `\`env:${variable}\``),
      path,
      context,
    );
  }) as Record<string, unknown>;
  if (context.findings.errors.length > before) return settings;
  const result = kind.configSchema.safeParse(settings, { jitless: true });
  if (!result.success) {
    const { configSchema: schema } = kind;
    context.findings.errors.push(
      ...findingsOfIssues(result.error.issues, {
        value: settings,
        schema,
        base,
        topKeys: ["type", ...keysAt(schema, [])],
      }),
    );
  }
  return settings;
}

/** Refs in settings: whether a text is meant as one is the backend's business, so only clear cases count. */
function refsIn(
  settings: Readonly<Record<string, unknown>>,
  base: DocumentPath,
  context: Context,
): ProviderUse[] {
  const uses: ProviderUse[] = [];
  mapTexts(settings, base, (text, path) => {
    const parsed = looksLikeRef(text, context.providerWords) ? parseRef(text) : undefined;
    if (parsed?.ok) uses.push({ ref: parsed.ref, path });
    return text;
  });
  return uses;
}

function checkRef(use: ProviderUse, kind: ProviderKind, hasEntry: boolean, { findings }: Context): void {
  const { ref, path } = use;
  if (!hasEntry && !kind.worksWithoutSettings) {
    findings.error({ path }, `provider \`${ref.provider}\` needs settings`, {
      hint: `an entry \`${ref.provider}: { type: ${kind.name}, … }\` under \`providers:\``,
    });
    return;
  }
  const result = kind.refSchema.safeParse(ref.request, { jitless: true });
  if (result.success) return;
  findings.errors.push(
    ...findingsOfIssues(result.error.issues, {
      value: ref.request,
      schema: kind.refSchema,
      base: path,
      topKeys: [...(use.keys ?? []), ...keysAt(kind.refSchema, []).filter((key) => key !== "path")],
      placeOf: (inner) => (use.entry && inner[0] !== "path" ? [...use.entry, ...inner] : path),
    }),
  );
}

function reportUnknown(
  { ref: { provider }, path }: ProviderUse,
  { request, findings, providerWords }: Context,
): void {
  if (LATER_PROVIDER_TYPES.includes(provider)) {
    findings.errors.push(notYetSupported(`provider \`${provider}\``, { path }));
    return;
  }
  const near = nearest(provider, providerWords);
  const known = [...new Set([...providerWords, ...request.kinds.names])].join(", ");
  findings.error(
    { path },
    `there is no provider \`${provider}\`${near ? `, did you mean \`${near}\`?` : ""}`,
    {
      // What is no slip of a known word may be a value that happens to hold a colon.
      ...(near === undefined && {
        // 1Password's own references: `op run` takes them as they are.
        hint:
          provider === "op"
            ? '`{ command: ["op", "read", "op://…"] }`'
            : `one of ${known}, or an entry under \`providers:\``,
        hidesValue: true,
      }),
    },
  );
}

/** The same structure with every text replaced. */
function mapTexts(
  value: unknown,
  path: DocumentPath,
  replace: (text: string, path: DocumentPath) => string,
): unknown {
  return mapLeaves(value, path, (leaf, at) => (typeof leaf === "string" ? replace(leaf, at) : leaf));
}
