/**
 * The shape of a profile file. Only structure: what a value means (refs, variables, credentials, names that
 * must exist) is checked where it is used. A key of a later version is here from the start as `later`, so
 * that it is refused by name instead of being ignored. Descriptions are in schema-descriptions.ts.
 */
import * as z from "zod";
import { DURATION, SIZE } from "./quantities.ts";

export const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
export const PROVIDER_NAME = /^[A-Za-z][A-Za-z0-9_-]*$/;

/** Refused with «not yet supported». */
const later = z.never().optional();

const text = z.string();
const flag = z.boolean();
const envName = z.string().regex(ENV_NAME);
/** Numbers and booleans are taken as they are written, so that `PORT: 8080` needs no quotes. */
const scalar = z.union([z.string(), z.number(), z.boolean()]);
const scalars = z.array(scalar);
const duration = z.string().regex(DURATION);
const size = z.string().regex(SIZE);

/** The keys of the long form that are ours; all others belong to the provider. */
export const longSecretSchema = z
  .object({
    from: text.optional(),
    template: text.optional(),
    command: z.array(scalar).min(1).optional(),
    version: scalar.optional(),
    optional: flag.optional(),
    deliver: z.enum(["env", "file", "none"]).optional(),
    scrub: flag.optional(),
    maxAge: later,
    rotate: later,
    kind: later,
  })
  .catchall(z.unknown());

export const secretsFromSchema = z
  .object({
    from: text,
    version: scalar.optional(),
    prefix: envName.optional(),
    only: z.array(text.min(1)).min(1).optional(),
    optional: flag.optional(),
  })
  .catchall(z.unknown());

const bodyShape = {
  description: text.optional(),
  command: text.min(1).optional(),
  args: scalars.optional(),
  cwd: text.min(1).optional(),
  env: z.record(envName, scalar).optional(),
  inheritEnv: z.union([z.enum(["none", "all"]), z.array(text.min(1))]).optional(),
  secrets: z.record(envName, z.union([text, longSecretSchema])).optional(),
  secretsFrom: z.array(secretsFromSchema).optional(),
  secretsInArgs: z.array(envName).optional(),
  stopGrace: duration.optional(),
  fetchTimeout: duration.optional(),
  maxLine: size.optional(),
  scrub: z.strictObject({ stdout: z.literal("off").optional() }).optional(),
  onCrash: z.literal("exit").optional(),
  refresh: later,
  probe: later,
  cache: later,
  rotate: later,
  audit: later,
};

/** One profile, and what `defaults` may hold. */
export const bodySchema = z.strictObject(bodyShape);

export const providerEntrySchema = z.object({ type: text.min(1) }).catchall(z.unknown());
const providersSchema = z.record(z.string().regex(PROVIDER_NAME), providerEntrySchema);

/** A file with `profiles:`; each profile is looked at on its own. */
export const fileSchema = z.strictObject({
  version: z.literal(1),
  providers: providersSchema.optional(),
  defaults: z.unknown().optional(),
  profiles: z.record(text, z.unknown()),
  fleet: later,
  audit: later,
});

/** A file that is one profile, without its body's keys. */
export const oneProfileFileSchema = z.strictObject({
  version: z.literal(1).optional(),
  providers: providersSchema.optional(),
  fleet: later,
});

/** Values that a later version will take, by the key that they stand under. */
export const LATER_VALUES: Readonly<Record<string, readonly string[]>> = {
  stdout: ["warn", "redact"],
  onCrash: ["restart"],
};

/** Provider types that a later version will have. */
export const LATER_PROVIDER_TYPES: readonly string[] = [
  "vault",
  "aws-secrets-manager",
  "azure-key-vault",
  "oauth",
];

export type ProfileBody = z.output<typeof bodySchema>;
export type LongSecret = z.output<typeof longSecretSchema>;
export type SecretsFromEntry = z.output<typeof secretsFromSchema>;
export type Scalar = string | number | boolean;
