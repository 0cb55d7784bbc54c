/** What we log in with, read when the provider is opened; the server is asked later, by login.ts. */
import { ProviderError } from "../../src/errors.ts";
import type { ProviderContext } from "../../src/secrets/provider.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { variable } from "./address.ts";
import { absolutePath, readTokenFile } from "./places.ts";
import type { AuthSettings, VaultSettings } from "./settings.ts";

/** Ms to resolve a ref in the settings, where a person may have to unlock a keychain. */
const RESOLVE_MS = 55_000;

export type Credential =
  /** A token of somebody else, which we never revoke. `where` is for messages. */
  | { readonly type: "token"; readonly token: Secret; readonly where: string; readonly file?: string }
  /** What is written to `auth/MOUNT/…` for a token of our own. */
  | {
      readonly type: "login";
      readonly method: string;
      readonly path: readonly string[];
      readonly proof: Proof;
    };

export type Proof =
  | { readonly type: "approle"; readonly roleId: string; readonly secretId: Secret | undefined }
  | {
      readonly type: "wrapped-approle";
      readonly roleId: string;
      readonly wrapping: Secret;
      readonly mount: string;
    }
  | { readonly type: "password"; readonly password: Secret }
  | { readonly type: "jwt"; readonly role: string | undefined; readonly jwt: Secret | JwtFile };

/** Read at each login: the platform replaces it from time to time. */
export interface JwtFile {
  readonly file: string;
}

/** Throws ProviderError, or what a ref's provider throws. */
export async function readCredential(settings: VaultSettings, context: ProviderContext): Promise<Credential> {
  const { auth } = settings;
  if (!auth || (auth.method === "token" && auth.token === undefined)) return ambientToken(context);
  const resolve = (ref: string) => context.resolveRef(ref, AbortSignal.timeout(RESOLVE_MS));
  switch (auth.method) {
    case "token": {
      const where = auth.token as string;
      return { type: "token", token: headerSafe(trimmed(await resolve(where)), where), where };
    }
    case "token-file":
      return tokenFile(auth.path, context, "the file that `vault login` or an agent writes");
    case "approle":
      return approle(auth, resolve);
    case "userpass": {
      const proof: Proof = { type: "password", password: await resolve(auth.password) };
      return { type: "login", method: auth.method, path: [auth.mount, "login", auth.username], proof };
    }
    case "kubernetes":
      return jwtLogin(auth, { file: absolutePath(auth.tokenPath, context) }, context);
    case "jwt":
      return jwtLogin(
        auth,
        auth.token === undefined
          ? { file: absolutePath(auth.tokenPath as string, context) }
          : trimmed(await resolve(auth.token)),
        context,
      );
  }
}

/** As `vault` and `bao` do it: a variable, else the file that their `login` writes. */
async function ambientToken(context: ProviderContext): Promise<Credential> {
  const token = variable(context, "TOKEN");
  if (token !== undefined) {
    return {
      type: "token",
      token: headerSafe(new Secret(token.trim()), "VAULT_TOKEN"),
      where: "VAULT_TOKEN",
    };
  }
  const hint = `\`vault login\`, a token in VAULT_TOKEN, or auth: under providers: ${context.name}:`;
  return tokenFile("~/.vault-token", context, hint);
}

async function tokenFile(path: string, context: ProviderContext, hint: string): Promise<Credential> {
  const file = absolutePath(path, context);
  const token = await readTokenFile(file);
  if (!token) throw new ProviderError("denied", `there is no token in ${path}`, { hint });
  context.credentialIs(token.reveal());
  return { type: "token", token, where: path, file };
}

async function approle(
  { roleId, secretId, wrapped, mount }: Extract<AuthSettings, { method: "approle" }>,
  resolve: (ref: string) => Promise<Secret>,
): Promise<Credential> {
  const login = { type: "login", method: "approle", path: [mount, "login"] } as const;
  const value = secretId === undefined ? undefined : trimmed(await resolve(secretId));
  if (!wrapped) return { ...login, proof: { type: "approle", roleId, secretId: value } };
  if (!value) {
    throw new ProviderError("invalid", "wrapped: true needs a secretId: to unwrap", {
      hint: "secretId: with a ref to the wrapping token",
    });
  }
  const wrapping = headerSafe(value, "the wrapping token");
  return { ...login, proof: { type: "wrapped-approle", roleId, wrapping, mount } };
}

function jwtLogin(
  { method, mount, role }: { method: string; mount: string; role?: string | undefined },
  jwt: Secret | JwtFile,
  context: ProviderContext,
): Credential {
  // The file's content changes by the hour, and stays the same account.
  if (!(jwt instanceof Secret)) context.credentialIs(jwt.file);
  return { type: "login", method, path: [mount, "login"], proof: { type: "jwt", role, jwt } };
}

function trimmed(secret: Secret): Secret {
  return new Secret(secret.reveal().trim());
}

/** @param where what it is called in messages */
function headerSafe(token: Secret, where: string): Secret {
  if (/^[\x21-\x7e]+$/.test(token.reveal())) return token;
  throw new ProviderError("invalid", `${where} holds no token: it is empty, or has blanks or line breaks`);
}
