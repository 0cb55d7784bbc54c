/**
 * Resolves everything a profile asks for: backends in parallel, each bounded in time, all or nothing.
 * The steps, in the order of the code: group the refs by backend and fetch each document once; pick the
 * fields; spread `secretsFrom`; fill in the templates; then, if anything is missing, refuse the whole set.
 */
import { McpRunError, ProviderError, worstOf } from "../errors.ts";
import { noAnswerOr } from "./answer.ts";
import { Fetching } from "./fetching.ts";
import { allFields, missingField, pickField } from "./field.ts";
import { fillTemplates } from "./fill-templates.ts";
import {
  type Document,
  type Resolution,
  type ResolvedSecret,
  type ResolveRequest,
  resolvedFrom,
  type SecretFailure,
} from "./resolution.ts";
import type { Secret } from "./secret.ts";
import type { Ref, SecretsFromSpec } from "./spec.ts";
import { withCandidates } from "./with-candidates.ts";

/**
 * Resolves everything, or throws one McpRunError that names every secret that failed. What was lent stays alive
 * until what is held is released.
 */
export async function resolveSecrets(request: ResolveRequest): Promise<Resolution> {
  const fetching = new Fetching(request);
  const outcome = await resolveWith(fetching, request);
  if (outcome.failures.length === 0) {
    return { ...outcome, secretZero: fetching.pool.secretZero, held: fetching.hold(outcome) };
  }
  await fetching.pool.close();
  throw refusal(outcome.failures, request.inUse ? "the old values stay" : "the server was not started");
}

/**
 * Like resolveSecrets, but reports each failure on its own, and holds nothing: what was lent is given back at
 * once. For `check`. Rejects only when aborted.
 */
export async function tryResolveSecrets(request: ResolveRequest): Promise<Omit<Resolution, "held">> {
  const fetching = new Fetching(request);
  const outcome = await resolveWith(fetching, request);
  await fetching.pool.close();
  return { ...outcome, secretZero: fetching.pool.secretZero };
}

/** Rejects only when aborted; then everything is given back. */
async function resolveWith(
  fetching: Fetching,
  request: ResolveRequest,
): Promise<Pick<Resolution, "documents" | "secrets" | "failures">> {
  try {
    const fetched = await fetching.fetch();
    const answers = request.candidates ? withCandidates(fetched, request) : fetched;
    const given = [...answers].filter(
      (entry): entry is [Ref, Document] => !(entry[1] instanceof ProviderError),
    );
    return { documents: new Map(given), ...assemble(answers, request) };
  } catch (error) {
    await fetching.pool.close();
    throw error;
  }
}

function assemble(
  documents: ReadonlyMap<Ref, Document | ProviderError>,
  request: ResolveRequest,
): Pick<Resolution, "secrets" | "failures"> {
  const failures: SecretFailure[] = [];
  const resolved = new Map<string, ResolvedSecret>();

  for (const spec of request.secrets) {
    if (spec.source.type !== "ref") continue;
    const { ref } = spec.source;
    const answer = noAnswerOr(documents.get(ref));
    const value = unlessEmpty(answer instanceof ProviderError ? answer : fieldOf(answer.value, ref));
    if (!(value instanceof ProviderError)) {
      resolved.set(spec.name, resolvedFrom(spec, value, ref.text, answer as Document));
    } else if (!(spec.optional && value.failure === "missing")) {
      failures.push({ name: spec.name, from: ref.text, error: value });
    }
  }

  for (const spec of request.secretsFrom) {
    const answer = noAnswerOr(documents.get(spec.ref));
    for (const outcome of spread(spec, answer)) {
      if ("error" in outcome) failures.push(outcome);
      else if (request.secrets.some(({ name }) => name === outcome.name)) continue;
      else if (resolved.has(outcome.name)) failures.push(twice(outcome, resolved));
      else resolved.set(outcome.name, outcome);
    }
  }

  fillTemplates(request.secrets, resolved, failures);
  return { secrets: [...resolved.values()], failures };
}

/** Which of two documents should win can't be guessed. */
function twice({ name, from }: ResolvedSecret, resolved: ReadonlyMap<string, ResolvedSecret>): SecretFailure {
  const reason = `${resolved.get(name)?.from} gives the same name`;
  return {
    name,
    from,
    error: new ProviderError("invalid", reason, { hint: "a `prefix` for one of the two" }),
  };
}

function fieldOf(document: Secret, ref: Ref): Secret | ProviderError {
  return ref.field ? pickField(document, ref.field) : document;
}

function* spread(
  spec: SecretsFromSpec,
  answer: Document | ProviderError,
): Generator<ResolvedSecret | SecretFailure> {
  const from = spec.ref.text;
  const step = spec.ref.field ? "." : "#";
  const source = answer instanceof ProviderError ? answer : fieldOf(answer.value, spec.ref);
  const fields = source instanceof ProviderError ? source : allFields(source);
  if (fields instanceof ProviderError) {
    if (!(spec.optional && fields.failure === "missing"))
      yield { name: `${spec.prefix}*`, from, error: fields };
    return;
  }
  // A field that is named is wanted; of the others those are taken that have a value.
  const mayBeAbsent = spec.optional || spec.only === undefined;
  for (const key of spec.only ?? fields.keys()) {
    const name = spec.prefix + key;
    const value = unlessEmpty(fields.get(key) ?? missingField([...fields.keys()], key));
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      yield {
        name,
        from,
        error: new ProviderError("invalid", `"${name}" can't be the name of a variable`, {
          hint: "only: with the fields that the server needs",
        }),
      };
    } else if (!(value instanceof ProviderError)) {
      yield resolvedFrom({ name, deliver: "env", scrub: true }, value, from + step + key, answer as Document);
    } else if (!(mayBeAbsent && value.failure === "missing")) {
      yield { name, from, error: value };
    }
  }
}

function refusal(failures: readonly SecretFailure[], consequence: string): McpRunError {
  const errors = failures.map(failureOf);
  const [first, ...others] = errors;
  if (first && others.length === 0) return first;
  const code = worstOf(errors.map((error) => error.code)) ?? "secret-invalid";
  return new McpRunError(code, `Cannot read ${errors.length} secrets, so ${consequence}`, {
    details: errors.map(({ message, hint }) => (hint ? `${message}. Try ${hint}.` : `${message}.`)),
  });
}

function failureOf({ name, from, error }: SecretFailure): McpRunError {
  const where = from === "template" ? "its template" : from;
  return new McpRunError(error.code, `Cannot read secret ${name} from ${where}: ${error.reason}`, {
    ...(error.hint && { hint: error.hint }),
    details: error.details,
  });
}

function unlessEmpty(value: Secret | ProviderError): Secret | ProviderError {
  if (value instanceof ProviderError || !value.isEmpty) return value;
  return new ProviderError("missing", "the value is empty", {
    hint: "storing a value there, or optional: true",
  });
}
