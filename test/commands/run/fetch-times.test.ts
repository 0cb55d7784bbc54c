import { expect, it } from "vitest";
import { FetchTimes } from "../../../src/commands/run/fetch-times.ts";
import type { Held } from "../../../src/secrets/held.ts";
import type { Resolution, ResolvedSecret } from "../../../src/secrets/resolution.ts";
import { Secret } from "../../../src/secrets/secret.ts";

function found(value: string, version: string): readonly [Resolution, ResolvedSecret] {
  const secret: ResolvedSecret = {
    name: "A",
    value: new Secret(value),
    from: "memory:a",
    version,
    deliver: "env",
    scrub: true,
  };
  return [
    { documents: new Map(), secrets: [secret], failures: [], secretZero: [], held: {} as Held },
    secret,
  ];
}

it("a secret is as old as the look that found it as it is", () => {
  const times = new FetchTimes();
  const [first, one] = found("canary-1", "1");
  const [again, same] = found("canary-1", "1");
  const [renamed, version] = found("canary-1", "2");
  const [changed, value] = found("canary-2", "2");
  times.note(first, 10, undefined);
  times.note(again, 20, first);
  times.note(renamed, 30, again);
  times.note(changed, 40, renamed);

  expect([one, same, version, value].map((secret) => times.of(secret))).toEqual([10, 10, 30, 40]);
});
