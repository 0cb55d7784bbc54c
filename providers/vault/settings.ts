/** What a profile file may say about a Vault: the settings under `providers:` and the refs. Each rule has its words. */
import * as z from "zod/mini";
import { addressProblem } from "./address-problem.ts";
import { mountProblem, pathProblem } from "./path.ts";

const ABSOLUTE_PATH = /^(~\/|\/|[A-Za-z]:[\\/])/;

const filePath = z
  .string()
  .check(z.regex(ABSOLUTE_PATH, "write an absolute path, or one that begins with ~/"));
const secretRef = z
  .string()
  .check(z.regex(/^[A-Za-z][\w-]*:.+$/s, "write a ref, such as keychain:vault, never the secret itself"));
const name = z.string().check(
  z.minLength(1, "this name is empty"),
  z.refine((text) => mountProblem(text) === undefined, "this name can't be part of a path in Vault"),
);
const mount = z.string().check(z.refine(noProblem(mountProblem), { error: wordsOf(mountProblem) }));

const auth = z.discriminatedUnion(
  "method",
  [
    z.strictObject({ method: z.literal("token"), token: z.optional(secretRef) }),
    z.strictObject({ method: z.literal("token-file"), path: z._default(filePath, "~/.vault-token") }),
    z.strictObject({
      method: z.literal("approle"),
      roleId: z.string().check(z.minLength(1, "the role id is empty")),
      secretId: z.optional(secretRef),
      /** The secret-id is a wrapping token, which can be unwrapped once. */
      wrapped: z._default(z.boolean(), false),
      mount: z._default(mount, "approle"),
    }),
    z.strictObject({
      method: z.literal("userpass"),
      username: name,
      password: secretRef,
      mount: z._default(mount, "userpass"),
    }),
    z.strictObject({
      method: z.literal("kubernetes"),
      role: z.string(),
      tokenPath: z._default(filePath, "/var/run/secrets/kubernetes.io/serviceaccount/token"),
      mount: z._default(mount, "kubernetes"),
    }),
    z
      .strictObject({
        method: z.literal("jwt"),
        role: z.optional(z.string()),
        token: z.optional(secretRef),
        tokenPath: z.optional(filePath),
        mount: z._default(mount, "jwt"),
      })
      .check(
        z.refine(
          ({ token, tokenPath }) => (token === undefined) !== (tokenPath === undefined),
          "write one of token: (a ref) and tokenPath: (a file)",
        ),
      ),
  ],
  "write auth: { method: token | token-file | approle | userpass | kubernetes | jwt, … }",
);

export const configSchema = z.strictObject({
  address: z.optional(
    z.string().check(z.refine(noProblem(addressProblem), { error: wordsOf(addressProblem) })),
  ),
  namespace: z.optional(mount),
  /** The certificate of a private authority, PEM; then no other is trusted. */
  caCert: z.optional(filePath),
  auth: z.optional(auth),
  /** What `mcp-run secrets list` lists. */
  mount: z.optional(mount),
});

export const refSchema = z.strictObject({
  path: z.string().check(z.refine(noProblem(pathProblem), { error: wordsOf(pathProblem) })),
  version: z.optional(
    z.string().check(z.regex(/^[1-9]\d{0,8}$/, 'a version of a KV secret is a number, such as "3"')),
  ),
});

export type VaultSettings = z.infer<typeof configSchema>;
export type AuthSettings = z.infer<typeof auth>;
export type VaultRef = z.infer<typeof refSchema>;

type ProblemFinder = (text: string) => string | undefined;

function noProblem(problemOf: ProblemFinder) {
  return (text: string) => problemOf(text) === undefined;
}

function wordsOf(problemOf: ProblemFinder) {
  return ({ input }: { input?: unknown }) => problemOf(String(input));
}
