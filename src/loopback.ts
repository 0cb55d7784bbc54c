/** Where nobody else listens: plain text may be spoken there. RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.3. */

/** @param host a name or an address, an IPv6 one with or without brackets */
export function isLoopback(host: string): boolean {
  return /^(?:localhost|127(?:\.\d{1,3}){3}|\[?::1\]?)$/i.test(host);
}
