/**
 * `credential: default`: the first that is there of a service principal in the environment, a workload identity,
 * a managed identity, and the Azure CLI. One that is set up and refused is not passed over, except for the last
 * two, which can only be found out by asking. Slower than naming the credential: see the guide.
 */
import { ProviderError } from "../../../src/errors.ts";
import type { ProviderContext } from "../../../src/secrets/provider.ts";
import { AzureError } from "../azure-error.ts";
import { azCli, azLoginMark } from "./az-cli.ts";
import {
  fromEnvironment,
  type LoginPlace,
  MANAGED_IDENTITY_VARIABLES,
  managedIdentity,
  workloadIdentity,
} from "./credentials.ts";
import { doesAnswer } from "./does-answer.ts";
import type { TokenSource } from "./login.ts";

/** The metadata service of a virtual machine; https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service */
const METADATA = "http://169.254.169.254/metadata/identity/oauth2/token";

export async function defaultChain(place: LoginPlace): Promise<TokenSource> {
  const { context } = place;
  const setUp = (await fromEnvironment(place)) ?? (await workloadIdentity(place));
  if (setUp) return setUp;
  context.credentialIs(await azLoginMark(context));
  return new Guess(place);
}

class Guess implements TokenSource {
  readonly #identity: TokenSource;
  readonly #cli: TokenSource;
  readonly #context: ProviderContext;
  #found: TokenSource | undefined;

  constructor(place: LoginPlace) {
    this.#context = place.context;
    this.#identity = managedIdentity(place, place.context.env.get("AZURE_CLIENT_ID"));
    this.#cli = azCli(place.context, undefined);
  }

  async token(request: Parameters<TokenSource["token"]>[0]) {
    if (this.#found) return this.#found.token(request);
    let ofIdentity = "there is none on this machine";
    if (await hasManagedIdentity(this.#context, request.signal)) {
      try {
        const token = await this.#identity.token(request);
        this.#found = this.#identity;
        return token;
      } catch (error) {
        if (!(error instanceof ProviderError)) throw error;
        ofIdentity = error.reason;
      }
    }
    try {
      const token = await this.#cli.token(request);
      this.#found = this.#cli;
      return token;
    } catch (error) {
      if (!(error instanceof ProviderError)) throw error;
      throw new AzureError(
        error.failure,
        `no credential was found: environment and workload-identity are not set up, managed-identity: ${ofIdentity}, cli: ${error.reason}`,
        { hint: `${error.hint ?? "az login"}, or naming the credential: in the provider's settings` },
      );
    }
  }

  close(): void {
    this.#identity.close();
    this.#cli.close();
  }
}

/** The platform says so in the environment, or something answers where a virtual machine has its metadata. */
async function hasManagedIdentity(context: ProviderContext, signal: AbortSignal): Promise<boolean> {
  signal.throwIfAborted();
  if (MANAGED_IDENTITY_VARIABLES.some((name) => context.env.get(name))) return true;
  return doesAnswer(METADATA, context.clock, signal);
}
