/**
 * A server that is cut off from its cluster, or has only just come back to it, lets us in, and carries a call to those
 * alone who are on it. It answers for the streams all the same, but can't say who speaks for them.
 */
import { jetstreamManager, type StreamInfo } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { REPORTS_STREAM } from "./names.ts";
import { LostClusterError } from "./refusal.ts";

/** Ms. */
const ANSWER_MS = 5_000;

/** Rejects with LostClusterError where a call would not reach everybody. */
export async function proveIsAmongAll(connection: NatsConnection): Promise<void> {
  const { streams } = await jetstreamManager(connection, { checkAPI: false, timeout: ANSWER_MS });
  mustHaveLeader(await streams.info(REPORTS_STREAM));
}

/** Throws LostClusterError. A server that is no part of a cluster needs none. */
export function mustHaveLeader({ cluster }: StreamInfo): void {
  if (cluster && !cluster.leader) throw new LostClusterError();
}
