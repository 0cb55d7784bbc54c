/**
 * A login that was refused, by its code alone: the sentences of Entra hold ids, addresses and times, and tell
 * more about an account than a log should. Codes: https://learn.microsoft.com/entra/identity-platform/reference-error-codes
 */
import { AzureError } from "../azure-error.ts";

/** What a login service said, as far as errors speak of it. */
export interface LoginAnswer {
  readonly status: number | undefined;
  readonly code: string | undefined;
}

const AGAIN = "az login, as the user or principal that may read the vault";
const FEDERATION = "the issuer, subject and audience of the application's federated credential";

/** State and mend of the codes that people meet. */
const MEANINGS: Readonly<Record<string, readonly [state: string, hint: string]>> = {
  AADSTS7000215: ["the client secret is wrong", "storing the secret's value there, which is not its id"],
  AADSTS7000222: [
    "the client secret has expired",
    "a new one: az ad app credential reset --append --id CLIENT",
  ],
  AADSTS700016: ["the tenant has no such application", "clientId: and tenantId: of the credential"],
  AADSTS90002: ["there is no such tenant", "tenantId: of the credential"],
  AADSTS900023: ["there is no such tenant", "tenantId: of the credential"],
  AADSTS70021: ["the application does not trust this token", FEDERATION],
  AADSTS700211: ["the application does not trust this token's issuer", FEDERATION],
  AADSTS700212: ["the application does not trust this token's audience", FEDERATION],
  AADSTS700213: ["the application does not trust this token's subject", FEDERATION],
  AADSTS700024: ["the federated token has expired", "a new token in the file"],
  AADSTS50173: ["the login has expired", AGAIN],
  AADSTS70008: ["the login has expired", AGAIN],
  AADSTS70043: ["the login has expired", AGAIN],
  AADSTS700082: ["the login has expired", AGAIN],
  AADSTS50076: ["the login needs a second factor", AGAIN],
  AADSTS50079: ["the login needs a second factor", AGAIN],
  AADSTS50158: ["the login needs a further step", AGAIN],
  AADSTS53003: [
    "a conditional access policy refuses the login",
    "the policies of the tenant, or another credential",
  ],
};

/** @param what the credential, as in «the login by client-secret» */
export function loginError(what: string, { status, code }: LoginAnswer): AzureError {
  const told = [status, code].filter((part) => part !== undefined).join(" ");
  const behind = told === "" ? "" : ` (${told})`;
  const [state, hint] = MEANINGS[code ?? ""] ?? [];
  if (state !== undefined) return new AzureError("denied", `${state}${behind}`, { hint: hint ?? AGAIN });
  if (status !== undefined && (status === 429 || status >= 500)) {
    return new AzureError("unavailable", `the login service has a failure of its own${behind}`, {
      hint: "again in a minute",
      isTransient: true,
    });
  }
  return new AzureError("denied", `the login by ${what} was refused${behind}`, {
    hint: "its entry credential: in the provider's settings",
  });
}

/** The code in what Entra, a metadata service or `az` says; undefined if there is none that may be repeated. */
export function loginCode(text: string): string | undefined {
  return /\bAADSTS\d{4,8}\b/.exec(text)?.[0] ?? /"error"\s*:\s*"([a-z_]{3,40})"/.exec(text)?.[1] ?? undefined;
}
