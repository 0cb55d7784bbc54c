/** From a profile and what was typed to the documents that a rotation replaces: which secrets, and in whose stores. */
import { McpRunError } from "../../errors.ts";
import { nearest } from "../../nearest.ts";
import type { Profile } from "../../profile/profile.ts";
import type { Issuer, Target, TargetPart } from "../../rotation/contract.ts";
import { BACKEND_ISSUER } from "../../rotation/issuers/backend.ts";
import { mintedAlong } from "../../rotation/issuers/issuer-for.ts";
import { aboutTarget } from "../../rotation/plan.ts";
import { targetStore } from "../../rotation/target.ts";
import { isRotatableStore, isSelfRotating } from "../../secrets/provider.ts";
import type { ProviderPool } from "../../secrets/provider-pool.ts";
import { parseRef } from "../../secrets/ref.ts";
import type { ProviderEntry, Ref, SecretSpec } from "../../secrets/spec.ts";

export interface Choice {
  /** `--secret`, each. */
  readonly secret?: readonly string[] | undefined;
  readonly all?: boolean | undefined;
}

/**
 * The secrets that are meant, without those that come along with them. Throws McpRunError `usage`.
 *
 * @param isAnySource the new value comes from elsewhere than where the profile says
 */
export function chosenSecrets(profile: Profile, choice: Choice, isAnySource: boolean): readonly SecretSpec[] {
  const { secret: names = [], all = false } = choice;
  const possible = profile.secrets.filter(
    ({ source, rotate }) => source.type === "ref" && (rotate !== undefined || (isAnySource && !all)),
  );
  if (names.length > 0) return names.map((name) => named(profile, name));
  if (all && possible.length > 0) return possible;
  const [only, ...others] = possible;
  if (only && others.length === 0) return [only];
  const state =
    only === undefined
      ? "the profile does not say of any secret where a new value comes from"
      : `it is not said which of ${possible.map(({ name }) => name).join(", ")}`;
  throw new McpRunError("usage", `Cannot rotate the secrets of ${profile.name}: ${state}`, {
    hint: only
      ? "`--secret NAME`, or `--all`"
      : "`--from-stdin --yes` with a value that you have made, or `rotate: { console: URL }` at the secret in the profile",
  });
}

function named(profile: Profile, name: string): SecretSpec {
  const refuse = (state: string, hint: string) =>
    new McpRunError("usage", `Cannot rotate ${name}: ${state}`, { hint });
  const secret = profile.secrets.find((one) => one.name === name);
  if (!secret) {
    const names = profile.secrets.map((one) => one.name);
    throw refuse(
      `the profile ${profile.name} has no such secret under secrets:`,
      `${nearest(name, names) ?? names.join(", ")}`,
    );
  }
  if (secret.source.type === "template") {
    throw refuse("it is made of others", "`--secret` with the name of the one that it is made of");
  }
  return secret;
}

/**
 * The documents that hold these secrets and what comes along with them; secrets in one document are one target.
 * Throws McpRunError, `usage` for what can't be rotated.
 */
export async function targetsOf(
  profile: Profile,
  chosen: readonly SecretSpec[],
  issuerOf: (secret: SecretSpec) => Issuer,
  pool: ProviderPool,
  signal: AbortSignal,
): Promise<readonly Target[]> {
  const documents = new Map<string, { readonly ref: Ref; readonly parts: TargetPart[] }>();
  const add = (secret: SecretSpec, issuer: Issuer, comesWith?: string) => {
    const ref = refOf(secret);
    const key = documentText(ref);
    const document = documents.get(key) ?? { ref, parts: [] };
    documents.set(key, document);
    const isThere = document.parts.some(({ field }) => JSON.stringify(field) === JSON.stringify(ref.field));
    // Two names for one value: it is replaced once.
    if (isThere) return;
    document.parts.push({
      name: secret.name,
      from: ref.text,
      issuer,
      ...(ref.field && { field: ref.field }),
      ...(comesWith !== undefined && { comesWith }),
    });
  };
  for (const secret of withCompanions(profile, chosen)) {
    const issuer = issuerOf(secret);
    add(secret, issuer);
    for (const name of mintedAlong(secret, profile.secrets)) add(named(profile, name), issuer, secret.name);
  }
  return Promise.all(
    [...documents].map(async ([ref, document]) => ({
      ref,
      parts: document.parts,
      ...(await storeOf(document.ref, isByBackend(ref, document.parts), pool, signal)),
    })),
  );
}

