/** The JSON Schema of profile files, for editors; made from the schemas that check them. */
import * as z from "zod/mini";
import type { ProviderKind } from "../secrets/provider.ts";
import {
  auditSchema,
  bodySchema,
  exportSchema,
  fileSchema,
  fleetSchema,
  generateSchema,
  longSecretSchema,
  oneProfileFileSchema,
  probeSchema,
  refreshSchema,
  rotateSchema,
  scrubSchema,
  secretsFromSchema,
} from "./schema.ts";
import {
  AUDIT_DESCRIPTIONS,
  EXPORT_DESCRIPTIONS,
  FILE_DESCRIPTIONS,
  FLEET_DESCRIPTIONS,
  GENERATE_DESCRIPTIONS,
  PROBE_DESCRIPTIONS,
  PROFILE_DESCRIPTIONS,
  REFRESH_DESCRIPTIONS,
  ROTATE_DESCRIPTIONS,
  SCRUB_DESCRIPTIONS,
  SECRET_DESCRIPTIONS,
  SECRETS_FROM_DESCRIPTIONS,
} from "./schema-descriptions.ts";

interface JsonSchema {
  [key: string]: unknown;
  properties?: Record<string, JsonSchema>;
}

type Properties = Record<string, JsonSchema>;

/** The keys of a secret's entry that mcp-run reads itself; a provider's own schema does not add to them. */
const OWN_REQUEST_KEYS = ["path", "version", "command"];

/**
 * Draft 7, which editors understand best. A file holds either `profiles:` or one profile.
 *
 * @param kinds the backends whose settings and options are described
 */
export function profileJsonSchema(kinds: readonly ProviderKind[]): object {
  const profile = propertiesOf(bodySchema, PROFILE_DESCRIPTIONS);
  const secret = longForm(longSecretSchema, SECRET_DESCRIPTIONS, kinds);
  const secretsFrom = longForm(secretsFromSchema, SECRETS_FROM_DESCRIPTIONS, kinds);
  profile.refresh = { ...profile.refresh, properties: propertiesOf(refreshSchema, REFRESH_DESCRIPTIONS) };
  profile.scrub = { ...profile.scrub, properties: propertiesOf(scrubSchema, SCRUB_DESCRIPTIONS) };
  profile.probe = {
    ...profile.probe,
    properties: propertiesOf(probeSchema, PROBE_DESCRIPTIONS),
    oneOf: [{ required: ["tool"] }, { required: ["method"] }, { required: ["program"] }],
  };
  profile.audit = { ...profile.audit, properties: auditing() };
  profile.secrets = {
    ...profile.secrets,
    additionalProperties: { anyOf: [{ type: "string" }, reference("secret")] },
  };
  profile.secretsFrom = { ...profile.secretsFrom, items: reference("secretsFrom") };

  const file = propertiesOf(fileSchema, FILE_DESCRIPTIONS);
  const providers = { ...file.providers, additionalProperties: reference("provider") };
  const body = { type: "object", properties: profile, additionalProperties: false };
  const ofOne = propertiesOf(oneProfileFileSchema, FILE_DESCRIPTIONS);
  for (const top of [file, ofOne])
    top.fleet = { ...top.fleet, properties: propertiesOf(fleetSchema, FLEET_DESCRIPTIONS) };
  return {
    $schema: "http://json-schema.org/draft-07/schema#",
    title: "mcp-run profiles",
    type: "object",
    if: { required: ["profiles"] },
    // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
    then: reference("file"),
    else: reference("oneProfileFile"),
    definitions: {
      file: {
        type: "object",
        properties: {
          ...file,
          providers,
          defaults: { ...reference("profile"), description: FILE_DESCRIPTIONS.defaults },
          profiles: {
            type: "object",
            description: FILE_DESCRIPTIONS.profiles,
            additionalProperties: reference("profile"),
          },
        },
        required: ["version", "profiles"],
        additionalProperties: false,
      },
      oneProfileFile: {
        type: "object",
        properties: { ...ofOne, providers, ...profile },
        required: ["command"],
        additionalProperties: false,
      },
      profile: body,
      secret: {
        ...secret,
        properties: { ...secret.properties, rotate: { ...secret.properties?.rotate, ...rotation() } },
        oneOf: [{ required: ["from"] }, { required: ["template"] }, { required: ["command"] }],
      },
      secretsFrom: { ...secretsFrom, anyOf: [{ required: ["prefix"] }, { required: ["only"] }] },
      provider: { anyOf: kinds.map(providerEntry) },
    },
  };
}

