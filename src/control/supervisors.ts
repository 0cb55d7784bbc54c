/** Every supervisor of this user at once. One that does not answer is named, and one that has gone is cleared away. */
import { setMaxListeners } from "node:events";
import { pause } from "../clock.ts";
import { type AskOptions, type Outcome, type Question, tryToAsk } from "./client.ts";
import type { ControlPlace } from "./endpoint.ts";
import { type Endpoint, listEndpoints, removeIfStale } from "./endpoint.ts";
import type { RequestType } from "./protocol.ts";

/** So many are asked at the same time. */
const MOST_AT_ONCE = 64;
/** Ms until one is asked again who has a socket, and does not listen to it yet. */
const AGAIN_MS = 50;

export interface Heard<Type extends RequestType> {
  readonly endpoint: Endpoint;
  readonly outcome: Exclude<Outcome<Type>, { type: "absent" }>;
}

/**
 * Asks each the same, the oldest supervisor first in what comes back.
 * Throws McpRunError as listEndpoints does, and the signal's reason.
 *
 * @param options `timeoutMs` is that of each
 */
export async function askAll<Type extends RequestType>(
  place: ControlPlace,
  question: Question<Type>,
  { signal, ...rest }: AskOptions,
): Promise<readonly Heard<Type>[]> {
  const options = { ...rest, signal: AbortSignal.any([signal]) };
  // Every question listens to it, and node would take so many for a leak.
  setMaxListeners(0, options.signal);
  const endpoints = listEndpoints(place);
  const heard: (Heard<Type> | undefined)[] = endpoints.map(() => undefined);
  const left = endpoints.entries();
  const askInTurn = async () => {
    // One iterator for all: each takes what nobody has taken.
    for (const [index, endpoint] of left) heard[index] = await askOne(endpoint, question, options);
  };
  await Promise.all(Array.from({ length: MOST_AT_ONCE }, askInTurn));
  return heard.filter((one) => one !== undefined);
}

async function askOne<Type extends RequestType>(
  endpoint: Endpoint,
  question: Question<Type>,
  options: AskOptions,
): Promise<Heard<Type> | undefined> {
  const { clock, timeoutMs, signal } = options;
  for (const end = clock.monotonic() + timeoutMs; ; await pause(clock, AGAIN_MS, signal)) {
    const outcome = await tryToAsk(endpoint, question, options);
    if (outcome.type !== "absent") return { endpoint, outcome };
    if (removeIfStale(endpoint, clock.now())) return undefined;
    if (clock.monotonic() >= end)
      return { endpoint, outcome: { type: "silent", reason: "it has only just started" } };
  }
}
