/** The operations of Key Vault that are used here. Each throws ProviderError, or the signal's reason. */
import type { SetSecretOptions } from "@azure/keyvault-secrets";
import type { Secret } from "../../src/secrets/secret.ts";
import { AzureError } from "./azure-error.ts";
import type { VaultConnection } from "./connection.ts";
import { type StoredVersion, storedVersion, type ValuedVersion, valuedVersion } from "./stored-version.ts";

/** A page has at most 25 entries; a list that goes on beyond this has no end. */
const MOST_ENTRIES = 50_000;
/** https://learn.microsoft.com/azure/key-vault/secrets/about-secrets: «a maximum size of 25k bytes». */
export const MAX_VALUE_BYTES = 25 * 1024;

/** What a new version has besides its value. */
export type Attributes = Pick<SetSecretOptions, "contentType" | "expiresOn" | "tags">;

export interface ListedSecret {
  readonly name: string;
  readonly updatedAt: Date | undefined;
}

/** When a secret was deleted, and until when it can be recovered. */
export interface Deletion {
  readonly deletedAt: Date | undefined;
  readonly until: Date | undefined;
}

export class VaultClient {
  readonly #connection: VaultConnection;

  constructor(connection: VaultConnection) {
    this.#connection = connection;
  }

  /** As `az` knows it. */
  get vault(): string {
    return this.#connection.vault;
  }

  /** The id of a secret, without a version. Names of objects are the same in any case: Key Vault, «Objects, identifiers». */
  placeOf(name: string): string {
    return `${this.#connection.origin}/secrets/${name.toLowerCase()}`;
  }

  /** @param version undefined for the latest */
  get(name: string, version: string | undefined, signal: AbortSignal): Promise<ValuedVersion> {
    const { client } = this.#connection;
    return this.#connection.read(signal, async (abortSignal) => {
      const options = { abortSignal, ...(version !== undefined && { version }) };
      const { value, properties } = await client.getSecret(name, options);
      return valuedVersion(value, properties);
    });
  }

  /** In no order to be relied on: times have whole seconds. Empty where there is no such secret. */
  async versions(name: string, signal: AbortSignal): Promise<readonly StoredVersion[]> {
    const { client } = this.#connection;
    const pages = (abortSignal: AbortSignal) => client.listPropertiesOfSecretVersions(name, { abortSignal });
    try {
      return (await this.#all(pages, signal)).map(storedVersion);
    } catch (error) {
      if (error instanceof AzureError && error.failure === "missing") return [];
      throw error;
    }
  }

  /** Every secret of the vault that is not deleted. */
  async secrets(signal: AbortSignal): Promise<readonly ListedSecret[]> {
    const { client } = this.#connection;
    const pages = (abortSignal: AbortSignal) => client.listPropertiesOfSecrets({ abortSignal });
    return (await this.#all(pages, signal)).map(({ name, updatedOn }) => ({ name, updatedAt: updatedOn }));
  }

  /** A new version, which is the latest from then on. */
  async set(
    name: string,
    value: Secret,
    attributes: Attributes,
    signal: AbortSignal,
  ): Promise<StoredVersion> {
    const bytes = Buffer.byteLength(value.reveal());
    if (bytes > MAX_VALUE_BYTES) {
      throw new AzureError("invalid", `the value has ${bytes} bytes, and Key Vault takes at most 25 KB`, {
        hint: "another store, or only the part of it that is secret",
      });
    }
    const { client } = this.#connection;
    return this.#connection.write(signal, async (abortSignal) => {
      const options = { ...attributes, abortSignal };
      return storedVersion((await client.setSecret(name, value.reveal(), options)).properties);
    });
  }

  /** Nobody gets that version's value any more; everything else of it stays. */
  async disable({ name, version }: StoredVersion, signal: AbortSignal): Promise<void> {
    const { client } = this.#connection;
    await this.#connection.write(signal, (abortSignal) =>
      client.updateSecretProperties(name, version, { enabled: false, abortSignal }),
    );
  }

  /** Deletes all versions, without waiting until the service has done so everywhere. */
  async remove(name: string, signal: AbortSignal): Promise<void> {
    const { client } = this.#connection;
    await this.#connection.write(signal, (abortSignal) => client.beginDeleteSecret(name, { abortSignal }));
  }

  /** Throws `missing` where the secret was not deleted. */
  deletion(name: string, signal: AbortSignal): Promise<Deletion> {
    const { client } = this.#connection;
    return this.#connection.read(signal, async (abortSignal) => {
      const found = await client.getDeletedSecret(name, { abortSignal });
      return { deletedAt: found.deletedOn, until: found.scheduledPurgeDate };
    });
  }

  #all<T>(pages: (signal: AbortSignal) => AsyncIterable<T>, signal: AbortSignal): Promise<readonly T[]> {
    return this.#connection.read(signal, async (abortSignal) => {
      const found: T[] = [];
      for await (const entry of pages(abortSignal)) {
        // Only the first page's request has the signal: the SDK asks for the others without one.
        signal.throwIfAborted();
        if (found.push(entry) > MOST_ENTRIES) throw new TypeError("a list without an end");
      }
      return found;
    });
  }
}
