/** Which credential a profile names. */
import type { ProviderContext } from "../../../src/secrets/provider.ts";
import { AzureError } from "../azure-error.ts";
import type { AzureSettings } from "../settings.ts";
import type { Network } from "../transport.ts";
import { azCli, azLoginMark } from "./az-cli.ts";
import {
  clientSecret,
  fromEnvironment,
  type LoginPlace,
  managedIdentity,
  workloadIdentity,
} from "./credentials.ts";
import { defaultChain } from "./default-chain.ts";
import type { TokenSource } from "./login.ts";

/** Throws ProviderError for a credential that lacks something, McpRunError for a ref that can't be read. */
export async function tokenSource(
  settings: AzureSettings,
  network: Network,
  context: ProviderContext,
): Promise<TokenSource> {
  const place: LoginPlace = { context, authorityHost: settings.authorityHost, network };
  const { credential } = settings;
  switch (credential.type) {
    case "cli":
      context.credentialIs(await azLoginMark(context));
      return azCli(context, credential.tenantId);
    case "token":
      return staticToken(credential.token, context);
    case "client-secret": {
      const secret = await context.resolveRef(credential.clientSecret, new AbortController().signal);
      return clientSecret(place, credential.tenantId, credential.clientId, secret.reveal());
    }
    case "environment":
      return required(
        await fromEnvironment(place),
        "environment",
        "AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET",
      );
    case "workload-identity":
      return required(
        await workloadIdentity(place, credential),
        "workload-identity",
        "AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_FEDERATED_TOKEN_FILE",
      );
    case "managed-identity":
      return managedIdentity(place, credential.clientId);
    case "default":
      return defaultChain(place);
  }
}

function required(source: TokenSource | undefined, what: string, variables: string): TokenSource {
  if (source) return source;
  throw new AzureError("denied", `the credential ${what} lacks something`, {
    hint: `setting ${variables}`,
  });
}

async function staticToken(ref: string, context: ProviderContext): Promise<TokenSource> {
  const secret = await context.resolveRef(ref, new AbortController().signal);
  return {
    token: async () => ({ text: secret.reveal(), expiresAt: Number.POSITIVE_INFINITY }),
    close() {
      // Nothing is held open.
    },
  };
}
