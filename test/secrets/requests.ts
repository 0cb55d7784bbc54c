/** What the tests of the resolver ask for, in few words. */
import { expect } from "vitest";
import { McpRunError } from "../../src/errors.ts";
import { parseRef } from "../../src/secrets/ref.ts";
import type { ResolveRequest } from "../../src/secrets/resolution.ts";
import type { Ref, SecretSpec } from "../../src/secrets/spec.ts";
import { testContext } from "../helpers/provider-context.ts";
import { kindsOf } from "../helpers/scripted-backend.ts";

export function ref(text: string): Ref {
  const parsed = parseRef(text);
  if (!parsed.ok) throw new Error(parsed.reason);
  return parsed.ref;
}

export function secret(name: string, from: string, rest: Partial<SecretSpec> = {}): SecretSpec {
  return {
    name,
    source: { type: "ref", ref: ref(from) },
    optional: false,
    deliver: "env",
    scrub: true,
    ...rest,
  };
}

export function template(name: string, text: string, rest: Partial<SecretSpec> = {}): SecretSpec {
  return { ...secret(name, "x:y", rest), source: { type: "template", template: text } };
}

export function request(
  backends: readonly { readonly name: string }[],
  rest: Partial<ResolveRequest> = {},
): ResolveRequest {
  const { name: _name, resolveRef: _resolveRef, events: _events, ...context } = testContext();
  return {
    secrets: [],
    secretsFrom: [],
    providers: new Map(),
    kinds: kindsOf(...backends),
    context,
    timeoutMs: 10_000,
    signal: new AbortController().signal,
    ...rest,
  };
}

export function valuesOf({ secrets }: { secrets: readonly { name: string; value: { reveal(): string } }[] }) {
  return Object.fromEntries(secrets.map(({ name, value }) => [name, value.reveal()]));
}

export async function failure(work: Promise<unknown>): Promise<McpRunError> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(McpRunError);
  return error as McpRunError;
}
