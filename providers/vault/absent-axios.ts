/**
 * Stands in the bundle for axios, which node-vault loads for requests that it makes itself. Ours go another way
 * (exchange.ts), and a library of 30 ms that nobody calls would be on the way of every start.
 */
export function create(): never {
  throw new Error("node-vault was to make a request by itself");
}
