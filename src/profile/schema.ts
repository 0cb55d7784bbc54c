/**
 * The shape of a profile file. Only structure: what a value means (refs, variables, credentials, names that
 * must exist) is checked where it is used. A key of a later version is here from the start as `later`, so
 * that it is refused by name instead of being ignored. Descriptions are in schema-descriptions.ts.
 */
import * as z from "zod/mini";
import { DURATION, SIZE } from "./quantities.ts";

export const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
export const PROVIDER_NAME = /^[A-Za-z][A-Za-z0-9_-]*$/;

/** Refused with «not yet supported». */
const later = z.optional(z.never());

const text = z.string();
const nonEmpty = z.string().check(z.minLength(1));
const flag = z.boolean();
const envName = z.string().check(z.regex(ENV_NAME));
/** Numbers and booleans are taken as they are written, so that `PORT: 8080` needs no quotes. */
const scalar = z.union([z.string(), z.number(), z.boolean()]);
const scalars = z.array(scalar);
const duration = z.string().check(z.regex(DURATION));
const size = z.string().check(z.regex(SIZE));

/** Random values: so many characters of an alphabet, or so many bytes. */
export const generateSchema = z.strictObject({
  length: z.optional(z.int()),
  alphabet: z.optional(text),
  bytes: z.optional(z.int()),
  encoding: z.optional(z.enum(["base64url", "base64", "hex"])),
});

/** Where a new value comes from when the secret is rotated. */
export const rotateSchema = z.strictObject({
  generate: z.optional(generateSchema),
  hook: z.optional(z.array(scalar).check(z.minLength(1))),
  console: z.optional(nonEmpty),
  backend: z.optional(z.literal(true)),
  with: z.optional(z.array(envName).check(z.minLength(1))),
  grantOldValue: z.optional(flag),
  timeout: z.optional(duration),
});

/** The keys of the long form that are ours; all others belong to the provider. */
export const longSecretSchema = z.looseObject({
  from: z.optional(text),
  template: z.optional(text),
  command: z.optional(z.array(scalar).check(z.minLength(1))),
  version: z.optional(scalar),
  optional: z.optional(flag),
  deliver: z.optional(z.enum(["env", "file", "none"])),
  scrub: z.optional(flag),
  maxAge: z.optional(duration),
  rotate: z.optional(rotateSchema),
  kind: z.optional(z.enum(["encryption-key"])),
});

export const secretsFromSchema = z.looseObject({
  from: text,
  version: z.optional(scalar),
  prefix: z.optional(envName),
  only: z.optional(z.array(nonEmpty).check(z.minLength(1))),
  optional: z.optional(flag),
});

/** Looking for changed secrets, and what a change leads to. */
export const refreshSchema = z.strictObject({
  every: z.optional(duration),
  cron: z.optional(nonEmpty),
  timezone: z.optional(nonEmpty),
  restart: z.optional(z.enum(["overlap", "sequential", "never"])),
  drain: z.optional(duration),
  signal: z.optional(z.enum(["SIGHUP", "SIGUSR1", "SIGUSR2"])),
});

/** A tool with its arguments, another request with its params, or a program. */
export const probeSchema = z.strictObject({
  tool: z.optional(nonEmpty),
  arguments: z.optional(z.record(text, z.unknown())),
  method: z.optional(nonEmpty),
  params: z.optional(z.record(text, z.unknown())),
  program: z.optional(z.array(scalar).check(z.minLength(1))),
  timeout: z.optional(duration),
  negative: z.optional(z.union([flag, z.array(envName).check(z.minLength(1))])),
});

/** Where records and figures are sent besides. */
export const exportSchema = z.strictObject({
  otlp: nonEmpty,
  headers: z.optional(z.record(nonEmpty, text)),
});

/** What is written down besides what always is, for how long, and who else gets it. */
export const auditSchema = z.strictObject({
  calls: z.optional(z.enum(["off", "metadata"])),
  retention: z.optional(duration),
  export: z.optional(z.union([z.literal("off"), exportSchema])),
});

export const scrubSchema = z.strictObject({ stdout: z.optional(z.enum(["off", "warn", "redact"])) });

const bodyShape = {
  description: z.optional(text),
  command: z.optional(nonEmpty),
  args: z.optional(scalars),
  cwd: z.optional(nonEmpty),
  env: z.optional(z.record(envName, scalar)),
  inheritEnv: z.optional(z.union([z.enum(["none", "all"]), z.array(nonEmpty)])),
  secrets: z.optional(z.record(envName, z.union([text, longSecretSchema]))),
  secretsFrom: z.optional(z.array(secretsFromSchema)),
  secretsInArgs: z.optional(z.array(envName)),
  stopGrace: z.optional(duration),
  fetchTimeout: z.optional(duration),
  maxLine: z.optional(size),
  scrub: z.optional(scrubSchema),
  onCrash: z.optional(z.enum(["restart", "exit"])),
  cache: z.optional(z.union([z.literal("off"), z.strictObject({ maxAge: duration })])),
  refresh: z.optional(refreshSchema),
  probe: z.optional(probeSchema),
  environment: z.optional(z.enum(["development", "test", "staging", "production"])),
  rotate: later,
  audit: z.optional(auditSchema),
};

/** One profile, and what `defaults` may hold. */
export const bodySchema = z.strictObject(bodyShape);

export const providerEntrySchema = z.looseObject({ type: nonEmpty });
const providersSchema = z.record(z.string().check(z.regex(PROVIDER_NAME)), providerEntrySchema);

/** The bus over which the supervisors of several machines hear of new values. */
export const fleetSchema = z.strictObject({
  servers: z.union([nonEmpty, z.array(nonEmpty).check(z.minLength(1))]),
  credentials: nonEmpty,
  operator: z.optional(nonEmpty),
  inventory: z.optional(z.union([nonEmpty, z.array(nonEmpty)])),
  host: z.optional(nonEmpty),
  ca: z.optional(nonEmpty),
});

/** A file with `profiles:`; each profile is looked at on its own. */
export const fileSchema = z.strictObject({
  version: z.literal(1),
  providers: z.optional(providersSchema),
  defaults: z.optional(z.unknown()),
  profiles: z.record(text, z.unknown()),
  fleet: z.optional(fleetSchema),
});

/** A file that is one profile, without its body's keys. */
export const oneProfileFileSchema = z.strictObject({
  version: z.optional(z.literal(1)),
  providers: z.optional(providersSchema),
  fleet: z.optional(fleetSchema),
});

/** Provider types that a later version will have. */
export const LATER_PROVIDER_TYPES: readonly string[] = ["oauth"];

export type FleetEntry = z.output<typeof fleetSchema>;
export type ProfileBody = z.output<typeof bodySchema>;
export type RotateEntry = z.output<typeof rotateSchema>;
export type LongSecret = z.output<typeof longSecretSchema>;
export type SecretsFromEntry = z.output<typeof secretsFromSchema>;
export type Scalar = string | number | boolean;
