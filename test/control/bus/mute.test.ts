/** A server of the bus that lets everybody in, and then says nothing more. */
import { createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BusOperator } from "../../../src/control/bus/operator.ts";
import { until } from "../../helpers/processes.ts";
import { VirtualClock } from "../../helpers/virtual-clock.ts";

let server: Server;
let sockets: Socket[];
let heard: string;

beforeEach(async () => {
  sockets = [];
  heard = "";
  server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => undefined);
    socket.write(
      `INFO ${JSON.stringify({ server_id: "M", version: "2.10.0", proto: 1, max_payload: 1024 })}\r\n`,
    );
    socket.on("data", (chunk) => {
      const isFirst = !heard.includes("PING");
      heard += chunk;
      if (isFirst && heard.includes("PING")) socket.write("PONG\r\n");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
});

describe("a bus that says nothing more", () => {
  it("holds nobody up who gives up", async () => {
    const { port } = server.address() as { port: number };
    const abort = new AbortController();
    const options = {
      servers: [`nats://127.0.0.1:${port}`],
      credentials: undefined,
      host: "here",
      clock: new VirtualClock(),
    };
    const connecting = BusOperator.connect(options, abort.signal);
    connecting.catch(() => undefined);
    await until("it is asked for more", () => heard.split("PING").length > 2);

    abort.abort(new Error("interrupted"));

    await expect(connecting).rejects.toThrow("interrupted");
    await until("the connection is closed", () => sockets.every((socket) => socket.destroyed));
  });
});
