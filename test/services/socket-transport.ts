/** The MCP SDK's transport over a Unix socket: lines of JSON, as a server on stdio speaks them. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { ReadBuffer, serializeMessage } from "@modelcontextprotocol/sdk/shared/stdio.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import type { JSONRPCMessage } from "@modelcontextprotocol/sdk/types.js";

export class SocketTransport implements Transport {
  onmessage?: (message: JSONRPCMessage) => void;
  onclose?: () => void;
  onerror?: (error: Error) => void;
  readonly #path: string;
  readonly #received = new ReadBuffer();
  #socket: Socket | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  async start(): Promise<void> {
    const socket = connect(this.#path);
    this.#socket = socket;
    socket.on("data", (chunk) => {
      this.#received.append(chunk);
      for (let message = this.#received.readMessage(); message; message = this.#received.readMessage())
        this.onmessage?.(message);
    });
    socket.once("close", () => this.onclose?.());
    await once(socket, "connect");
    socket.on("error", (error) => this.onerror?.(error));
  }

  async send(message: JSONRPCMessage): Promise<void> {
    this.#socket?.write(serializeMessage(message));
  }

  /** Ends our side, and waits until the other has ended too. */
  async close(): Promise<void> {
    if (!this.#socket || this.#socket.destroyed) return;
    const closed = once(this.#socket, "close");
    this.#socket.end();
    await closed;
  }
}
