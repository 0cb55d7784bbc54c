/**
 * Which credential is used, decided once and in this order: keys of the settings; the settings' profile; keys of the
 * environment; AWS_PROFILE; then the SDK's default chain (shared files, web identity, container, instance). A profile
 * that was named never gives way to another credential. The SDK's providers are loaded when they are asked.
 */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { ProviderContext } from "../../src/secrets/provider.ts";
import type { AwsSettings } from "./settings.ts";

/** Ms for one answer of the metadata service of an instance; there is one attempt, and no fallback to version 1. */
export const METADATA_MS = 1_000;

/** What else holds a credential, or a pointer to one: read so that no program inherits it. */
const CREDENTIAL_NAMES = [
  "AWS_SECURITY_TOKEN",
  "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
  "AWS_CONTAINER_CREDENTIALS_FULL_URI",
  "AWS_CONTAINER_AUTHORIZATION_TOKEN",
  "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
  "AWS_ROLE_ARN",
  "AWS_ROLE_SESSION_NAME",
] as const;

/** Ms for another provider to give the keys of the settings: a person may have to unlock a keychain. */
const KEYS_MS = 60_000;

export interface Keys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  readonly expiration?: Date;
}

/** What the clients of the SDK are given: asked before the first request, and before the keys expire. */
export type Identity = () => Promise<Keys>;

export type CredentialSource =
  | { readonly type: "keys"; readonly keys: Keys; readonly from: "settings" | "environment" }
  | ({ readonly type: "profile"; readonly profile: string } & SharedFiles)
  | ({ readonly type: "default" } & SharedFiles);

export interface SharedFiles {
  /** ~/.aws/credentials, unless AWS_SHARED_CREDENTIALS_FILE says otherwise. */
  readonly filepath: string | undefined;
  /** ~/.aws/config, unless AWS_CONFIG_FILE says otherwise. */
  readonly configFilepath: string | undefined;
}

/** Looks at settings, environment and files; asks nobody but the providers of the settings' own refs. */
export async function credentialSource(
  settings: AwsSettings,
  context: ProviderContext,
): Promise<CredentialSource> {
  const { env } = context;
  const accessKeyId = env.get("AWS_ACCESS_KEY_ID");
  const secretAccessKey = env.get("AWS_SECRET_ACCESS_KEY");
  const sessionToken = env.get("AWS_SESSION_TOKEN");
  const webIdentityFile = env.get("AWS_WEB_IDENTITY_TOKEN_FILE");
  const namedProfile = env.get("AWS_PROFILE");
  const files = sharedFiles(context);
  for (const name of CREDENTIAL_NAMES) env.get(name);

  if (settings.assumeRole) context.credentialIs(`role ${settings.assumeRole.arn}`);
  if (settings.credentials) {
    return { type: "keys", from: "settings", keys: await resolved(settings.credentials, context) };
  }
  if (settings.profile === undefined && accessKeyId && secretAccessKey) {
    const keys = { accessKeyId, secretAccessKey, ...(sessionToken && { sessionToken }) };
    return { type: "keys", from: "environment", keys };
  }
  const profile = settings.profile ?? (namedProfile || undefined);
  context.credentialIs(`profile ${profile ?? "default"}`);
  for (const file of [
    files.filepath,
    files.configFilepath,
    webIdentityFile,
    ...(await loginFiles(context)),
  ]) {
    if (file) context.credentialIs(`${file} of ${await timeOfChange(file)}`);
  }
  return profile === undefined ? { type: "default", ...files } : { type: "profile", profile, ...files };
}

async function resolved(
  refs: NonNullable<AwsSettings["credentials"]>,
  { resolveRef }: ProviderContext,
): Promise<Keys> {
  const signal = AbortSignal.timeout(KEYS_MS);
  const read = async (ref: string) => (await resolveRef(ref, signal)).reveal();
  const [accessKeyId, secretAccessKey, sessionToken] = await Promise.all([
    read(refs.accessKeyId),
    read(refs.secretAccessKey),
    refs.sessionToken === undefined ? undefined : read(refs.sessionToken),
  ]);
  return { accessKeyId, secretAccessKey, ...(sessionToken && { sessionToken }) };
}

function sharedFiles(context: ProviderContext): SharedFiles {
  const folder = awsFolder(context);
  return {
    filepath: context.env.get("AWS_SHARED_CREDENTIALS_FILE") || (folder && join(folder, "credentials")),
    configFilepath: context.env.get("AWS_CONFIG_FILE") || (folder && join(folder, "config")),
  };
}

function awsFolder({ env, platform }: ProviderContext): string | undefined {
  const { HOME, USERPROFILE } = env.all();
  const home = HOME || (platform === "win32" ? USERPROFILE : undefined);
  return home ? join(home, ".aws") : undefined;
}

/** Where `aws sso login` keeps what it has got: after a new login the credential is another one. */
async function loginFiles(context: ProviderContext): Promise<string[]> {
  const folder = awsFolder(context);
  if (folder === undefined) return [];
  const cache = join(folder, "sso", "cache");
  const entries = await readdir(cache).catch(() => []);
  return entries.filter((entry) => entry.endsWith(".json")).map((entry) => join(cache, entry));
}

async function timeOfChange(file: string): Promise<number> {
  return (await stat(file).catch(() => undefined))?.mtimeMs ?? 0;
}
