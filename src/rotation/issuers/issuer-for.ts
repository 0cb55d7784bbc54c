/** The issuer that a profile names for a secret. */
import { McpRunError } from "../../errors.ts";
import type { SecretSpec } from "../../secrets/spec.ts";
import type { Issuer } from "../contract.ts";
import type { Ask } from "./ask.ts";
import { BACKEND_ISSUER } from "./backend.ts";
import { consoleIssuer } from "./console.ts";
import { generateIssuer } from "./generate.ts";
import { type HookSurroundings, hookIssuer } from "./hook.ts";

export interface IssuerSurroundings extends HookSurroundings {
  /** Undefined where nobody is there: with `--yes`, or without a terminal. */
  readonly ask: Ask | undefined;
}

/**
 * Throws McpRunError `usage` for a secret without `rotate`.
 *
 * @param secrets all of the profile
 */
export function issuerFor(
  secret: SecretSpec,
  secrets: readonly SecretSpec[],
  around: IssuerSurroundings,
): Issuer {
  const { name, rotate } = secret;
  if (!rotate) {
    throw new McpRunError(
      "usage",
      `Cannot rotate ${name}: the profile does not say where a new one comes from`,
      {
        hint: `\`rotate: { console: URL }\` at ${name}, or \`--from-stdin\``,
      },
    );
  }
  const along = mintedAlong(secret, secrets);
  switch (rotate.source.type) {
    case "generate":
      return generateIssuer(rotate.source.shape);
    case "console":
      return consoleIssuer({ url: rotate.source.url, along }, around.ask);
    case "backend":
      return BACKEND_ISSUER;
    case "hook":
      return hookIssuer(rotate.source, along, around);
  }
}

/** Of the secrets that change with this one those that have no issuer of their own: this one's delivers them. */
export function mintedAlong({ rotate }: SecretSpec, secrets: readonly SecretSpec[]): readonly string[] {
  const own = new Set(secrets.filter((other) => other.rotate).map(({ name }) => name));
  return (rotate?.with ?? []).filter((name) => !own.has(name));
}
