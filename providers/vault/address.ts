/** Where the server is: from the settings, else from the variables of Vault's and OpenBao's own programs. */

import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { ProviderError, systemErrorCode } from "../../src/errors.ts";
import { type FetchedSecret, type ProviderContext, placeAt } from "../../src/secrets/provider.ts";
import { addressProblem } from "./address-problem.ts";
import { apiPath, mountProblem } from "./path.ts";
import { absolutePath } from "./places.ts";
import type { VaultSettings } from "./settings.ts";

export interface Address {
  /** Without a slash at its end. */
  readonly url: string;
  readonly namespace: string | undefined;
  /** PEM of the only authority to be trusted; undefined for those that Node trusts. */
  readonly ca: string | undefined;
}

/** Throws ProviderError. */
export async function readAddress(settings: VaultSettings, context: ProviderContext): Promise<Address> {
  const url = settings.address ?? variable(context, "ADDR");
  if (url === undefined) {
    throw new ProviderError("invalid", "no address of a server is set", {
      hint: `address: https://… under providers: ${context.name}:, or VAULT_ADDR`,
    });
  }
  // The settings' own address went through the schema; this is for the variable.
  const problem = addressProblem(url);
  if (problem) throw new ProviderError("invalid", `VAULT_ADDR can't be used: ${problem}`);
  const namespace = settings.namespace ?? variable(context, "NAMESPACE")?.replace(/^\/+|\/+$/g, "");
  if (namespace !== undefined && mountProblem(namespace)) {
    throw new ProviderError("invalid", "VAULT_NAMESPACE is not the path of a namespace");
  }
  warnOfSkippedVerification(context);
  const file = settings.caCert ?? variable(context, "CACERT");
  return {
    url: url.replace(/\/+$/, ""),
    namespace,
    ca: file === undefined ? undefined : await readCertificate(absolutePath(file, context)),
  };
}

/**
 * Where what is read at this path lies, the same for everybody who asks for it: as `apiPath` has it, below the address
 * in its one form, and below the namespace, which the API takes as the beginning of a path too.
 */
export function placeIn({ url, namespace }: Address, path: string): Pick<FetchedSecret, "place"> {
  const address = new URL(url).href.replace(/\/+$/, "");
  return placeAt(`${address}/v1/${namespace === undefined ? "" : `${apiPath(namespace)}/`}${path}`);
}

/** OpenBao's name of a variable wins, as it does for `bao`; an empty one is as good as none. */
export function variable({ env }: ProviderContext, name: string): string | undefined {
  const [openBao, vault] = [env.get(`BAO_${name}`), env.get(`VAULT_${name}`)];
  return openBao || vault || undefined;
}

function warnOfSkippedVerification(context: ProviderContext): void {
  const value = variable(context, "SKIP_VERIFY");
  if (value === undefined || /^(0|f|false)$/i.test(value)) return;
  context.emit({
    type: "warning",
    message: `VAULT_SKIP_VERIFY has no effect: the certificate of ${context.name} is always verified`,
    hint: "caCert: with the file of your own authority",
  });
}

async function readCertificate(path: string): Promise<string> {
  try {
    const text = await readFile(path, "utf8");
    new X509Certificate(text);
    return text;
  } catch (error) {
    const code = systemErrorCode(error);
    const isFile = code !== undefined && !code.startsWith("ERR_");
    throw new ProviderError(
      "invalid",
      isFile ? `can't read the certificate ${path} (${code})` : `${path} is not a certificate in PEM form`,
      { hint: "caCert: with the PEM file of the authority that signed the server's certificate" },
    );
  }
}
