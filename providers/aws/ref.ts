/** What a ref may say: a secret's name or ARN, and a version by its id or by a staging label. */
import * as z from "zod/mini";

/** The characters of CreateSecret's `Name`, API reference of Secrets Manager. */
const NAME = /^[A-Za-z0-9/_+=.@-]{1,512}$/;
const ARN = /^arn:aws[a-z-]*:secretsmanager:([a-z0-9-]+):(\d{12}):secret:([A-Za-z0-9/_+=.@-]{1,519})$/;
/** A ClientRequestToken, which becomes the version's id, has 32 to 64 characters. */
const VERSION_ID = /^[A-Za-z0-9-]{32,64}$/;

const CURRENT = "AWSCURRENT";

export const refSchema = z.strictObject({
  path: z
    .string()
    .check(
      z.refine(
        (path) => NAME.test(path) || ARN.test(path),
        "a secret is named by its name (letters, digits and /_+=.@-) or its ARN",
      ),
    ),
  /** A staging label such as AWSPREVIOUS, or a version id. */
  version: z.optional(
    z.string().check(z.regex(/^[^\p{Cc}]{1,256}$/u, "a version is a staging label or a version id")),
  ),
  /** What becomes of a binary secret: its base64, or its bytes as UTF-8 text. */
  binary: z._default(z.enum(["base64", "text"], "`binary` is base64 or text"), "base64"),
});

export type AwsRef = z.infer<typeof refSchema>;

/** Which version is meant, in the words of GetSecretValue; undefined for the current one. */
export function versionOf({
  version,
}: Pick<AwsRef, "version">): { VersionId: string } | { VersionStage: string } | undefined {
  if (version === undefined || version === CURRENT) return undefined;
  return VERSION_ID.test(version) ? { VersionId: version } : { VersionStage: version };
}

/** The region that an ARN names; undefined for a name. */
export function regionOf(path: string): string | undefined {
  return ARN.exec(path)?.[1];
}

export function isArn(path: string): boolean {
  return path.startsWith("arn:");
}

/** True for the whole ARN of a secret, such as an answer has. */
export function isSecretArn(text: string): boolean {
  return ARN.test(text);
}

/** True if `path` names this secret: by its name, its ARN, or its ARN without the six random characters. */
export function isNameOf(
  path: string,
  { Name, ARN: arn }: { Name?: string | undefined; ARN?: string | undefined },
): boolean {
  return path === Name || path === arn || path === arn?.slice(0, -"-AbCdEf".length);
}
