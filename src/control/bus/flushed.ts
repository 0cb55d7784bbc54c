/** The end of what has been sent: the library waits for ever for the answer of a server that has hung up meanwhile. */
import { errors, type NatsConnection } from "@nats-io/transport-node";

/** Resolves when the server has had all that was sent, and its errors have come; rejects when the connection is lost. */
export async function flushed(connection: NatsConnection): Promise<void> {
  const lost = connection.closed().then((error) => {
    throw error ?? new errors.ClosedConnectionError();
  });
  await Promise.race([connection.flush(), lost]);
}
