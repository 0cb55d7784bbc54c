/** The whole reader in one call, as the tests of its parts use it. */
import { parseHeader } from "../../../../providers/local/age/header.ts";
import { type Identity, parseIdentity } from "../../../../providers/local/age/keys.ts";
import { openPayload } from "../../../../providers/local/age/payload.ts";
import { unwrapWithIdentities, unwrapWithPassphrase } from "../../../../providers/local/age/unwrap.ts";

export type Outcome =
  | { readonly type: "opened"; readonly plaintext: Buffer }
  | { readonly type: "no match" }
  | { readonly type: "refused"; readonly reason: string };

/** Reads an age file; the stages tell header failures from the others. */
export async function readAge(
  file: Uint8Array,
  keys: { identities?: readonly string[]; passphrase?: string },
): Promise<Outcome> {
  try {
    const bytes = Buffer.from(file);
    const header = parseHeader(bytes);
    const fileKey =
      keys.passphrase === undefined
        ? unwrapWithIdentities(header, (keys.identities ?? []).map(identity))
        : await unwrapWithPassphrase(header, keys.passphrase);
    if (!fileKey) return { type: "no match" };
    return { type: "opened", plaintext: openPayload(bytes, header, fileKey) };
  } catch (error) {
    if (error instanceof Error && error.name === "ProviderError") {
      return { type: "refused", reason: error.message };
    }
    throw error;
  }
}

function identity(text: string): Identity {
  const parsed = parseIdentity(text);
  if (!parsed) throw new Error("the test's identity is malformed");
  return parsed;
}
