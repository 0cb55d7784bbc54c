/**
 * What a profile says of a vault and of a secret in it, and the cloud that follows from the vault's host. A host
 * that is none of Azure's own is accepted only where it is this machine (an emulator), or where the profile also
 * names the login of that private cloud: our token must not go to a host by a slip of the pen.
 */
import * as z from "zod/mini";

/** Azure's own clouds: what a vault's host ends with, and who gives out tokens there. */
const AUTHORITY_OF_SUFFIX: Readonly<Record<string, string>> = {
  ".vault.azure.net": "https://login.microsoftonline.com",
  ".vault.azure.cn": "https://login.chinacloudapi.cn",
  ".vault.usgovcloudapi.net": "https://login.microsoftonline.us",
};

/** https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates: names of objects. */
const SECRET_NAME = /^[0-9A-Za-z-]{1,127}$/;
/** Behind the name of a secret: the secret that holds its candidate. */
export const CANDIDATE_SUFFIX = "-mcp-run-pending";
const REF = /^[A-Za-z][\w-]*:.+$/;
const ABSOLUTE_PATH = /^(~[\\/]|\/|[A-Za-z]:[\\/])/;

const refSetting = z
  .string()
  .check(z.regex(REF, "write a ref, such as keychain:azure-key-vault, never the value itself"));
const pathSetting = z
  .string()
  .check(z.regex(ABSOLUTE_PATH, "write an absolute path, or one that begins with ~/"));
/** As the SDK takes them: a GUID, or a domain for a tenant. */
const id = z
  .string()
  .check(z.regex(/^[0-9A-Za-z.-]{1,256}$/, "an id is made of letters, digits, dots and dashes"));

const CREDENTIAL_WORDS = [
  "cli",
  "managed-identity",
  "workload-identity",
  "environment",
  "client-secret",
  "default",
] as const;

const credentialDetails = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("cli"), tenantId: z.optional(id) }),
  z.strictObject({ type: z.literal("managed-identity"), clientId: z.optional(id) }),
  z.strictObject({
    type: z.literal("workload-identity"),
    tenantId: z.optional(id),
    clientId: z.optional(id),
    tokenFile: z.optional(pathSetting),
  }),
  z.strictObject({ type: z.literal("environment") }),
  z.strictObject({
    type: z.literal("client-secret"),
    tenantId: id,
    clientId: id,
    clientSecret: refSetting,
  }),
  z.strictObject({ type: z.literal("token"), token: refSetting }),
  z.strictObject({ type: z.literal("default") }),
]);

export type CredentialSettings = z.output<typeof credentialDetails>;

const configShape = z
  .strictObject({
    vault: z.string().check(
      z.refine(
        (text) => originOf(text) !== undefined,
        "write the vault's address, such as https://NAME.vault.azure.net, with nothing behind the host",
      ),
      z.refine(
        (text) => !originOf(text)?.hostname.includes(".managedhsm."),
        "a managed HSM holds keys, not secrets; write the address of a vault",
      ),
    ),
    credential: z._default(z.union([z.enum(CREDENTIAL_WORDS), credentialDetails]), "default"),
    /** The login of a private cloud; those of Azure's own clouds follow from the vault's host. */
    authorityHost: z.optional(
      z
        .string()
        .check(
          z.refine(
            (text) => originOf(text) !== undefined,
            "write the address of the login, such as https://login.example.com",
          ),
        ),
    ),
    /** PEM: who has signed the certificates of the vault and of the login, instead of the usual authorities. */
    caCert: z.optional(pathSetting),
    /** Reads a secret also before its `nbf` and after its `exp`. */
    ignoreDates: z._default(z.boolean(), false),
    /** False: believe an emulator that asks for a token of another host. */
    verifyChallenge: z._default(z.boolean(), true),
  })
  .check(
    z.refine(
      ({ credential }) => credential !== "client-secret",
      "credential: client-secret needs its details: { type: client-secret, tenantId, clientId, clientSecret: keychain:… }",
    ),
    z.refine(
      ({ vault, authorityHost }) => isLoopback(vault) || (authorityHost ?? authorityOf(vault)) !== undefined,
      "vault: the host is none of Azure's own; for a private cloud, add its authorityHost:",
    ),
    z.refine(
      ({ vault, verifyChallenge }) => verifyChallenge || isLoopback(vault),
      "verifyChallenge: can be switched off only for an emulator on this machine",
    ),
  );

export interface AzureSettings {
  /** The vault's origin, without a slash at its end. */
  readonly vault: string;
  readonly credential: CredentialSettings;
  /** Undefined for an emulator, which needs no login. */
  readonly authorityHost: string | undefined;
  readonly caCert: string | undefined;
  readonly ignoreDates: boolean;
  readonly verifyChallenge: boolean;
}

export const configSchema = configShape;
export type AzureConfig = z.output<typeof configShape>;

/** The settings with everything that follows from them. */
export function settingsOf(config: AzureConfig): AzureSettings {
  const vault = originOf(config.vault)?.origin;
  if (vault === undefined) throw new Error("an address of a vault went past its schema");
  return {
    vault,
    credential: detailsOf(config.credential),
    authorityHost: originOf(config.authorityHost ?? "")?.origin ?? authorityOf(vault),
    caCert: config.caCert,
    ignoreDates: config.ignoreDates,
    verifyChallenge: config.verifyChallenge,
  };
}

function detailsOf(credential: AzureConfig["credential"]): CredentialSettings {
  if (typeof credential === "object") return credential;
  if (credential === "client-secret") throw new Error("client-secret without details went past its schema");
  return { type: credential };
}

export const refSchema = z.strictObject({
  path: z.string().check(
    z.regex(SECRET_NAME, "a secret's name in Key Vault has 1 to 127 letters, digits and dashes"),
    z.refine(
      (name) => !name.toLowerCase().endsWith(CANDIDATE_SUFFIX),
      `a name that ends with ${CANDIDATE_SUFFIX} belongs to a rotation, and is read by nobody else`,
    ),
  ),
  version: z.optional(
    z
      .string()
      .check(
        z.regex(/^[0-9A-Fa-f]{32}$/, "a version in Key Vault has 32 hexadecimal digits, without a name"),
      ),
  ),
});

export type AzureRef = z.output<typeof refSchema>;

/** True for an address on this machine. */
export function isLoopback(address: string): boolean {
  const host = originOf(address)?.hostname ?? "";
  return /^(127(\.\d{1,3}){3}|\[::1\]|(.+\.)?localhost)$/.test(host);
}

/** What `az` calls the vault; an emulator has no other name than its host. */
export function vaultName(address: string): string {
  const { host, hostname } = new URL(address);
  return authorityOf(address) === undefined ? host : (hostname.split(".")[0] ?? host);
}

function authorityOf(address: string): string | undefined {
  const url = originOf(address);
  if (url?.port !== "") return undefined;
  return Object.entries(AUTHORITY_OF_SUFFIX).find(([suffix]) => url.hostname.endsWith(suffix))?.[1];
}

/** An https address with nothing but a host and perhaps a port; undefined for anything else. */
function originOf(text: string): URL | undefined {
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  return url.protocol === "https:" && url.href === `${url.origin}/` ? url : undefined;
}
