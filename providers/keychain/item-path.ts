/**
 * The path of a keychain ref: `SERVICE[/ACCOUNT]`, cut at the first `/`; a `/` inside SERVICE is written `\/`.
 * One item has one path: the account is left out where it is the login name.
 */

const PATH = /^((?:[^/\\]|\\\/|\\(?!\/))+)(?:\/(.+))?$/s;

/** Undefined for a path without a service, or with an account of no characters. */
export function parseItemPath(
  path: string,
): { readonly service: string; readonly account: string | undefined } | undefined {
  const [, service, account] = PATH.exec(path) ?? [];
  if (service === undefined || path.includes("\0")) return undefined;
  return { service: service.replaceAll("\\/", "/"), account };
}

/** The one path under which an item is listed. */
export function itemPath(
  { service, account }: { readonly service: string; readonly account: string },
  loginName: string,
): string {
  const escaped = service.replaceAll("/", "\\/");
  return account === loginName ? escaped : `${escaped}/${account}`;
}

/** Where an item lies: in the keychain of one machine. */
export function itemPlace(
  host: string,
  { service, account }: { readonly service: string; readonly account: string },
): string {
  // Half of a surrogate pair can't be encoded; as UTF-8 it is another character.
  const encoded = (part: string) => encodeURIComponent(Buffer.from(part).toString());
  return `keychain://${[host.toLowerCase(), service, account].map(encoded).join("/")}`;
}
