/** What backends say of the documents that they are asked for. */
import { ProviderError } from "../errors.ts";
import type { FetchedSecret, RefRequest } from "./provider.ts";

/** What a backend said of one ref. */
export type Answer = FetchedSecret | ProviderError;

/** What one backend has said; a ProviderError if it failed as a whole. */
export type GroupAnswer = ReadonlyMap<RefRequest, Answer> | ProviderError;

/** A provider owes an answer for every ref; one that gives none is broken, and that is said. */
export function noAnswerOr(answer: Answer | undefined): Answer {
  return answer ?? new ProviderError("invalid", "the provider gave no answer for it");
}
