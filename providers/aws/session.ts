/**
 * One client of Secrets Manager, made when it is first needed. Every call ends: with an answer, with an error of
 * ours, or with the signal. The SDK's own retries are off, since they know neither our clock nor our budget.
 */
import { SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { type Clock, untilAborted } from "../../src/clock.ts";
import { AwsError } from "./aws-error.ts";
import type { Identity } from "./credentials.ts";
import { awsFailure } from "./failure.ts";
import { withRetries } from "./retry.ts";
import { ATTEMPT_MS, collectBounded, type Transport } from "./transport.ts";

export interface SessionSettings {
  /** Undefined: what the profile of the shared files says. */
  readonly region: string | undefined;
  readonly profile: string | undefined;
  readonly endpoint: string | undefined;
  readonly transport: Transport & { close(): void };
  readonly clock: Clock;
  /** Gives the credentials of that region's requests. */
  readonly identity: (region: () => Promise<string>) => Identity;
}

/** Sends one command; `(client, options) => client.send(new GetSecretValueCommand(…), options)`. */
export type Call<T> = (client: SecretsManagerClient, options: { abortSignal: AbortSignal }) => Promise<T>;

export class Session {
  readonly #settings: SessionSettings;
  readonly #client: SecretsManagerClient;

  constructor(settings: SessionSettings) {
    const { region, profile, endpoint, transport } = settings;
    this.#settings = settings;
    this.#client = new SecretsManagerClient({
      ...(region !== undefined && { region }),
      ...(profile !== undefined && { profile }),
      ...(endpoint !== undefined && { endpoint }),
      credentials: settings.identity(() => this.region()),
      requestHandler: transport,
      streamCollector: collectBounded,
      retryMode: "standard",
      maxAttempts: 1,
      // "auto" would ask the metadata service.
      defaultsMode: "standard",
    });
  }

  /** Throws ProviderError where none is set. */
  async region(): Promise<string> {
    try {
      return await this.#client.config.region();
    } catch {
      throw new AwsError("invalid", "no region is set", {
        hint: "region: eu-west-1 in the provider's settings, or AWS_REGION",
      });
    }
  }

  /** A call that changes nothing the second time: sent again after throttling, 5xx and a broken connection. */
  repeatable<T>(call: Call<T>, signal: AbortSignal): Promise<T> {
    return this.#send(call, signal, () => true);
  }

  /** A call that changes something each time: sent again only where it was turned away at the door. */
  once<T>(call: Call<T>, signal: AbortSignal): Promise<T> {
    return this.#send(call, signal, ({ awsCode = "" }) => /Throttling|TooManyRequests/.test(awsCode));
  }

  close(): void {
    this.#client.destroy();
    this.#settings.transport.close();
  }

  async #send<T>(call: Call<T>, signal: AbortSignal, mayRepeat: (error: AwsError) => boolean): Promise<T> {
    signal.throwIfAborted();
    const { clock, profile, endpoint } = this.#settings;
    const region = await untilAborted(signal, this.region());
    return withRetries(clock, signal, mayRepeat, async () => {
      const attempt = new AbortController();
      const timer = clock.after(ATTEMPT_MS, () => attempt.abort());
      const abortSignal = AbortSignal.any([signal, attempt.signal]);
      try {
        return await untilAborted(abortSignal, call(this.#client, { abortSignal }));
      } catch (error) {
        signal.throwIfAborted();
        throw awsFailure(error, { region, profile, endpoint });
      } finally {
        timer.cancel();
      }
    });
  }
}
