/** An agent whose connections go through a proxy; loaded where there is one. */
import type http from "node:http";
import { HttpsProxyAgent } from "https-proxy-agent";
import type { ProxySettings } from "./proxy.ts";

export function tunnelAgent({ address, headers }: ProxySettings, maxSockets: number): http.Agent {
  return new HttpsProxyAgent(address, { keepAlive: true, maxSockets, headers: { ...headers } });
}
