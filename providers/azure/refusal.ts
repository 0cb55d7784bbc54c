/**
 * A refusal of Key Vault, as an error that names the secret, the status, the service's own code and one mend.
 * The service's sentences are not repeated: they hold identities and addresses, and a hostile server could put
 * anything there. Codes: https://learn.microsoft.com/azure/key-vault/general/rest-error-codes
 */
import { AzureError, type AzureErrorOptions } from "./azure-error.ts";

/** A refused request, as far as errors speak of it. */
export interface Refusal {
  readonly status: number;
  readonly method: string;
  /** Whose secrets: the first part of the vault's host, by which `az` knows it. */
  readonly vault: string;
  /** The secret's name; undefined where the whole vault was asked. */
  readonly secret?: string;
  readonly version?: string;
  readonly body: string;
  readonly requestId: string | undefined;
  readonly retryAfterMs: number | undefined;
}

export function refusalError(refusal: Refusal): AzureError {
  const { status, method, vault, secret = "the secret", version } = refusal;
  const code = codeOf(refusal.body);
  const which = version === undefined ? secret : `version ${version} of ${secret}`;
  const az = (verb: string, more = "") => `az keyvault secret ${verb} --vault-name ${vault}${more}`;
  const named = ` --name ${secret}`;
  const isRead = method === "GET";
  const told = `(${[[status, code].filter(Boolean).join(" "), requestOf(refusal)].filter(Boolean).join(", ")})`;
  const error = (
    failure: ConstructorParameters<typeof AzureError>[0],
    state: string,
    options: AzureErrorOptions = {},
  ) =>
    new AzureError(failure, `${state} ${told}`, {
      ...options,
      statusCode: status,
      ...(code !== undefined && { serviceCode: code }),
      ...(refusal.retryAfterMs !== undefined && { retryAfterMs: refusal.retryAfterMs }),
    });

  switch (code) {
    case "SecretDisabled":
      return error("denied", `${which} is disabled`, {
        hint: az("set-attributes", `${named}${version ? ` --version ${version}` : ""} --enabled true`),
      });
    case "SecretNotFound":
      return error("missing", `the vault ${vault} has no ${version ? which : `secret ${secret}`}`, {
        hint: version ? az("list-versions", named) : az("list"),
      });
    case "ForbiddenByRbac":
      return error("denied", `this identity has no role that may ${isRead ? "read" : "write"} it`, {
        hint: `giving it the role Key Vault Secrets ${isRead ? "User" : "Officer"} on ${vault}; that takes some minutes to work`,
      });
    case "ForbiddenByPolicy":
    case "AccessDenied":
      return error("denied", `the access policy of ${vault} does not let this identity do that`, {
        hint: `az keyvault set-policy --name ${vault} --secret-permissions ${isRead ? "get list" : "get list set delete"}`,
      });
    case "ForbiddenByFirewall":
      return error("denied", `the firewall of ${vault} does not let this machine in`, {
        hint: "a network that the vault allows, or allowing this one under the vault's Networking",
      });
    case "ForbiddenByConnection":
      return error("denied", `${vault} takes no connection from a public network`, {
        hint: "a network with its private endpoint",
      });
    case "ObjectIsDeletedButRecoverable":
      return error("invalid", `${secret} was deleted, and its name is kept until it is recovered or purged`, {
        hint: `${az("recover", named)}, or purge in place of recover`,
      });
    case "ObjectIsBeingDeleted":
    case "ObjectIsBeingRecovered":
      return error("unavailable", `${secret} is just being deleted or recovered`, {
        hint: "again in a minute",
      });
  }
  if (status === 401) {
    return error("denied", `the vault ${vault} does not accept our token`, {
      hint: "the tenant that the vault belongs to, as tenantId: of the credential, or another login",
    });
  }
  if (status === 403) {
    return error("denied", `the vault ${vault} refuses it`, { hint: "the vault's access control" });
  }
  if (status === 404) return error("missing", `there is no ${which} at ${vault}`, { hint: az("list") });
  if (status === 409) {
    return error("conflict", `somebody else is changing ${secret}, or its name is kept for a deleted one`, {
      hint: "again, or another name",
    });
  }
  if (status === 429) {
    return error("unavailable", `the vault ${vault} is asked too often`, {
      hint: "again in some seconds, or a longer refresh",
      isTransient: true,
    });
  }
  if (status === 408 || status >= 500) {
    return error("unavailable", `the vault ${vault} has a failure of its own`, {
      hint: "again in a minute",
      isTransient: true,
    });
  }
  return error("invalid", `the vault ${vault} does not understand the request`);
}

/** The innermost code; undefined for a body that is none of Key Vault's. Only letters: nothing else is repeated. */
function codeOf(body: string): string | undefined {
  const error = errorIn(body);
  const inner = member(error, "innererror") ?? member(error, "innerError");
  const code = member(inner, "code") ?? member(error, "code");
  const akv = /\bAKV\d{5}\b/.exec(String(member(error, "message") ?? ""))?.[0];
  if (akv !== undefined) return akv;
  return typeof code === "string" && /^[A-Za-z]{1,48}$/.test(code) ? code : undefined;
}

function errorIn(body: string): unknown {
  try {
    return member(JSON.parse(body), "error");
  } catch {
    // Not JSON, as from a proxy: the status has to do.
    return undefined;
  }
}

function member(thing: unknown, name: string): unknown {
  return typeof thing === "object" && thing !== null && Object.hasOwn(thing, name)
    ? (thing as Record<string, unknown>)[name]
    : undefined;
}

function requestOf({ requestId = "" }: Refusal): string | undefined {
  return /^[0-9A-Fa-f-]{36}$/.test(requestId) ? `request ${requestId}` : undefined;
}
