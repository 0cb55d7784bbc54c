import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { awsKind } from "../../providers/aws.ts";
import { azureKind } from "../../providers/azure.ts";
import { commandKind } from "../../providers/command.ts";
import { envKind } from "../../providers/env.ts";
import { fileKind } from "../../providers/file.ts";
import { keychainKind } from "../../providers/keychain.ts";
import { localKind } from "../../providers/local.ts";
import { vaultKind } from "../../providers/vault.ts";
import { profileJsonSchema } from "../../src/profile/json-schema.ts";
import type { ProviderKind } from "../../src/secrets/provider.ts";
import { safeKind } from "./room.ts";

interface Property {
  description?: string;
  not?: object;
  properties?: Record<string, Property>;
}
interface Definition {
  properties: Record<string, Property>;
}
interface Document {
  definitions: Record<string, Definition>;
}

const kinds = [
  awsKind,
  azureKind,
  commandKind,
  envKind,
  fileKind,
  keychainKind,
  localKind,
  vaultKind,
] as unknown as ProviderKind[];

describe("the JSON Schema", () => {
  it("in docs is what `mcp-run schema` prints", () => {
    const copy = readFileSync(join(import.meta.dirname, "../../docs/mcp-run.schema.json"), "utf8");

    expect(
      JSON.parse(copy),
      "write it anew: node dist/main.cjs schema > docs/mcp-run.schema.json, then npm run format",
    ).toEqual(JSON.parse(JSON.stringify(profileJsonSchema(kinds))));
  });

  it("describes every key", () => {
    const { definitions } = profileJsonSchema([safeKind]) as Document;

    for (const name of ["file", "oneProfileFile", "profile", "secret", "secretsFrom"]) {
      for (const [key, { description }] of Object.entries(definitions[name]?.properties ?? {}))
        expect(description, `${name}.${key}`).toMatch(/^[A-Z].*\.$/);
    }
    const { rotate } = definitions.secret?.properties ?? {};
    for (const inner of [rotate, rotate?.properties?.generate].map((one) => one?.properties ?? {})) {
      expect(Object.keys(inner)).not.toEqual([]);
      for (const [key, { description }] of Object.entries(inner))
        expect(description, `rotate.${key}`).toMatch(/^[A-Z].*\.$/);
    }
    for (const name of ["refresh", "probe", "scrub", "audit"]) {
      const inner = definitions.profile?.properties[name]?.properties ?? {};
      expect(Object.keys(inner)).not.toEqual([]);
      for (const [key, { description }] of Object.entries(inner))
        expect(description, `${name}.${key}`).toMatch(/^[A-Z].*\.$/);
    }
  });

  it("refuses the keys of later versions", () => {
    const { definitions } = profileJsonSchema([]) as Document;

    for (const key of ["rotate"])
      expect(definitions.profile?.properties[key]).toEqual({ not: {}, description: "Not yet supported." });
  });

  it("knows the settings and options of the backends it is given", () => {
    const text = JSON.stringify(profileJsonSchema([safeKind]));

    expect(text).toContain('"type":{"const":"safe"}');
    expect(text).toContain('"mount":{"type":"string","description":"For safe."}');
  });
});
