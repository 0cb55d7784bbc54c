/**
 * What things are called on the bus: keys of secrets, tokens of hosts, subjects. Nobody can read a ref out of a key, and
 * a secret has the same key on every host, whatever a profile calls its backend.
 */
import { createHash, randomBytes } from "node:crypto";
import { identityOf, type SecretName } from "../../secrets/identity.ts";

/** The KV bucket of the entries, and the stream that holds it. */
export const BUCKET = "mcp-run";
export const BUCKET_STREAM = `KV_${BUCKET}`;
/** The stream of the last report of each supervisor. */
export const REPORTS_STREAM = "mcp-run-hosts";

const KEY = /^k[A-Za-z0-9_-]{26}$/;
const KEY_CHARACTERS = 26;

/** Backends whose secrets no other machine has: never on the bus. */
const OF_ONE_MACHINE: ReadonlySet<string> = new Set([
  "local",
  "keychain",
  "memory",
  "file",
  "env",
  "command",
]);

/** @param type that of a provider (`vault`), not its name in a profile */
export function isOfOneMachine(type: string): boolean {
  return OF_ONE_MACHINE.has(type);
}

/** The key of a secret: by the place where it lies, or by its ref where that is not known. */
export function busKey(name: SecretName): string {
  return `k${createHash("sha256").update(identityOf(name)).digest("base64url").slice(0, KEY_CHARACTERS)}`;
}

export function isBusKey(text: string): boolean {
  return KEY.test(text);
}

/** A host's name as one token of a subject: what can't stand in one becomes `=` and the hex of its UTF-8 bytes. */
export function hostToken(host: string): string {
  const escaped = (character: string) =>
    [...Buffer.from(character)]
      .map((byte) => `=${byte.toString(16).toUpperCase().padStart(2, "0")}`)
      .join("");
  // No host has an empty name, but a token must not be empty either.
  return host.replaceAll(/[^A-Za-z0-9_-]/gu, escaped) || "=";
}

/** The other way round; undefined for what is no host's. */
function hostOfToken(token: string): string | undefined {
  const escaped = /=([0-9A-F]{2})/g;
  const bytes = token.replaceAll(escaped, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  const host = token === "=" ? "" : Buffer.from(bytes, "latin1").toString();
  return hostToken(host) === token ? host : undefined;
}

/** The name of one life of a supervisor. */
export function newInstance(pid: number): string {
  return `${pid}-${randomBytes(6).toString("hex")}`;
}

export const subjects = {
  /** Where an entry is put. */
  put: (key: string) => `$KV.${BUCKET}.${key}`,
  /**
   * Where the server says an entry again, once it is stored. Whoever listens to `put` hears also what was refused
   * because somebody else had been quicker.
   */
  entry: (key: string) => `mcp-run.entry.${key}`,
  /** Asks the server for the entry that is stored. */
  stored: (key: string) => `$JS.API.DIRECT.GET.${BUCKET_STREAM}.$KV.${BUCKET}.${key}`,
  callAll: "mcp-run.call.all",
  call: (key: string) => `mcp-run.call.${key}`,
  report: (host: string, instance: string) => `mcp-run.host.${hostToken(host)}.${instance}`,
  anyReport: "mcp-run.host.*.*",
} as const;

/** Prefix of the subjects on which a host gets its answers: nobody else may listen there. */
export function hostInbox(host: string): string {
  return `_INBOX.${hostToken(host)}`;
}

/** No host can have this one: `=` is always followed by two digits of a byte. */
export const OPERATOR_INBOX = "_INBOX.=operator";

/** Who reports on that subject; undefined for any other. */
export function reportSource(
  subject: string,
): { readonly host: string; readonly instance: string } | undefined {
  const [first, second, token, instance, ...more] = subject.split(".");
  if (first !== "mcp-run" || second !== "host" || !token || !instance || more.length > 0) return undefined;
  const host = hostOfToken(token);
  return host === undefined ? undefined : { host, instance };
}