/** And those that change with them and have an issuer of their own. */
function withCompanions(profile: Profile, chosen: readonly SecretSpec[]): readonly SecretSpec[] {
  const all = new Set(chosen);
  for (const { rotate } of all) {
    for (const name of rotate?.with ?? []) {
      const companion = named(profile, name);
      if (companion.rotate) all.add(companion);
    }
  }
  return [...all];
}

function refOf({ name, source }: SecretSpec): Ref {
  if (source.type !== "ref") throw new McpRunError("usage", `Cannot rotate ${name}: it is made of others`);
  if (source.ref.request.version === undefined) return source.ref;
  throw new McpRunError(
    "usage",
    `Cannot rotate ${name}: the profile wants version ${source.ref.request.version} of it, whatever is new`,
    { hint: "the profile without `version`" },
  );
}

/** `vault:mcp/github`, as a ref is written. */
function documentText({ provider, request }: Ref): string {
  return `${provider}:${request.path.replaceAll("#", "\\#")}`;
}

/** Throws McpRunError where only a part of it would be. */
function isByBackend(ref: string, parts: readonly TargetPart[]): boolean {
  const [own, others] = [true, false].map((is) =>
    parts.filter(({ issuer }) => (issuer.kind === BACKEND_ISSUER.kind) === is).map(({ name }) => name),
  ) as [string[], string[]];
  if (own.length === 0 || others.length === 0) return own.length > 0;
  throw new McpRunError(
    "usage",
    `Cannot rotate ${ref}: its backend would replace all of it for ${own.join(" and ")}, and ${others.join(" and ")} is to come from elsewhere`,
    { hint: "`rotate: { backend: true }` at both, or at neither" },
  );
}

async function storeOf(
  ref: Ref,
  isOwn: boolean,
  pool: ProviderPool,
  signal: AbortSignal,
): Promise<Pick<Target, "store" | "own">> {
  const { kind, provider } = await pool.open(ref.provider);
  const text = documentText(ref);
  if (!isRotatableStore(provider)) {
    throw new McpRunError(
      "usage",
      `Cannot rotate ${text}: mcp-run can't replace what ${ref.provider} gives`,
      {
        hint: "a store that it can write to, such as vault, aws, azure, keychain or local",
      },
    );
  }
  const request = kind.refSchema.safeParse(ref.request);
  if (request.success) {
    const store = targetStore(provider, request.data);
    if (!isOwn) return { store };
    if (isSelfRotating(provider)) {
      const own = await provider.ownRotation(request.data, signal).catch((error: unknown) => {
        throw aboutTarget(text, error);
      });
      return { store, own };
    }
    throw new McpRunError("usage", `Cannot rotate ${text}: ${ref.provider} replaces nothing by itself`, {
      hint: "`rotate:` with `generate`, `hook` or `console` instead of `backend`",
    });
  }
  throw new McpRunError("usage", `Cannot rotate ${text}: ${request.error.issues[0]?.message}`);
}

/** The refs that these providers are opened with, and those that open these in turn. */
export function credentialsOf(
  entries: ReadonlyMap<string, ProviderEntry>,
  providers: Iterable<string>,
  known: readonly string[],
): ReadonlySet<string> {
  const refs = new Set<string>();
  const seen = new Set<string>();
  const look = (value: unknown) => {
    if (Array.isArray(value) || (typeof value === "object" && value !== null)) {
      for (const inner of Object.values(value)) look(inner);
    } else if (typeof value === "string") {
      const parsed = parseRef(value);
      if (!parsed.ok || !(entries.has(parsed.ref.provider) || known.includes(parsed.ref.provider))) return;
      refs.add(value);
      open(parsed.ref.provider);
    }
  };
  const open = (name: string) => {
    if (seen.has(name)) return;
    seen.add(name);
    look(entries.get(name)?.settings);
  };
  for (const name of providers) open(name);
  return refs;
}
