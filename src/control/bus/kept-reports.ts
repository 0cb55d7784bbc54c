/** What the server keeps of all hosts: the last report of each supervisor. */
import { type Consumer, DeliverPolicy, type JsMsg, jetstream } from "@nats-io/jetstream";
import { errors, type NatsConnection } from "@nats-io/transport-node";
import { mustHaveLeader } from "./leader.ts";
import { LONGEST_REPORT } from "./messages.ts";
import { REPORTS_STREAM } from "./names.ts";

/** Ms for one answer of the server. */
const ANSWER_MS = 5_000;
/** Ms for each attempt to begin: of three servers of which one is down the first six fail once in 729 times. */
const BEGINNINGS_MS = [150, 150, 250, 250, 500, 500, 1_000, ANSWER_MS];
/**
 * The server sends a sign of life when it has had nothing else to send for so many ms; after two that are missing the
 * client asks whether the stream is still there. Without it a stream that is deleted while it is read is waited for.
 */
const SIGN_OF_LIFE_MS = 1_000;
const READING = {
  max_messages: 1_000,
  expires: 5 * SIGN_OF_LIFE_MS,
  idle_heartbeat: SIGN_OF_LIFE_MS,
  abort_on_missing_resource: true,
} as const;

/**
 * Every report that is kept, in the order of their coming; throws where not all of them could be read.
 *
 * @param onLimit told whether there is room for anybody new
 */
export async function* keptReports(
  connection: NatsConnection,
  onLimit: (isFull: boolean) => void,
): AsyncGenerator<JsMsg, void, undefined> {
  const { streams } = await jetstream(connection, { timeout: ANSWER_MS }).jetstreamManager(false);
  const info = await streams.info(REPORTS_STREAM);
  // Nobody would let us read from it.
  mustHaveLeader(info);
  const { state, config } = info;
  // Limits that there are not are -1.
  const { max_msgs = -1, max_bytes = -1 } = config;
  onLimit(
    (max_msgs > 0 && state.messages >= max_msgs) ||
      (max_bytes > 0 && state.bytes + LONGEST_REPORT > max_bytes),
  );
  if (state.messages === 0) return;
  const consumer = await consumerOf(connection);
  for await (const message of await consumer.consume(READING)) {
    yield message;
    // Others report meanwhile, so that there may always be one more.
    if (message.seq >= state.last_seq || message.info.pending === 0) return;
  }
  // The client ends its iteration without a word when the connection is closed.
  throw new errors.ClosedConnectionError();
}

/**
 * A cluster chooses one of its servers at random to read from, and may choose one that is down: then nobody answers, and
 * the next attempt may go to another.
 */
async function consumerOf(connection: NatsConnection): Promise<Consumer> {
  let failure: unknown;
  for (const timeout of BEGINNINGS_MS) {
    const { consumers } = jetstream(connection, { timeout });
    try {
      return await consumers.get(REPORTS_STREAM, { deliver_policy: DeliverPolicy.All });
    } catch (error) {
      if (!(error instanceof errors.TimeoutError)) throw error;
      failure = error;
    }
  }
  throw failure;
}
