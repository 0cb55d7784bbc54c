/** HTTPS_PROXY and NO_PROXY: a tunnel by CONNECT, so that the proxy sees host names and nothing else. */
import type http from "node:http";
import type https from "node:https";
import type net from "node:net";
import tls from "node:tls";
import { HttpsProxyAgent } from "https-proxy-agent";
import { ProviderError } from "../../src/errors.ts";

/** @param noProxy as in the variable; its form is that of curl: names, `.suffix`, `*` and `host:port` */
export function proxyAgent(proxy: string, noProxy: string, options: https.AgentOptions): https.Agent {
  const address = URL.canParse(proxy) ? new URL(proxy) : undefined;
  if (address === undefined || !/^https?:$/.test(address.protocol)) {
    // Not quoted: it may hold a password.
    throw new ProviderError("invalid", "HTTPS_PROXY is no http:// or https:// address", {
      hint: "HTTPS_PROXY=http://HOST:PORT",
    });
  }
  const headers: http.OutgoingHttpHeaders = {};
  if (address.username) {
    const login = `${decodeURIComponent(address.username)}:${decodeURIComponent(address.password)}`;
    headers["Proxy-Authorization"] = `Basic ${Buffer.from(login).toString("base64")}`;
    // The library prints the address when DEBUG is set.
    address.username = "";
    address.password = "";
  }
  return new TunnelAgent(address, noProxy, { ...options, headers }) as unknown as https.Agent;
}

class TunnelAgent extends HttpsProxyAgent<string> {
  readonly #noProxy: string;
  readonly #ca: https.AgentOptions["ca"];

  constructor(
    address: URL,
    noProxy: string,
    options: ConstructorParameters<typeof HttpsProxyAgent<string>>[1],
  ) {
    super(address, options);
    this.#noProxy = noProxy;
    this.#ca = (options as https.AgentOptions).ca;
  }

  override async connect(
    request: http.ClientRequest,
    options: Parameters<HttpsProxyAgent<string>["connect"]>[1],
  ): Promise<net.Socket> {
    const { host = "", port } = options;
    const trust = { rejectUnauthorized: true, ...(this.#ca !== undefined && { ca: this.#ca }) };
    const target = { ...options, ...trust } as typeof options;
    if (!isExempt(host, port, this.#noProxy)) return super.connect(request, target);
    return tls.connect({ servername: host, ...(target as tls.ConnectionOptions) });
  }
}

/** True if NO_PROXY says that this host is reached without the proxy. */
export function isExempt(host: string, port: number | string | undefined, noProxy: string): boolean {
  return noProxy
    .split(/[\s,]+/)
    .filter((entry) => entry !== "")
    .some((entry) => {
      const [, name = "", onlyPort] = /^(.*?)(?::(\d+))?$/.exec(entry.toLowerCase()) ?? [];
      if (onlyPort !== undefined && onlyPort !== String(port)) return false;
      if (name === "*") return true;
      const suffix = name.replace(/^\*?\./, "");
      return host.toLowerCase() === suffix || host.toLowerCase().endsWith(`.${suffix}`);
    });
}
