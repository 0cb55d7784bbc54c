/**
 * What the bus keeps on the server: the bucket of the entries and the stream of the reports. Safe to run again: what is
 * there is brought to what is wanted here, and nothing in it is lost.
 */
import { jetstreamManager, type StreamConfig } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { mustHaveLeader } from "./leader.ts";
import { LONGEST_ENTRY, LONGEST_REPORT } from "./messages.ts";
import { BUCKET, BUCKET_STREAM, REPORTS_STREAM, subjects } from "./names.ts";
import { isStreamMissing, refusalOf } from "./refusal.ts";
import { refuseTooLittleRoom } from "./room.ts";

export interface SetUpOptions {
  /** How many servers of a cluster keep a copy: 1, 3 or 5. Without it as many as do now, and one at first. */
  readonly replicas?: number;
}

export interface SetUpResult {
  /** `bucket mcp-run`, `stream mcp-run-hosts`. */
  readonly name: string;
  readonly done: "made" | "changed" | "unchanged";
}

const DAY_NS = 86_400_000_000_000;
/** Ms for one answer. */
const ANSWER_MS = 5_000;

/** Throws McpRunError. */
export async function setUp(
  connection: NatsConnection,
  options: SetUpOptions,
): Promise<readonly SetUpResult[]> {
  try {
    refuseTooLittleRoom(connection, "set up the bucket and the stream");
    return [
      { name: `bucket ${BUCKET}`, done: await provide(connection, bucket(options)) },
      { name: `stream ${REPORTS_STREAM}`, done: await provide(connection, reports(options)) },
    ];
  } catch (error) {
    throw refusalOf("set up the bucket and the stream", error);
  }
}

type Wanted = Partial<StreamConfig> & { readonly name: string };

/** As clients make a KV bucket (NATS ADR-8), so that `nats kv` can show it. */
function bucket({ replicas }: SetUpOptions): Wanted {
  return {
    name: BUCKET_STREAM,
    description: "mcp-run: which secrets have changed; never a value",
    subjects: [subjects.put(">")],
    max_msgs_per_subject: 1,
    max_msg_size: LONGEST_ENTRY,
    storage: "file",
    discard: "new",
    ...(replicas !== undefined && { num_replicas: replicas }),
    allow_direct: true,
    allow_rollup_hdrs: true,
    deny_delete: true,
    // Only what has been stored is said again: see `subjects.entry`.
    republish: { src: subjects.put(">"), dest: subjects.entry(">") },
  };
}

function reports({ replicas }: SetUpOptions): Wanted {
  return {
    name: REPORTS_STREAM,
    description: "mcp-run: the last report of each supervisor",
    subjects: [subjects.anyReport],
    max_msgs_per_subject: 1,
    max_msg_size: LONGEST_REPORT,
    // A host could invent supervisors without an end: that costs neither the disk nor what is known of others.
    max_msgs: 500_000,
    max_bytes: 256 * 2 ** 20,
    max_age: 30 * DAY_NS,
    storage: "file",
    discard: "new",
    ...(replicas !== undefined && { num_replicas: replicas }),
  };
}

async function provide(connection: NatsConnection, wanted: Wanted): Promise<SetUpResult["done"]> {
  const { streams } = await jetstreamManager(connection, { checkAPI: false, timeout: ANSWER_MS });
  try {
    const info = await streams.info(wanted.name);
    // A server that has lost its cluster tells what the stream was like, and nobody could use it.
    mustHaveLeader(info);
    if (isAsWanted(info.config, wanted)) return "unchanged";
    await streams.update(wanted.name, wanted);
    return "changed";
  } catch (error) {
    if (!isStreamMissing(error)) throw error;
    await streams.add(wanted);
    return "made";
  }
}

function isAsWanted(config: StreamConfig, wanted: Wanted): boolean {
  const has = config as unknown as Record<string, unknown>;
  return Object.entries(wanted).every(([name, value]) => JSON.stringify(has[name]) === JSON.stringify(value));
}
