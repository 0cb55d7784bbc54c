/**
 * What a line of MCP is, as far as a relay has to know: a request, a notification, an answer, a batch of
 * those, or none of them. Bytes are looked at, never re-serialised.
 */
/**
 * `id` is the raw JSON text, as it has to stand in an answer: `5`, `"5"` and `"\u0035"` differ here
 * (`RequestLedger` says when they are the same). An answer to nobody has the id `null`. A line with a
 * method is never a response; an id that is neither a string nor a number is none.
 */
export type Envelope =
  | { readonly type: "request"; readonly id: string; readonly method: string }
  | { readonly type: "notification"; readonly method: string }
  | { readonly type: "response"; readonly id: string; readonly isError: boolean }
  | { readonly type: "batch" }
  | { readonly type: "opaque" };
