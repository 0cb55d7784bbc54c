/**
 * The ways to log in to the backends across a network, as a profile writes them, each with what a good backend answers.
 * Every credential and every value begins with `canary-`, and none stands in the profile.
 */
import { type Answer, json, type Received } from "./hostile-server.ts";

export interface RemoteLogin {
  readonly name: string;
  /** Speaks only https. */
  readonly needsTls: boolean;
  /** The entry under `providers:`. `ca` is a file. */
  settings(at: { readonly url: string; readonly ca: string }): Readonly<Record<string, unknown>>;
  /** The path of a ref to the entry `plain`. */
  readonly path: string;
  good(request: Received, url: string): Answer;
  isRead(request: Received): boolean;
  /** This backend's way to say 403. */
  readonly forbidden?: Answer;
}

/** What the `env:` refs of the settings stand for. */
export const CREDENTIALS: Readonly<Record<string, string>> = {
  WALK_VAULT_TOKEN: "canary-vault-token",
  WALK_SECRET_ID: "canary-secret-id",
  WALK_WRAPPED: "canary-wrapping-token",
  WALK_PASSWORD: "canary-password",
  WALK_JWT: "canary-jwt",
  WALK_ACCESS_KEY: "CANARYACCESSKEYID000",
  WALK_SECRET_KEY: "canary-aws-secret-key",
  WALK_SESSION_TOKEN: "canary-aws-session-token",
  WALK_AZURE_TOKEN: "canary-azure-token",
  WALK_CLIENT_SECRET: "canary-azure-client-secret",
};

/** What good backends give out: tokens for credentials, and values. */
export const GIVEN: readonly string[] = [
  "canary-vault-login",
  "canary-unwrapped",
  "canary-role-secret",
  "canary-role-token",
  "canary-azure-login",
  "canary-value",
];

const TENANT = "11111111-2222-3333-4444-555555555555";
const KEYS = {
  accessKeyId: "env:WALK_ACCESS_KEY",
  secretAccessKey: "env:WALK_SECRET_KEY",
  sessionToken: "env:WALK_SESSION_TOKEN",
};

export const REMOTE_LOGINS: readonly RemoteLogin[] = [
  vault("vault-token", { method: "token", token: "env:WALK_VAULT_TOKEN" }),
  vault("vault-approle", { method: "approle", roleId: "walker", secretId: "env:WALK_SECRET_ID" }),
  vault("vault-wrapped", {
    method: "approle",
    roleId: "walker",
    secretId: "env:WALK_WRAPPED",
    wrapped: true,
  }),
  vault("vault-userpass", { method: "userpass", username: "walker", password: "env:WALK_PASSWORD" }),
  vault("vault-jwt", { method: "jwt", role: "walker", token: "env:WALK_JWT" }),
  aws("aws-keys", () => ({})),
  aws("aws-role", (url) => ({ assumeRole: { arn: "arn:aws:iam::123456789012:role/walker", endpoint: url } })),
  azure("azure-token", () => ({ credential: { type: "token", token: "env:WALK_AZURE_TOKEN" } })),
  azure("azure-client-secret", (url) => ({
    authorityHost: url,
    credential: {
      type: "client-secret",
      tenantId: TENANT,
      clientId: "walker",
      clientSecret: "env:WALK_CLIENT_SECRET",
    },
  })),
];

function vault(name: string, auth: object): RemoteLogin {
  const data = (of: object) => json({ lease_id: "", lease_duration: 0, renewable: false, data: of });
  return {
    name,
    needsTls: false,
    settings: ({ url }) => ({ type: "vault", address: url, auth }),
    path: "secret/plain",
    isRead: ({ path }) => path.startsWith("/v1/secret/"),
    good({ path }) {
      if (/\/login(\/|$)/.test(path)) {
        return json({ auth: { client_token: "canary-vault-login", lease_duration: 3600, renewable: true } });
      }
      if (path.endsWith("/wrapping/lookup")) {
        return data({ creation_path: "auth/approle/role/walker/secret-id" });
      }
      if (path.endsWith("/unwrap")) return data({ secret_id: "canary-unwrapped" });
      if (path.includes("/mounts/")) return data({ path: "secret/", type: "kv", options: { version: "2" } });
      if (path.includes("/auth/token/")) return data({ ttl: 3600, renewable: true });
      const metadata = {
        version: 1,
        created_time: "2026-01-01T00:00:00Z",
        deletion_time: "",
        destroyed: false,
      };
      return data({ data: { value: "canary-value" }, metadata });
    },
  };
}

function aws(name: string, more: (url: string) => object): RemoteLogin {
  const value = {
    Name: "plain",
    SecretString: "canary-value",
    VersionId: "v1",
    VersionStages: ["AWSCURRENT"],
  };
  return {
    name,
    needsTls: false,
    settings: ({ url }) => ({
      type: "aws-secrets-manager",
      region: "eu-west-1",
      endpoint: url,
      credentials: KEYS,
      ...more(url),
    }),
    path: "plain",
    isRead: ({ headers }) => headers["x-amz-target"] !== undefined,
    good: ({ headers }) => (headers["x-amz-target"] === undefined ? assumedRole() : json(value)),
    forbidden: json({ __type: "AccessDeniedException", Message: "canary-message" }, 403),
  };
}

/** API reference of STS: AssumeRole. */
function assumedRole(): Answer {
  const keys = {
    AccessKeyId: "ASIAWALKER",
    SecretAccessKey: "canary-role-secret",
    SessionToken: "canary-role-token",
    Expiration: "2099-01-01T00:00:00Z",
  };
  const credentials = Object.entries(keys).map(([key, text]) => `<${key}>${text}</${key}>`);
  const result = `<AssumeRoleResult><Credentials>${credentials.join("")}</Credentials></AssumeRoleResult>`;
  return {
    headers: { "content-type": "text/xml" },
    body: `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">${result}</AssumeRoleResponse>`,
  };
}

function azure(name: string, credential: (url: string) => object): RemoteLogin {
  return {
    name,
    needsTls: true,
    settings: ({ url, ca }) => ({
      type: "azure-key-vault",
      vault: url,
      caCert: ca,
      verifyChallenge: false,
      ...credential(url),
    }),
    path: "plain",
    isRead: ({ headers, path }) => path.startsWith("/secrets/") && headers.authorization !== undefined,
    good({ headers, path }, url) {
      const login = `${url}/${TENANT}`;
      if (path.includes("openid-configuration")) {
        return json({
          issuer: `${login}/v2.0`,
          authorization_endpoint: `${login}/oauth2/v2.0/authorize`,
          token_endpoint: `${login}/oauth2/v2.0/token`,
          jwks_uri: `${login}/discovery/v2.0/keys`,
        });
      }
      if (path.includes("/oauth2/")) {
        return json({ token_type: "Bearer", expires_in: 3600, access_token: "canary-azure-login" });
      }
      if (headers.authorization === undefined) {
        const challenge = `Bearer authorization="${login}", resource="https://vault.azure.net"`;
        const refused = json({ error: { code: "Unauthorized", message: "AKV10000" } }, 401);
        return { ...refused, headers: { ...refused.headers, "www-authenticate": challenge } };
      }
      const id = `${url}/secrets/plain/0123456789abcdef0123456789abcdef`;
      const attributes = { enabled: true, created: 1_700_000_000, updated: 1_700_000_000 };
      return json({ value: "canary-value", id, attributes });
    },
  };
}
