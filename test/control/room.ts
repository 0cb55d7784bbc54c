/** A folder for sockets, and supervisors in this process that answer there. */
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../src/clock.ts";
import type { ControlPlace, Endpoint } from "../../src/control/endpoint.ts";
import { type ControlHandlers, ControlServer } from "../../src/control/server.ts";
import { statusOf } from "./status.ts";

export class ControlRoom {
  readonly home = mkdtempSync(join(tmpdir(), "mcp-run-control-"));
  readonly place: ControlPlace = {
    folder: join(this.home, "run"),
    platform: process.platform,
    uid: process.getuid?.(),
    loginName: () => "somebody",
  };
  readonly #servers: ControlServer[] = [];
  readonly #sockets: Socket[] = [];

  /** @param pid any number will do: nobody looks at the process of a socket that answers */
  async serve(
    pid: number,
    handlers: ControlHandlers = { status: () => ({ status: statusOf(pid) }) },
    clock = systemClock,
  ): Promise<ControlServer> {
    const scrub = (text: string) => text.replaceAll(/canary-\w+/g, "[mcp-run:T]");
    const server = await ControlServer.listen({ place: this.place, pid, clock, handlers, scrub });
    this.#servers.push(server);
    return server;
  }

  /** A peer that says what the test wants. */
  peer({ path }: Endpoint): RawPeer {
    const socket = connect(path);
    this.#sockets.push(socket);
    return new RawPeer(socket);
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    for (const server of this.#servers) await server.close();
    rmSync(this.home, { recursive: true, force: true });
  }
}

export class RawPeer {
  readonly socket: Socket;
  /** What it was told, once the other side has hung up. */
  readonly told: Promise<string>;

  constructor(socket: Socket) {
    this.socket = socket;
    this.told = new Promise((resolve) => {
      let text = "";
      socket.on("data", (chunk) => {
        text += chunk;
      });
      socket.on("error", () => undefined);
      socket.once("close", () => resolve(text));
    });
  }

  /** Says it all at once; resolves with what it was told. */
  async says(text: string | Uint8Array): Promise<string> {
    this.socket.write(text);
    return this.told;
  }
}
