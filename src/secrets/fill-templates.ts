/** Fills the templates of a profile out of the secrets that they name. */
import { ProviderError } from "../errors.ts";
import { type ResolvedSecret, resolvedFrom, type SecretFailure } from "./resolution.ts";
import { Secret } from "./secret.ts";
import type { SecretSpec } from "./spec.ts";
import { parseTemplate, renderTemplate } from "./template.ts";

/** Fills templates in the order they need each other; an absent optional secret makes an optional template absent. */
export function fillTemplates(
  specs: readonly SecretSpec[],
  resolved: Map<string, ResolvedSecret>,
  failures: SecretFailure[],
): void {
  const templates = new Map(
    specs.flatMap((spec) => (spec.source.type === "template" ? [[spec.name, spec]] : [])),
  );
  const underWay: string[] = [];

  /** A name on a circle is met twice; the circle itself is the better reason, and it is noted first. */
  const noteOnce = (failure: SecretFailure) => {
    if (!failures.some(({ name }) => name === failure.name)) failures.push(failure);
  };

  /** The value of a name; undefined if it is absent; an error is noted once, where it arises. */
  const valueNamed = (name: string): Secret | ProviderError | undefined => {
    const known = resolved.get(name);
    if (known) return known.value;
    const failed = failures.find((failure) => failure.name === name);
    if (failed) return failed.error;
    const spec = templates.get(name);
    if (spec?.source.type !== "template") return undefined;
    const value = underWay.includes(name) ? circle([...underWay, name]) : fill(spec, spec.source.template);
    if (value instanceof ProviderError) noteOnce({ name, from: "template", error: value });
    else if (value) resolved.set(name, resolvedFrom(spec, value, "template"));
    return value;
  };

  const fill = (spec: SecretSpec, template: string): Secret | ProviderError | undefined => {
    const parsed = parseTemplate(template);
    if (!parsed.ok) return new ProviderError("invalid", parsed.reason);
    underWay.push(spec.name);
    try {
      const values = new Map<string, string>();
      for (const part of parsed.parts) {
        if (typeof part === "string" || values.has(part.name)) continue;
        const value = valueNamed(part.name);
        if (value instanceof ProviderError)
          return new ProviderError(value.failure, `it needs ${part.name}, which failed`);
        if (value) values.set(part.name, value.reveal());
        else if (spec.optional) return undefined;
        else return new ProviderError("missing", `it needs ${part.name}, which is absent`);
      }
      return new Secret(renderTemplate(parsed.parts, (name) => values.get(name) ?? ""));
    } finally {
      underWay.pop();
    }
  };

  for (const name of templates.keys()) valueNamed(name);
}

function circle(names: readonly string[]): ProviderError {
  return new ProviderError("invalid", `its templates need each other in a circle: ${names.join(" -> ")}`);
}
