/**
 * `aws-secrets-manager`: secrets by name or ARN. One ref is one GetSecretValue; more are asked for in batches
 * of twenty. The SDK is loaded when the provider is opened, and what finds credentials when it is needed.
 */
import type { ProviderKind } from "../src/secrets/provider.ts";
import { type AwsRef, refSchema } from "./aws/ref.ts";
import { type AwsSettings, settingsSchema } from "./aws/settings.ts";

export const awsKind: ProviderKind<AwsSettings, AwsRef> = {
  name: "aws-secrets-manager",
  worksWithoutSettings: false,
  isRemote: true,
  configSchema: settingsSchema,
  refSchema,
  async open(settings, context) {
    const { openSecretsManager } = await import("./aws/open.ts");
    return openSecretsManager(settings, context);
  },
};
