/**
 * Turns a CredentialSource into what the SDK's clients take: a function that gives credentials when they are needed.
 * Every failure on the way becomes an AwsError here; the SDK's own may hold what a program or a service has said.
 */
import { defaultProvider } from "@aws-sdk/credential-provider-node";
import { ProviderError } from "../../src/errors.ts";
import { AwsError } from "./aws-error.ts";
import { type CredentialSource, type Identity, type Keys, METADATA_MS } from "./credentials.ts";
import { awsFailure } from "./failure.ts";
import type { AwsSettings } from "./settings.ts";
import { collectBounded, type Transport } from "./transport.ts";

type Role = NonNullable<AwsSettings["assumeRole"]>;

/** @param region where STS is asked, unless the profile of the shared files names another one */
export function identityOf(
  source: CredentialSource,
  role: Role | undefined,
  transport: Transport,
  region: () => Promise<string>,
): Identity {
  const base = () => failingAsOurs(source, region, () => baseIdentity(source, transport, region));
  if (role === undefined) return base;
  return () => failingAsOurs(source, region, () => assumedRole(role, base, transport, region));
}

async function baseIdentity(
  source: CredentialSource,
  transport: Transport,
  region: () => Promise<string>,
): Promise<Keys> {
  if (source.type === "keys") return source.keys;
  const { filepath, configFilepath } = source;
  const init = {
    ...(filepath !== undefined && { filepath }),
    ...(configFilepath !== undefined && { configFilepath }),
    // Files are read anew: a supervisor lives longer than a key in them.
    ignoreCache: true,
    clientConfig: { requestHandler: transport, streamCollector: collectBounded, maxAttempts: 2 },
    parentClientConfig: { region },
    timeout: METADATA_MS,
    maxRetries: 0,
    ec2MetadataV1Disabled: true,
    // Without one it writes its warnings to the console.
    logger: SILENT,
  };
  if (source.type === "profile") {
    const { fromIni } = await import("@aws-sdk/credential-provider-ini");
    return fromIni({ ...init, profile: source.profile })();
  }
  return defaultProvider(init)();
}

async function assumedRole(
  { arn, externalId, sessionName = "mcp-run", durationSeconds, endpoint }: Role,
  credentials: Identity,
  transport: Transport,
  region: () => Promise<string>,
): Promise<Keys> {
  const { STSClient, AssumeRoleCommand } = await import("@aws-sdk/nested-clients/sts");
  const sts = new STSClient({
    region,
    credentials,
    requestHandler: transport,
    streamCollector: collectBounded,
    maxAttempts: 2,
    ...(endpoint !== undefined && { endpoint }),
  });
  const { Credentials: given } = await sts.send(
    new AssumeRoleCommand({
      RoleArn: arn,
      RoleSessionName: sessionName,
      ...(externalId !== undefined && { ExternalId: externalId }),
      ...(durationSeconds !== undefined && { DurationSeconds: durationSeconds }),
    }),
  );
  if (!given?.AccessKeyId || !given.SecretAccessKey) {
    throw new AwsError("unavailable", "STS gave no credentials for the role");
  }
  return {
    accessKeyId: given.AccessKeyId,
    secretAccessKey: given.SecretAccessKey,
    ...(given.SessionToken && { sessionToken: given.SessionToken }),
    ...(given.Expiration && { expiration: given.Expiration }),
  };
}

const SILENT = { debug: ignore, info: ignore, warn: ignore, error: ignore };

function ignore(): void {
  // What the SDK has to say while it looks for a credential is nothing for a log.
}

async function failingAsOurs<T>(
  source: CredentialSource,
  region: () => Promise<string>,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof ProviderError ? error : await credentialError(error, source, region);
  }
}

async function credentialError(
  error: unknown,
  source: CredentialSource,
  region: () => Promise<string>,
): Promise<ProviderError> {
  const profile = source.type === "profile" ? source.profile : undefined;
  const { name, message, $metadata } = error as { name?: unknown; message?: unknown; $metadata?: unknown };
  if (name !== "CredentialsProviderError" && name !== "TokenProviderError" && $metadata !== undefined) {
    return awsFailure(error, { region: await region(), profile });
  }
  // Read, never quoted: the sentence may hold what a program of the user's has printed.
  const said = typeof message === "string" ? message : "";
  if (/\bsso\b|SSO|login session/i.test(said)) {
    return new AwsError("denied", "there is no valid login to IAM Identity Center", {
      hint: `aws sso login --profile ${profile ?? "default"}`,
    });
  }
  if (/multi-factor/.test(said)) {
    return new AwsError(
      "denied",
      `profile ${profile ?? "default"} asks for a one-time code, which nobody can type here`,
      {
        hint: "aws sts get-session-token, or a profile without mfa_serial",
      },
    );
  }
  if (profile !== undefined) {
    return new AwsError("denied", `the shared files of AWS give no credentials for profile ${profile}`, {
      hint: `aws configure list --profile ${profile}`,
    });
  }
  return new AwsError("denied", "no AWS credentials were found", {
    hint: "profile: NAME in the provider's settings, or aws sts get-caller-identity to see what this machine has",
  });
}
