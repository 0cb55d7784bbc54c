/** Puts the parts together: settings and environment in, a store out. Nothing is asked of AWS yet. */
import { ProviderError } from "../../src/errors.ts";
import type { ProviderContext, RotatableStore } from "../../src/secrets/provider.ts";
import { credentialSource } from "./credentials.ts";
import { identityOf } from "./identity.ts";
import type { AwsRef } from "./ref.ts";
import { Session } from "./session.ts";
import { type AwsSettings, isSafeEndpoint, looksLikeRegion } from "./settings.ts";
import { SecretsManagerStore } from "./store.ts";
import { openTransport } from "./transport.ts";

export async function openSecretsManager(
  settings: AwsSettings,
  context: ProviderContext,
): Promise<RotatableStore<AwsRef>> {
  const source = await credentialSource(settings, context);
  const region = regionOf(settings, context);
  const endpoint = endpointOf(settings, context);
  context.credentialIs(`region ${region ?? "of the profile"}`);
  const transport = await openTransport(settings.caCert, context);
  const session = new Session({
    region,
    endpoint,
    profile: source.type === "profile" ? source.profile : undefined,
    transport,
    clock: context.clock,
    identity: (regionOfRequests) => identityOf(source, settings.assumeRole, transport, regionOfRequests),
  });
  return new SecretsManagerStore(session, context);
}

/** Undefined: what the profile of the shared files says. */
function regionOf({ region }: AwsSettings, { env }: ProviderContext): string | undefined {
  if (region !== undefined) return region;
  const [ofSdk, ofCli] = [env.place("AWS_REGION"), env.place("AWS_DEFAULT_REGION")];
  const given = ofSdk || ofCli || undefined;
  if (given === undefined || looksLikeRegion(given)) return given;
  throw new ProviderError("invalid", "AWS_REGION holds no region", { hint: "a region such as eu-west-1" });
}

function endpointOf({ endpoint }: AwsSettings, { env }: ProviderContext): string | undefined {
  if (endpoint !== undefined) return endpoint;
  const ofService = env.place("AWS_ENDPOINT_URL_SECRETS_MANAGER");
  const ofAll = env.place("AWS_ENDPOINT_URL");
  if (env.place("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") === "true") return undefined;
  const given = ofService || ofAll || undefined;
  if (given === undefined || isSafeEndpoint(given)) return given;
  throw new ProviderError("invalid", "AWS_ENDPOINT_URL is neither https:// nor on this machine", {
    hint: "an https:// address, or endpoint: in the provider's settings",
  });
}
