/** A proxy on loopback that knows CONNECT, and remembers who came by and what it could read. */
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import type { Duplex } from "node:stream";

export class ConnectProxy {
  /** `127.0.0.1:PORT`. */
  address = "";
  readonly tunnels: { readonly to: string; readonly login: string | undefined }[] = [];
  /** Everything that went through, as far as it can be read from outside. */
  seen = "";
  wantsLogin = false;
  readonly #open = new Set<Duplex>();
  readonly #server: Server = createServer();

  static async start(): Promise<ConnectProxy> {
    const proxy = new ConnectProxy();
    proxy.#server.on("connect", ({ url = "", headers }, client) => {
      proxy.tunnels.push({ to: url, login: headers["proxy-authorization"] });
      if (proxy.wantsLogin) {
        client.end("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
        return;
      }
      const { hostname, port } = new URL(`http://${url}`);
      const through = connect(Number(port), hostname, () => {
        client.write("HTTP/1.1 200 Connection established\r\n\r\n");
        client.pipe(through).pipe(client);
      });
      client.on("data", (chunk) => {
        proxy.seen += chunk.toString("latin1");
      });
      proxy.#open.add(client);
      client.once("close", () => {
        proxy.#open.delete(client);
        through.destroy();
      });
      for (const socket of [client, through]) socket.on("error", () => socket.destroy());
    });
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    proxy.address = `127.0.0.1:${(proxy.#server.address() as AddressInfo).port}`;
    return proxy;
  }

  get openTunnels(): number {
    return this.#open.size;
  }

  async stop(): Promise<void> {
    for (const socket of this.#open) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
