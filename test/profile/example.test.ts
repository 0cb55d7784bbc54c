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
import { listProfiles, loadProfile } from "../../src/profile/load.ts";
import { readYaml } from "../../src/profile/read-yaml.ts";
import {
  bodySchema,
  fileSchema,
  fleetSchema,
  generateSchema,
  LATER_PROVIDER_TYPES,
  longSecretSchema,
  probeSchema,
  refreshSchema,
  rotateSchema,
  secretsFromSchema,
} from "../../src/profile/schema.ts";
import type { ProviderKind } from "../../src/secrets/provider.ts";
import { errorOf, room } from "./room.ts";

const TEXT = readFileSync(join(import.meta.dirname, "../../mcp-run.example.yaml"), "utf8");
const SCHEMAS = [
  fileSchema,
  fleetSchema,
  bodySchema,
  longSecretSchema,
  rotateSchema,
  generateSchema,
  secretsFromSchema,
  refreshSchema,
  probeSchema,
];
const KINDS = new Map(
  [awsKind, azureKind, commandKind, envKind, fileKind, keychainKind, localKind, vaultKind].map((kind) => [
    kind.name,
    kind as unknown as ProviderKind,
  ]),
);
const kinds = { names: [...KINDS.keys()], load: async (type: string) => KINDS.get(type) };

describe("mcp-run.example.yaml", () => {
  it("loads, every profile of it, with the real backends", async () => {
    const { request, write } = room({ kinds, checkAllProviders: true });
    const configFile = write("example.yaml", TEXT);

    for (const { name } of await listProfiles({ ...request, configFile })) {
      const { profile, warnings } = await loadProfile(name, { ...request, configFile });
      expect(profile.name).toBe(name);
      expect(warnings).toEqual([]);
    }
  });

  it("loads with the line that is left out for Windows", async () => {
    const { request, write } = room({ kinds });
    const configFile = write("example.yaml", TEXT.replace(/^#(?= {5}signal:)/m, " "));

    const { profile } = await loadProfile("database", { ...request, configFile });

    expect(profile.refresh.signal).toBe("SIGHUP");
  });

  it("loads with the bus of a fleet, once that is no comment", async () => {
    const { request, write } = room({ kinds, checkAllProviders: true });
    const configFile = write(
      "example.yaml",
      TEXT.replace(/^# (?=fleet:)/m, "").replace(
        /^# {3}(?=(?:servers|credentials|operator|inventory|host|ca):)/gm,
        "  ",
      ),
    );

    const { profile } = await loadProfile("github", { ...request, configFile });

    expect(Object.keys(profile.fleet ?? {}).sort()).toEqual(
      ["ca", "credentials", "host", "inventory", "operator", "servers"].sort(),
    );
  });

  it("shows every key", () => {
    const keys = SCHEMAS.flatMap((schema) => Object.keys(schema.shape));
    for (const key of keys) expect(TEXT, key).toMatch(new RegExp(`\\b${key}:`));
    for (const type of [...LATER_PROVIDER_TYPES, "vault", "aws-secrets-manager", "azure-key-vault"])
      expect(TEXT).toContain(`type: ${type}`);
  });

  it("is refused for each line that says it is not yet supported, once it is no comment", async () => {
    const { request, write } = room({ kinds, checkAllProviders: true });
    const lines = TEXT.split("\n");
    const later = lines.flatMap((line, index) => (/^#.*:.*# not yet supported/.test(line) ? [index] : []));

    expect(later).toHaveLength(2);
    for (const index of later) {
      const line = lines[index] as string;
      const uncommented = line.replace(/^#/, " ");
      const configFile = write("example.yaml", lines.with(index, uncommented).join("\n"));
      const error = await errorOf(loadProfile("github", { ...request, configFile })).catch(() =>
        errorOf(loadProfile("database", { ...request, configFile })),
      );
      expect(error.details.join("\n"), line).toContain("not yet supported by this version of mcp-run");
    }
  });
});

describe("docs/profiles.md", () => {
  it("holds only YAML that can be read, and names every key", () => {
    const text = readFileSync(join(import.meta.dirname, "../../docs/profiles.md"), "utf8");
    const blocks = [...text.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(([, block = ""]) => block);

    expect(blocks.length).toBeGreaterThan(5);
    for (const block of blocks) expect(readYaml(block).problem, block).toBeUndefined();
    for (const schema of SCHEMAS) {
      for (const key of Object.keys(schema.shape)) expect(text, key).toMatch(new RegExp(`\\b${key}\\b`));
    }
  });
});
