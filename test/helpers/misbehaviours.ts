/** What a server can do instead of giving a good answer, and what a provider has to make of it. */
import type { ProviderFailure } from "../../src/errors.ts";
import {
  type Answer,
  answers,
  type Behaviour,
  diesHalfWay,
  drips,
  endless,
  json,
  type Received,
  silent,
} from "./hostile-server.ts";

export interface Misbehaviour {
  readonly name: string;
  /** What is done instead of giving the good answer. */
  of(good: Answer, request: Received): Behaviour;
  readonly failures: readonly ProviderFailure[];
  /** What the error has to name. */
  readonly says?: RegExp;
  /** The caller's deadline may be all that ends it. */
  readonly untilDeadline?: boolean;
}

/** @param forbidden a backend's own way to say 403; without it a plain JSON object */
export function misbehaviours(forbidden?: Answer): readonly Misbehaviour[] {
  return [
    { name: "is silent", of: () => silent, failures: ["unavailable"], untilDeadline: true },
    {
      name: "drips",
      of: (good) => drips({ ...good, body: padded(good) }, 100),
      failures: ["unavailable"],
      untilDeadline: true,
    },
    { name: "dies half-way", of: (good) => diesHalfWay(filled(good)), failures: ["unavailable"] },
    {
      name: "never ends its answer",
      of: () => endless({ ...json({}), body: '{"data":{"value":"' }),
      failures: ["unavailable", "invalid"],
      untilDeadline: true,
    },
    {
      name: "answers 503",
      of: (_good, request) => answers(echo(503, request)),
      failures: ["unavailable"],
      says: /503/,
    },
    {
      name: "answers 403",
      of: (_good, request) => answers(forbidden ?? echo(403, request)),
      failures: ["denied"],
      says: /403/,
    },
    {
      name: "answers HTML with status 200",
      of: (_good, request) => answers({ ...page(request), headers: { "content-type": "text/html" } }),
      failures: ["invalid"],
    },
    {
      name: "answers HTML that says it is JSON",
      of: (_good, request) => answers({ ...page(request), headers: { "content-type": "application/json" } }),
      failures: ["invalid"],
    },
    { name: "answers an array", of: () => answers(json(["canary-array"])), failures: ["invalid"] },
    {
      name: "answers half a JSON document",
      of: (good) => answers({ ...json({}), body: filled(good).body.slice(0, -2) }),
      failures: ["invalid"],
    },
    { name: "answers nothing with status 200", of: () => answers({}), failures: ["invalid"] },
  ];
}

/** An error page of a proxy that repeats what it was sent: whoever quotes the page gives the token away. */
function echo(status: number, { headers, body }: Received): Answer {
  return json({ message: "canary-message", headers, body }, status);
}

function page({ headers, body }: Received): Answer {
  return { body: `<html><title>canary-page</title><pre>${JSON.stringify(headers)}${body}</pre></html>` };
}

/** The same with a body where it had none. */
function filled(good: Answer) {
  return { ...good, body: good.body || '{"value":"canary-filled"}' };
}

/** A body that takes longer than any deadline, drop by drop. */
function padded({ body = "" }: Answer): string {
  return `${" ".repeat(100_000)}${body}`;
}
