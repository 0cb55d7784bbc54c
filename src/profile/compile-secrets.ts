/**
 * The part of a profile that names its secrets. Refs are taken apart and noted for the check of their
 * providers; what they lead to is known only when they are fetched.
 */
import type { RefRequest } from "../secrets/provider.ts";
import { parseRef } from "../secrets/ref.ts";
import type { Ref, SecretSpec, SecretsFromSpec } from "../secrets/spec.ts";
import { type Compilation, expanded, textOf } from "./compilation.ts";
import { compileRotation } from "./compile-rotation.ts";
import { findCredential } from "./credential-literals.ts";
import type { DocumentPath } from "./findings.ts";
import { checkArguments } from "./literals.ts";
import type { ProviderUse } from "./provider-uses.ts";
import {
  type LongSecret,
  longSecretSchema,
  PROVIDER_NAME,
  type Scalar,
  type SecretsFromEntry,
} from "./schema.ts";
import { unknownKey } from "./schema-findings.ts";
import { withoutVariables } from "./variables.ts";

export interface SecretsPart {
  readonly secrets: readonly SecretSpec[];
  readonly secretsFrom: readonly SecretsFromSpec[];
  readonly uses: readonly ProviderUse[];
}

export function compileSecrets(compilation: Compilation): SecretsPart {
  const { body, pathOf } = compilation;
  const uses: ProviderUse[] = [];
  const secrets = Object.entries(body.secrets ?? {}).flatMap(([name, entry]) => {
    const path = pathOf("secrets", name);
    const spec =
      typeof entry === "string"
        ? shortSecret(name, entry, path, uses, compilation)
        : longSecret(name, entry, path, uses, compilation);
    return spec ? [spec] : [];
  });
  const secretsFrom = (body.secretsFrom ?? []).flatMap((entry, index) => {
    const spec = manySecrets(entry, pathOf("secretsFrom", index), uses, compilation);
    return spec ? [spec] : [];
  });
  return { secrets, secretsFrom, uses };
}

function shortSecret(
  name: string,
  text: string,
  path: DocumentPath,
  uses: ProviderUse[],
  compilation: Compilation,
): SecretSpec | undefined {
  const ref = refAt(text, name, path, compilation);
  if (!ref) return undefined;
  uses.push({ ref, path });
  return { name, source: { type: "ref", ref }, optional: false, deliver: "env", scrub: true };
}

/** What a slip may have meant, besides the options of the provider. */
const KEYS_OF_REF = ["optional", "deliver", "scrub", "maxAge", "rotate"];
const KEYS_OF_SECRETS_FROM = ["from", "prefix", "only", "optional"];

const SOURCES = ["from", "template", "command"] as const;

function longSecret(
  name: string,
  entry: LongSecret,
  path: DocumentPath,
  uses: ProviderUse[],
  compilation: Compilation,
): SecretSpec | undefined {
  const { findings } = compilation;
  const [kind, second] = SOURCES.filter((key) => entry[key] !== undefined);
  if (kind === undefined) {
    findings.error({ path, part: "key" }, `\`${name}\` needs one of \`from\`, \`template\` and \`command\``);
    return undefined;
  }
  if (second !== undefined) {
    findings.error(
      { path: [...path, second], part: "key" },
      `\`${name}\` has both \`${kind}\` and \`${second}\``,
      {
        hint: "one of them",
      },
    );
  }
  const source =
    kind === "template"
      ? templateSource(entry, path, compilation)
      : refSource(name, kind, entry, path, uses, compilation);
  const rotation = compileRotation(name, kind, entry, path, compilation);
  if (!source) return undefined;
  const { optional = false, deliver = "env", scrub = true } = entry;
  return { name, source, optional, deliver, scrub, ...rotation };
}

