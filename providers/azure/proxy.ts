/** HTTPS_PROXY and NO_PROXY: a tunnel by CONNECT, in which the proxy sees the name of a host and nothing else. */
import { ProviderError } from "../../src/errors.ts";

export interface ProxySettings {
  /** Without the login. */
  readonly address: URL;
  /** `Proxy-Authorization`, where the variable holds a login. */
  readonly headers: Readonly<Record<string, string>>;
  /** Hosts that are reached without it. */
  readonly except: string;
}

/**
 * Undefined where the environment names no proxy; a variable in small letters counts first, as in curl. Throws
 * ProviderError `invalid` for an address that is none, without repeating it.
 */
export function proxySettings(env: Readonly<Record<string, string>>): ProxySettings | undefined {
  const text = env.https_proxy || env.HTTPS_PROXY;
  if (!text) return undefined;
  const address = URL.canParse(text) ? new URL(text) : undefined;
  if (!address || !/^https?:$/.test(address.protocol)) throw noProxyAddress();
  const headers: Record<string, string> = {};
  if (address.username) {
    const login = `${decodeURIComponent(address.username)}:${decodeURIComponent(address.password)}`;
    headers["Proxy-Authorization"] = `Basic ${Buffer.from(login).toString("base64")}`;
    // The library prints the address when DEBUG is set.
    address.username = "";
    address.password = "";
  }
  return { address, headers, except: env.no_proxy || env.NO_PROXY || "" };
}

export function noProxyAddress(): ProviderError {
  return new ProviderError("invalid", "a variable for a proxy (HTTPS_PROXY, ALL_PROXY) holds no address", {
    hint: "HTTPS_PROXY=http://HOST:PORT",
  });
}

/** True if NO_PROXY says so: names, `.suffix`, `*`, each perhaps with a port. */
export function isExcepted(url: URL, { except }: ProxySettings): boolean {
  const host = url.hostname.toLowerCase();
  return except
    .toLowerCase()
    .split(/[\s,]+/)
    .some((entry) => {
      const [, name = "", port] = /^(.*?)(?::(\d+))?$/.exec(entry) ?? [];
      if (name === "" || (port !== undefined && port !== (url.port || "443"))) return false;
      const suffix = name.replace(/^\*?\./, "");
      return name === "*" || host === suffix || host.endsWith(`.${suffix}`);
    });
}
