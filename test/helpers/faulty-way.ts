/** The way to a server on loopback, which can be cut at any byte, go silent as a lost network does, and be mended. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

export class FaultyWay {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #isCut = false;
  #isHeld = false;
  #bytesLeft = Number.POSITIVE_INFINITY;
  #whenSpent: () => void = () => this.cut();

  static async to({ port }: { readonly port: number }): Promise<FaultyWay> {
    const way = new FaultyWay(port);
    way.#server.listen(0, "127.0.0.1");
    await once(way.#server, "listening");
    return way;
  }

  private constructor(port: number) {
    this.#server = createServer((socket) => {
      if (this.#isCut) return void socket.destroy();
      const beyond = connect(port, "127.0.0.1");
      this.#carry(socket, beyond);
      this.#carry(beyond, socket);
    });
  }

  get url(): string {
    return `nats://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Whoever is connected is hung up on, and nobody gets through until it is mended. */
  cut(): void {
    this.#isCut = true;
    this.#bytesLeft = Number.POSITIVE_INFINITY;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Cuts it when so many bytes more have passed, in whichever direction. */
  cutAfter(bytes: number): void {
    this.#bytesLeft = bytes;
    this.#whenSpent = () => this.cut();
  }

  /** Holds it when so many bytes more have passed, in whichever direction, and resolves then. */
  heldAfter(bytes: number): Promise<void> {
    this.#bytesLeft = bytes;
    return new Promise((resolve) => {
      this.#whenSpent = () => {
        this.hold();
        resolve();
      };
    });
  }

  /** Nothing passes any more, and nobody is hung up on. */
  hold(): void {
    this.#isHeld = true;
    for (const socket of this.#sockets) socket.pause();
  }

  /** As it was at first; what was held passes. */
  mend(): void {
    this.#isCut = false;
    this.#isHeld = false;
    this.#bytesLeft = Number.POSITIVE_INFINITY;
    for (const socket of this.#sockets) socket.resume();
  }

  async close(): Promise<void> {
    this.cut();
    const closed = once(this.#server, "close");
    this.#server.close();
    await closed;
  }

  #carry(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.on("error", () => undefined);
    from.on("data", (chunk: Buffer) => {
      const passing = chunk.subarray(0, this.#bytesLeft);
      to.write(passing);
      this.#bytesLeft -= chunk.length;
      if (this.#bytesLeft >= 0) return;
      this.#bytesLeft = Number.POSITIVE_INFINITY;
      this.#whenSpent();
      if (this.#isHeld) from.unshift(chunk.subarray(passing.length));
    });
    from.once("close", () => {
      this.#sockets.delete(from);
      to.destroy();
    });
    if (this.#isHeld) from.pause();
  }
}
