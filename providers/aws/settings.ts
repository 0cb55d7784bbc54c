/** The settings under `providers:` for `aws-secrets-manager`; strict, each rule with its own words. */
import * as z from "zod/mini";
import { isLoopback } from "../../src/loopback.ts";

const REGION = /^[a-z]{2,8}(?:-[a-z]+)+-\d{1,2}$/;
/** `\n` and the like would reach a header or a file name. */
const PLAIN = /^[^\p{Cc}]+$/u;

/** True for what can be a region; the names of AWS change too often to be listed. */
export function looksLikeRegion(text: string): boolean {
  return REGION.test(text);
}

const text = z.string().check(z.regex(PLAIN, "this can't be empty or hold control characters"));

const region = z.string().check(z.refine(looksLikeRegion, "a region looks like eu-west-1"));

const endpoint = z
  .string()
  .check(
    z.refine(
      isSafeEndpoint,
      "an endpoint is https://HOST[:PORT], or http:// for this machine only, without user name and query",
    ),
  );

const path = z
  .string()
  .check(
    z.refine(
      (file) => /^(?:~?[/\\]|[A-Za-z]:[/\\])/.test(file) && PLAIN.test(file),
      "the path must be absolute, or begin with ~/",
    ),
  );

/** A ref, never the value itself: the pool checks its form when it resolves it. */
const ref = text;

export const settingsSchema = z
  .strictObject({
    region: z.optional(region),
    /** A profile of ~/.aws/config or ~/.aws/credentials; then no other credential is looked for. */
    profile: z.optional(text),
    /** Keys that are kept elsewhere; each is a ref. */
    credentials: z.optional(
      z.strictObject({
        accessKeyId: ref,
        secretAccessKey: ref,
        sessionToken: z.optional(ref),
      }),
    ),
    /** A role that is assumed with the credential above, or with the default one. */
    assumeRole: z.optional(
      z.strictObject({
        arn: z
          .string()
          .check(
            z.regex(
              /^arn:aws[a-z-]*:iam::\d{12}:role\/[\w+=,.@/-]+$/,
              "a role looks like arn:aws:iam::123456789012:role/NAME",
            ),
          ),
        externalId: z.optional(
          z
            .string()
            .check(
              z.regex(/^[\w+=,.@:/-]{2,1224}$/, "an external id has 2 to 1224 letters, digits or +=,.@:/-"),
            ),
        ),
        sessionName: z.optional(
          z
            .string()
            .check(z.regex(/^[\w+=,.@-]{2,64}$/, "a session name has 2 to 64 letters, digits or +=,.@-")),
        ),
        durationSeconds: z.optional(
          z.int().check(z.minimum(900, "at least 900 s"), z.maximum(43_200, "at most 43200 s")),
        ),
        /** Of STS, where it is reached by an interface endpoint of one's own. */
        endpoint: z.optional(endpoint),
      }),
    ),
    endpoint: z.optional(endpoint),
    /** A PEM file that replaces the authorities Node trusts, as AWS_CA_BUNDLE does. */
    caCert: z.optional(path),
  })
  .check(
    z.refine(
      ({ profile, credentials }) => profile === undefined || credentials === undefined,
      "`profile` and `credentials` exclude each other",
    ),
  );

export type AwsSettings = z.infer<typeof settingsSchema>;

/** Https anywhere, http on loopback only. */
export function isSafeEndpoint(address: string): boolean {
  if (!URL.canParse(address)) return false;
  const { protocol, hostname, username, password, search, hash } = new URL(address);
  if (username || password || search || hash) return false;
  return protocol === "https:" || (protocol === "http:" && isLoopback(hostname));
}