function templateSource(
  entry: LongSecret,
  path: DocumentPath,
  compilation: Compilation,
): SecretSpec["source"] {
  const known = Object.keys(longSecretSchema.shape);
  for (const key of Object.keys(optionsOf(entry))) {
    const place = [...path, key];
    if (known.includes(key)) {
      compilation.findings.error(
        { path: place, part: "key" },
        `\`${key}\` has no meaning beside \`template\``,
      );
    } else
      compilation.findings.errors.push(unknownKey(key, place, ["template", "optional", "deliver", "scrub"]));
  }
  const at = [...path, "template"];
  return {
    type: "template",
    template: expanded(withoutVariables(entry.template ?? "", "a template"), at, compilation),
  };
}

function refSource(
  name: string,
  kind: "from" | "command",
  entry: LongSecret,
  path: DocumentPath,
  uses: ProviderUse[],
  compilation: Compilation,
): SecretSpec["source"] | undefined {
  const at = [...path, kind];
  const base =
    kind === "from"
      ? refAt(entry.from ?? "", name, at, compilation)
      : commandRef(entry.command ?? [], at, compilation);
  if (!base) return undefined;
  const ref = withOptions(base, entry.version, optionsOf(entry), path, compilation);
  uses.push({ ref, path: at, entry: path, keys: [kind, ...KEYS_OF_REF] });
  return { type: "ref", ref };
}

function manySecrets(
  entry: SecretsFromEntry,
  path: DocumentPath,
  uses: ProviderUse[],
  compilation: Compilation,
): SecretsFromSpec | undefined {
  const { from, version, prefix = "", only, optional = false, ...options } = entry;
  if (only === undefined && prefix === "") {
    compilation.findings.error(
      { path },
      "an entry of `secretsFrom` needs `prefix` or `only`: the backend must not choose every name",
      {
        hint: "`prefix: APP_`, or `only: [NAME, OTHER]`",
      },
    );
  }
  const at = [...path, "from"];
  const base = refAt(from, "from", at, compilation);
  if (!base) return undefined;
  const ref = withOptions(base, version, options, path, compilation);
  uses.push({ ref, path: at, entry: path, keys: KEYS_OF_SECRETS_FROM });
  return { ref, prefix, ...(only && { only }), optional };
}

function withOptions(
  ref: Ref,
  version: Scalar | undefined,
  options: Readonly<Record<string, unknown>>,
  path: DocumentPath,
  compilation: Compilation,
): Ref {
  const request: RefRequest = {
    ...options,
    ...ref.request,
    ...(version !== undefined && { version: textOf(version, [...path, "version"], compilation) }),
  };
  return { ...ref, request };
}

/** What the long form leaves to the provider. */
function optionsOf(entry: LongSecret): Readonly<Record<string, unknown>> {
  const { from, template, command, version, optional, deliver, scrub, maxAge, rotate, kind, ...options } =
    entry;
  return options;
}

function commandRef(command: readonly Scalar[], path: DocumentPath, compilation: Compilation): Ref {
  const argv = command.map((word, index) => {
    const at = [...path, index];
    return expanded(withoutVariables(textOf(word, at, compilation), "`command`"), at, compilation);
  });
  checkArguments(argv, "command", (index) => [...path, index], compilation);
  const [program = ""] = argv;
  return { provider: "command", request: { path: program, command: argv }, text: `command:${program}` };
}

/** Reports what is no ref without ever quoting it: it may be the secret itself. */
function refAt(written: string, name: string, path: DocumentPath, compilation: Compilation): Ref | undefined {
  const { findings, providerWords } = compilation;
  const text = expanded(withoutVariables(written, "a ref"), path, compilation);
  const parsed = parseRef(text);
  const head = text.slice(0, Math.max(0, text.indexOf(":")));
  if (parsed.ok && (providerWords.includes(head) || !findCredential(text))) return parsed.ref;
  const reason = parsed.ok
    ? "it looks like the value itself"
    : head !== "" && !PROVIDER_NAME.test(head)
      ? "what stands before its colon is no provider's name"
      : parsed.reason;
  findings.error({ path }, `\`${name}\` must be a ref: ${reason}`, {
    hint: `\`mcp-run secrets set local:${name}\` if this is the value, and \`local:${name}\` here`,
    hidesValue: true,
  });
  return undefined;
}