function auditing(): Properties {
  const properties = propertiesOf(auditSchema, AUDIT_DESCRIPTIONS);
  const exported = {
    type: "object",
    properties: propertiesOf(exportSchema, EXPORT_DESCRIPTIONS),
    required: ["otlp"],
    additionalProperties: false,
  };
  return { ...properties, export: { ...properties.export, anyOf: [{ const: "off" }, exported] } };
}

function rotation(): JsonSchema {
  const properties = propertiesOf(rotateSchema, ROTATE_DESCRIPTIONS);
  const generate = {
    ...properties.generate,
    properties: propertiesOf(generateSchema, GENERATE_DESCRIPTIONS),
    oneOf: [{ required: ["length"] }, { required: ["bytes"] }],
  };
  return {
    properties: { ...properties, generate },
    oneOf: ["generate", "hook", "console"].map((source) => ({ required: [source] })),
  };
}

function longForm(
  schema: typeof longSecretSchema | typeof secretsFromSchema,
  descriptions: Readonly<Record<string, string>>,
  kinds: readonly ProviderKind[],
): JsonSchema {
  return {
    type: "object",
    properties: { ...optionsOfProviders(kinds), ...propertiesOf(schema, descriptions) },
    additionalProperties: false,
  };
}

/** What providers add to the long form of a ref. */
function optionsOfProviders(kinds: readonly ProviderKind[]): Properties {
  const options: Record<string, { schemas: JsonSchema[]; kinds: string[] }> = {};
  for (const kind of kinds) {
    for (const [key, schema] of Object.entries(jsonSchemaOf(kind.refSchema).properties ?? {})) {
      if (OWN_REQUEST_KEYS.includes(key)) continue;
      options[key] ??= { schemas: [], kinds: [] };
      options[key].kinds.push(kind.name);
      if (!options[key].schemas.some((known) => JSON.stringify(known) === JSON.stringify(schema)))
        options[key].schemas.push(schema);
    }
  }
  return Object.fromEntries(
    Object.entries(options).map(([key, { schemas, kinds: names }]) => [
      key,
      {
        ...(schemas.length === 1 ? schemas[0] : { anyOf: schemas }),
        description: `For ${names.join(", ")}.`,
      },
    ]),
  );
}

function providerEntry({ name, configSchema }: ProviderKind): JsonSchema {
  const { $schema: _draft, ...settings } = beforeExpansion(jsonSchemaOf(configSchema)) as JsonSchema;
  const branches = settings.anyOf ?? settings.oneOf;
  if (Array.isArray(branches)) return { anyOf: branches.map((branch: JsonSchema) => withType(name, branch)) };
  return withType(name, settings);
}

/** What a setting must look like is said of its expanded text; an editor sees the `${…}`. */
function beforeExpansion(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(beforeExpansion);
  if (typeof schema !== "object" || schema === null) return schema;
  const { type, pattern, format } = schema as JsonSchema;
  if (type === "string" && (pattern !== undefined || format !== undefined))
    return { anyOf: [schema, { type: "string", pattern: "\\$\\{" }] };
  return Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, beforeExpansion(value)]));
}

function withType(name: string, settings: JsonSchema): JsonSchema {
  const required = Array.isArray(settings.required) ? settings.required : [];
  return {
    ...settings,
    type: "object",
    properties: { type: { const: name }, ...settings.properties },
    required: ["type", ...required],
  };
}

function propertiesOf(schema: z.ZodMiniType, descriptions: Readonly<Record<string, string>>): Properties {
  const { properties = {} } = jsonSchemaOf(schema);
  return Object.fromEntries(
    Object.entries(properties).map(([key, property]) => {
      const description = descriptions[key];
      return [key, description === undefined ? property : { ...property, description }];
    }),
  );
}

/** What a person writes, so the input side; what JSON Schema can't say (a refinement) is left out. */
function jsonSchemaOf(schema: z.ZodMiniType): JsonSchema {
  return z.toJSONSchema(schema, { io: "input", target: "draft-7", unrepresentable: "any" }) as JsonSchema;
}

function reference(name: string): JsonSchema {
  return { $ref: `#/definitions/${name}` };
}
