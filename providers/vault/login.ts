/** Exchanges a credential for a token. A login is never sent twice by itself: a secret-id may be good for one. */
import { ProviderError } from "../../src/errors.ts";
import { Secret } from "../../src/secrets/secret.ts";
import type { VaultClient } from "./client.ts";
import type { Credential, JwtFile, Proof } from "./credential.ts";
import { type Answer, isRecord } from "./exchange.ts";
import { isAboutNamespace, noAnswerError, refusalError, strangeAnswer } from "./failure.ts";
import { apiPath } from "./path.ts";
import { readTokenFile } from "./places.ts";
import { errorsIn } from "./retry.ts";

export interface Grant {
  readonly token: Secret;
  /** Ms that the token lives from now; 0 for ever. */
  readonly durationMs: number;
  readonly renewable: boolean;
}

/** What a login says beside its path. */
export type ProofBody = (signal: AbortSignal) => Promise<object>;

type LoginCredential = Extract<Credential, { type: "login" }>;

/** Throws ProviderError; rejects with the signal's reason when that is aborted. */
export async function logIn(
  credential: LoginCredential,
  secretIdOf: (proof: Extract<Proof, { type: "wrapped-approle" }>, signal: AbortSignal) => Promise<Secret>,
  client: VaultClient,
  signal: AbortSignal,
): Promise<Grant> {
  const { method, path, proof } = credential;
  const body = await bodyOf(proof, secretIdOf, signal);
  const target = apiPath("auth", ...path);
  const outcome = await client.send({ does: "write", path: target, body }, undefined, signal);
  if (outcome.type === "no-answer") throw noAnswerError(outcome, client.url);
  if (outcome.status === 200) return grantOf(outcome, client.url);
  throw loginError(outcome, method, path.join("/"), client.url);
}

async function bodyOf(
  proof: Proof,
  secretIdOf: (proof: Extract<Proof, { type: "wrapped-approle" }>, signal: AbortSignal) => Promise<Secret>,
  signal: AbortSignal,
): Promise<object> {
  switch (proof.type) {
    case "approle":
      return { role_id: proof.roleId, ...(proof.secretId && { secret_id: proof.secretId.reveal() }) };
    case "wrapped-approle":
      return { role_id: proof.roleId, secret_id: (await secretIdOf(proof, signal)).reveal() };
    case "password":
      return { password: proof.password.reveal() };
    case "jwt":
      return {
        ...(proof.role !== undefined && { role: proof.role }),
        jwt: (await jwtOf(proof.jwt)).reveal(),
      };
  }
}

async function jwtOf(jwt: Secret | JwtFile): Promise<Secret> {
  if (jwt instanceof Secret) return jwt;
  const text = await readTokenFile(jwt.file);
  if (text) return text;
  throw new ProviderError("denied", `there is no token in ${jwt.file}`, {
    hint: "tokenPath: with the file in which the platform puts it",
  });
}

/** The token in the answer of a login or a renewal. */
export function grantOf(answer: Answer, url: string): Grant {
  const auth = answer.json?.auth;
  if (isRecord(auth) && typeof auth.client_token === "string") {
    if (auth.client_token === "") {
      throw new ProviderError("denied", "the login wants a second factor, which a program can't give", {
        hint: "an auth: method without MFA",
      });
    }
    if (/^[\x21-\x7e]+$/.test(auth.client_token) && typeof auth.lease_duration === "number") {
      return {
        token: new Secret(auth.client_token),
        durationMs: auth.lease_duration * 1000,
        renewable: auth.renewable === true,
      };
    }
  }
  throw strangeAnswer(answer, url);
}

function loginError(answer: Answer, method: string, path: string, url: string): ProviderError {
  const { status } = answer;
  // Some releases give a wrong password the status 500.
  const isInvalid = errorsIn(answer.json).some((text) => /^invalid (user|role|secret|cred)/i.test(text));
  if (isAboutNamespace(answer) || !(REFUSALS.includes(status) || isInvalid)) {
    return refusalError(answer, { path: `auth/${path}`, capability: "update" }, url);
  }
  if (!answer.json) return strangeAnswer(answer, url);
  // The server says 403 rather than 404 to somebody without a token.
  const isPlaceWrong = status === 403 || status === 404;
  const hint = isPlaceWrong ? WRONG_PLACE : (HINTS[method] ?? "");
  return new ProviderError("denied", `the login by ${method} at auth/${path} was refused (${status})`, {
    hint,
  });
}

const REFUSALS = [400, 401, 403, 404];
const WRONG_PLACE =
  "mount: under auth: with the path of this method (`vault auth list`), or another namespace:";

const HINTS: Readonly<Record<string, string>> = {
  approle:
    "a new secret-id (`vault write -f auth/approle/role/ROLE/secret-id`): the old one may be used up or expired",
  userpass: "the same user name and password with `vault login -method=userpass`",
  kubernetes: "role: with a role that is bound to this service account and namespace",
  jwt: "role: with a role whose claims and audience the token has, or a token that has not expired",
};
