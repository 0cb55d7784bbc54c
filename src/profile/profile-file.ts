/**
 * One file, read and taken apart: either many profiles under `profiles:`, or one profile whose keys stand at
 * the top. Nothing inside a profile is looked at here.
 */
import { basename } from "node:path";
import { McpRunError } from "../errors.ts";
import type { DocumentPath, Finding, Findings } from "./findings.ts";
import { readYaml } from "./read-yaml.ts";
import type { ProfileRequest } from "./request.ts";
import { bodySchema, fileSchema, oneProfileFileSchema, providerEntrySchema } from "./schema.ts";
import { findingsOfIssues } from "./schema-findings.ts";
import { readTrustedFile } from "./trusted-file.ts";
import { kindOfValue } from "./wording.ts";
import type { YamlDocument } from "./yaml-document.ts";

export interface ProfileFile {
  readonly file: string;
  readonly document: YamlDocument;
  readonly root: Readonly<Record<string, unknown>>;
  readonly isOneProfile: boolean;
  /** The profiles by name. */
  readonly bodies: ReadonlyMap<string, RawBody>;
}

export interface RawBody {
  readonly value: unknown;
  readonly path: DocumentPath;
}

/** What may stand beside a profile's own keys in a file of one profile. */
const KEYS_OF_FILE = ["version", "providers", "fleet"] as const;

/**
 * Reads a file; undefined if there is none. Throws McpRunError.
 *
 * @param form `one` for a file of the `profiles` folder; `any` decides by what is there
 */
export async function readProfileFile(
  file: string,
  form: "one" | "any",
  request: ProfileRequest,
): Promise<ProfileFile | undefined> {
  const source = readTrustedFile(file, request);
  if (source === undefined) return undefined;
  const { document, problem } = readYaml(source);
  if (!document) throw await unreadable(file, source, problem);
  if (document.value === null) {
    throw await unreadable(
      file,
      source,
      atTop("the file is empty", "`mcp-run init`, which writes a profile to begin with"),
    );
  }
  if (!isMapping(document.value)) {
    const kind = kindOfValue(document.value);
    throw await unreadable(
      file,
      source,
      atTop(`the file must hold a mapping, not ${kind}`, "`version: 1` and `profiles:` at the top"),
    );
  }
  const root = document.value;
  const isOneProfile = form === "one" || (!("profiles" in root) && "command" in root);
  const bodies = isOneProfile ? [[nameOfFile(file), bodyOfOne(root)] as const] : bodiesOfMany(root);
  return { file, document, root, isOneProfile, bodies: new Map(bodies) };
}

/** What is wrong outside the profiles. */
export function checkTop({ root, isOneProfile }: ProfileFile, findings: Findings): void {
  if (isOneProfile && "profiles" in root) {
    findings.error({ path: ["profiles"], part: "key" }, "a file of the `profiles` folder holds one profile", {
      hint: "its keys (`command`, `args`, …) at the top, without `profiles:`",
    });
  }
  const schema = isOneProfile ? oneProfileFileSchema : fileSchema;
  const value = isOneProfile ? pick(root, (key) => isKeyOfFile(key)) : root;
  const result = schema.safeParse(value, { jitless: true });
  if (result.success) return;
  for (const finding of findingsOfIssues(result.error.issues, { value, schema, base: [] })) {
    const misplaced = isOneProfile ? undefined : misplacedKey(finding);
    findings.errors.push(
      misplaced
        ? { ...finding, hint: `\`${misplaced}\` inside a profile: below \`profiles: NAME:\`` }
        : finding,
    );
  }
}

/** Entries of `providers:` that have the right shape; the others are reported by checkTop. */
export function providerEntries({
  root,
}: ProfileFile): ReadonlyMap<string, Readonly<Record<string, unknown>>> {
  const providers = isMapping(root.providers) ? root.providers : {};
  return new Map(
    Object.entries(providers).filter(
      (entry): entry is [string, Record<string, unknown>] =>
        providerEntrySchema.safeParse(entry[1], { jitless: true }).success,
    ),
  );
}

export function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The error for all findings of a file, with their excerpts. */
export async function refusalOf(
  file: string,
  positions: Pick<YamlDocument, "source" | "spanOf">,
  { errors, warnings }: Pick<Findings, "errors" | "warnings">,
): Promise<McpRunError> {
  const { renderDiagnostics } = await import("./render-diagnostics.ts");
  const { count, lines } = renderDiagnostics(file, positions, errors, warnings);
  return new McpRunError(
    "profile-invalid",
    `Cannot load ${file}: ${count === 1 ? "1 error" : `${count} errors`}`,
    {
      details: lines,
    },
  );
}

async function unreadable(file: string, source: string, problem: Finding): Promise<McpRunError> {
  const { offsetsOnly } = await import("./render-diagnostics.ts");
  return refusalOf(file, offsetsOnly(source), { errors: [problem], warnings: [] });
}

function atTop(message: string, hint: string): Finding {
  return { place: { offset: 0, end: 1 }, message, hint };
}

function nameOfFile(file: string): string {
  return basename(file).replace(/\.ya?ml$/, "");
}

function bodyOfOne(root: Readonly<Record<string, unknown>>): RawBody {
  return { value: pick(root, (key) => !isKeyOfFile(key) && key !== "profiles"), path: [] };
}

function bodiesOfMany(root: Readonly<Record<string, unknown>>): (readonly [string, RawBody])[] {
  const profiles = isMapping(root.profiles) ? root.profiles : {};
  return Object.entries(profiles).map(([name, value]) => [name, { value, path: ["profiles", name] }]);
}

function isKeyOfFile(key: string): boolean {
  return KEYS_OF_FILE.some((known) => known === key);
}

function pick(
  record: Readonly<Record<string, unknown>>,
  wanted: (key: string) => boolean,
): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).filter(([key]) => wanted(key)));
}

/** The key, if an unknown key at the top is one of a profile. */
function misplacedKey({ place, message }: Finding): string | undefined {
  const key = "path" in place && place.path.length === 1 ? String(place.path[0]) : "";
  return message.startsWith("unknown key") && Object.hasOwn(bodySchema.shape, key) ? key : undefined;
}
