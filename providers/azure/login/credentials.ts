/**
 * The credentials of @azure/identity that a profile or the environment describes, made ready without asking
 * anybody. What a credential takes from the environment is read through the context, so that the server does not
 * inherit it.
 */
import type { ProviderContext } from "../../../src/secrets/provider.ts";
import { AzureError } from "../azure-error.ts";
import { pathOf, readSetting } from "../files.ts";
import type { CredentialSettings } from "../settings.ts";
import type { Network } from "../transport.ts";
import { entraSource } from "./entra-source.ts";
import type { TokenSource } from "./login.ts";

/** What every credential is made from. */
export interface LoginPlace {
  readonly context: ProviderContext;
  readonly authorityHost: string | undefined;
  readonly network: Network;
}

type WorkloadIdentity = Extract<CredentialSettings, { type: "workload-identity" }>;

/** Ms for an answer of a metadata service, which is on this machine or next to it. */
const LOCAL_TIMEOUT_MS = 5_000;
/** Where platforms say where a managed identity is asked for; read by the library, and not for the server. */
export const MANAGED_IDENTITY_VARIABLES = [
  "IDENTITY_ENDPOINT",
  "IDENTITY_HEADER",
  "IDENTITY_SERVER_THUMBPRINT",
  "IMDS_ENDPOINT",
  "MSI_ENDPOINT",
  "MSI_SECRET",
  "AZURE_POD_IDENTITY_AUTHORITY_HOST",
] as const;

export function clientSecret(
  place: LoginPlace,
  tenantId: string,
  clientId: string,
  secret: string,
): TokenSource {
  place.context.credentialIs(`client-secret ${tenantId} ${clientId}`);
  return entraSource({ ...place.network, what: "client-secret" }, async (sdk) => {
    const { ClientSecretCredential } = await import("./client-secret.ts");
    return new ClientSecretCredential(tenantId, clientId, secret, { ...sdk, ...authority(place) });
  });
}

/** A service principal that the environment describes; undefined where it describes none. */
export async function fromEnvironment(place: LoginPlace): Promise<TokenSource | undefined> {
  const { env } = place.context;
  const [tenantId, clientId] = [env.get("AZURE_TENANT_ID"), env.get("AZURE_CLIENT_ID")];
  const secret = env.get("AZURE_CLIENT_SECRET");
  const certificatePath = env.get("AZURE_CLIENT_CERTIFICATE_PATH");
  const certificatePassword = env.get("AZURE_CLIENT_CERTIFICATE_PASSWORD");
  if (!tenantId || !clientId) return undefined;
  if (secret) return clientSecret(place, tenantId, clientId, secret);
  if (!certificatePath) return undefined;
  const pem = await readSetting("AZURE_CLIENT_CERTIFICATE_PATH", certificatePath);
  place.context.credentialIs(`client-certificate ${tenantId} ${clientId} ${pem}`);
  return entraSource({ ...place.network, what: "client certificate" }, async (sdk) => {
    const { ClientCertificateCredential } = await import("./client-certificate.ts");
    return new ClientCertificateCredential(
      tenantId,
      clientId,
      { certificate: pem, ...(certificatePassword && { certificatePassword }) },
      { ...sdk, ...authority(place) },
    );
  });
}

/** A federated token in a file, as Kubernetes and CI systems put one there; undefined where there is none. */
export async function workloadIdentity(
  place: LoginPlace,
  details: WorkloadIdentity = { type: "workload-identity" },
): Promise<TokenSource | undefined> {
  const { context } = place;
  const tenantId = details.tenantId ?? context.env.get("AZURE_TENANT_ID");
  const clientId = details.clientId ?? context.env.get("AZURE_CLIENT_ID");
  const file = details.tokenFile ?? context.env.get("AZURE_FEDERATED_TOKEN_FILE");
  if (!tenantId || !clientId || !file) return undefined;
  const tokenFilePath = pathOf(file, context);
  context.credentialIs(`workload-identity ${clientId} ${await readSetting("tokenFile", tokenFilePath)}`);
  return entraSource({ ...place.network, what: "workload-identity" }, async (sdk) => {
    const { WorkloadIdentityCredential } = await import("./workload-identity.ts");
    return new WorkloadIdentityCredential({ tenantId, clientId, tokenFilePath, ...sdk, ...authority(place) });
  });
}

export function managedIdentity(place: LoginPlace, clientId: string | undefined): TokenSource {
  const found = MANAGED_IDENTITY_VARIABLES.map((name) => place.context.env.get(name) ?? "");
  place.context.credentialIs(`managed-identity ${clientId} ${found.join(" ")}`);
  const options = { ...place.network, what: "managed-identity", isLocal: true, timeoutMs: LOCAL_TIMEOUT_MS };
  return entraSource(options, async (sdk) => {
    const { ManagedIdentityCredential } = await import("./managed-identity.ts");
    return new ManagedIdentityCredential({ ...sdk, ...(clientId !== undefined && { clientId }) });
  });
}

/** Only Azure's own logins are in the list that the library would ask whether ours is one. */
function authority({ authorityHost }: LoginPlace) {
  if (authorityHost === undefined)
    throw new AzureError("invalid", "an emulator has no login to ask for a token", {
      hint: "credential: { type: token, token: env:NAME }",
    });
  const isAzures = /\.(microsoftonline\.(com|us)|chinacloudapi\.cn)$/.test(new URL(authorityHost).hostname);
  return { authorityHost, disableInstanceDiscovery: !isAzures };
}
