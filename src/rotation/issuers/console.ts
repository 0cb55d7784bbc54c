/**
 * Keys that a person makes in a web console, as most services want it: the address is shown, the new value is read
 * without an echo and confirmed by what can be seen of it.
 */
import { McpRunError } from "../../errors.ts";
import { escapeControl } from "../../escape.ts";
import type { Secret } from "../../secrets/secret.ts";
import type { Issuer } from "../contract.ts";
import type { Ask } from "./ask.ts";

/** How often a value may be entered before that is given up. */
const ATTEMPTS = 5;

export interface ConsoleOptions {
  /** Where the keys are made. */
  readonly url: string;
  /** Other secrets whose values come with the key. */
  readonly along: readonly string[];
}

/** @param ask without a person every mint is refused */
export function consoleIssuer({ url, along }: ConsoleOptions, ask: Ask | undefined): Issuer {
  const place = escapeControl(url, " ");
  return {
    kind: "console",
    async mint({ secret }, signal) {
      if (!ask) {
        throw new McpRunError(
          "usage",
          `Cannot mint a new ${secret}: a person makes it at ${place}, and nobody is there to be asked`,
          { hint: "a terminal, or `--from-stdin`" },
        );
      }
      ask.tell(`Make a new ${[secret, ...along].join(" and ")} at ${place}`);
      const value = await confirmed(ask, secret, signal);
      const others = new Map<string, Secret>();
      for (const name of along) others.set(name, await confirmed(ask, name, signal));
      return { value, ...(others.size > 0 && { along: others }) };
    },
    // A key that was made and not entered is known to that person only.
    find: async () => undefined,
    // That, too, a person does there: whoever asks for it asks the person.
    revoke: async () => "unknown",
    verify: async () => "unknown",
  };
}

async function confirmed(ask: Ask, name: string, signal: AbortSignal): Promise<Secret> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const value = await ask.secret(`New ${name} (not shown): `, signal);
    if (value.isEmpty) ask.tell("Nothing was entered");
    else if (await ask.confirm(`${name}: ${looksOf(value, ask)}. Is that all of it?`, signal)) return value;
  }
  throw new McpRunError(
    "usage",
    `Cannot mint a new ${name}: no value was confirmed in ${ATTEMPTS} attempts`,
    {
      hint: "piping it in with `--from-stdin`",
    },
  );
}

/** What tells a person whether it was pasted well. */
function looksOf(value: Secret, ask: Ask): string {
  const text = value.reveal();
  const length = [...text].length;
  const oddities = [
    ...(text.trim() === text ? [] : ["a space at its beginning or end"]),
    // What a terminal sends for a key that is no character.
    ...(/\p{Cc}/u.test(text) ? ["control characters in it"] : []),
  ];
  const seen = `${length} character${length === 1 ? "" : "s"}, fingerprint ${ask.fingerprint(value)}`;
  return [seen, ...oddities].join(", with ");
}
