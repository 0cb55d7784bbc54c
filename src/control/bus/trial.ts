/**
 * What a host would find on the bus, without being there: whether each server lets it in, what that one does not let it
 * do, and whether there is a bucket. Nothing is stored by it, and nobody takes it for a supervisor.
 */
import { Empty, headers, type NatsConnection } from "@nats-io/transport-node";
import { settledWithin } from "../../clock.ts";
import { type BusOptions, dial, readServers, type Server } from "./connect.ts";
import { authenticatorOf } from "./credentials.ts";
import type { Failure } from "./failure.ts";
import { type Lack, lackOf, violationIn } from "./lack.ts";
import { writeReport } from "./messages.ts";
import { hostInbox, newInstance, subjects } from "./names.ts";
import { whyUnreachable } from "./reach.ts";
import { roomOf } from "./room.ts";

export interface BusTrial {
  /** The one that was asked; undefined where none lets us in. */
  readonly server?: string;
  /** Of each server that does not let us in. */
  readonly failures: readonly Failure[];
  /** Subjects that the host needs and may not use. */
  readonly refused: readonly RefusedSubject[];
  /** Why what the bus keeps could not be read, although that is allowed. */
  readonly unanswered?: Lack;
  /** Of those that let us in, the one that takes the shortest messages: bytes. */
  readonly tightest?: { readonly server: string; readonly room: number };
}

export interface RefusedSubject {
  readonly operation: "publish" | "subscribe";
  readonly subject: string;
}

/** Ms for each answer. */
const ANSWER_MS = 3_000;
/** Bytes of what is said to see whether we may, headers and all. */
const LONGEST_FAREWELL = 2_048;
/** Ms for taking leave. */
const CLOSE_MS = 500;

/**
 * Asks all servers at once; within some 13 s, whatever they do. Throws McpRunError `profile-invalid` for servers, and
 * `secret-invalid` for credentials, that can't be used; rejects with the signal's reason.
 *
 * @param keys busKey of each secret
 */
export async function tryBus(
  options: BusOptions,
  keys: readonly string[],
  signal: AbortSignal,
): Promise<BusTrial> {
  const servers = readServers(options.servers);
  if (options.credentials) authenticatorOf(options.credentials);
  const dialled = await Promise.all(servers.map((server) => enter(server, options, signal)));
  const connections = dialled.flatMap((one) => ("connection" in one ? [one.connection] : []));
  const failures = dialled.flatMap((one) => ("failure" in one ? [one.failure] : []));
  const [connection] = connections;
  try {
    signal.throwIfAborted();
    if (!connection) return { failures, refused: [] };
    const index = dialled.findIndex((one) => "connection" in one);
    const server = servers[index]?.address ?? "";
    const tightest = tightestOf(servers, dialled);
    return { server, failures, tightest, ...(await ask(connection, options, keys, signal)) };
  } finally {
    const closing = Promise.allSettled(connections.map((one) => one.close()));
    await settledWithin(options.clock, CLOSE_MS, closing);
  }
}

type Dialled = Awaited<ReturnType<typeof dial>>;

/** Where nobody listens the library is not asked: its attempt would hold up the end of the process. */
async function enter(server: Server, options: BusOptions, signal: AbortSignal): ReturnType<typeof dial> {
  const silence = await whyUnreachable(server, options.clock, signal);
  if (silence === undefined) return dial(server, options, hostInbox(options.host), signal);
  return { failure: { type: "unreachable", reason: `${server.address}: ${silence}` } };
}

function tightestOf(
  servers: readonly Server[],
  dialled: readonly Dialled[],
): { server: string; room: number } {
  return dialled
    .map((one, index) => ({
      server: servers[index]?.address ?? "",
      room: "connection" in one ? roomOf(one.connection) : Number.POSITIVE_INFINITY,
    }))
    .reduce((least, one) => (one.room < least.room ? one : least));
}

async function ask(
  connection: NatsConnection,
  { host, clock }: BusOptions,
  keys: readonly string[],
  signal: AbortSignal,
): Promise<Pick<BusTrial, "refused" | "unanswered">> {
  const refused = new Map<string, RefusedSubject>();
  const note = (error: unknown) => {
    const violation = violationIn(error);
    if (!violation) return;
    const { subject } = violation;
    refused.set(subject, { subject, operation: violation.operation === "publish" ? "publish" : "subscribe" });
  };
  const listening = (async () => {
    for await (const status of connection.status()) if (status.type === "error") note(status.error);
  })();
  listening.catch(() => undefined);
  const inbox = `${hostInbox(host)}.check`;
  const heard = [
    inbox,
    subjects.callAll,
    ...keys.flatMap((key) => [subjects.entry(key), subjects.call(key)]),
  ];
  for (const subject of heard) connection.subscribe(subject, { callback: note });
  if (roomOf(connection) >= LONGEST_FAREWELL) publishFarewell(connection, host);
  const answers = keys.map(async (key) => {
    try {
      await connection.request(subjects.stored(key), Empty, { timeout: ANSWER_MS });
      return undefined;
    } catch (error) {
      note(error);
      return { subject: subjects.stored(key), lack: lackOf(error) };
    }
  });
  const [unanswered] = await Promise.all([Promise.all(answers), flushed(connection, clock)]);
  signal.throwIfAborted();
  // Whoever may not hear answers, or not ask, has got none for that reason.
  const lacks = refused.has(inbox) ? [] : unanswered.filter((one) => one && !refused.has(one.subject));
  const lack = lacks.find((one) => one?.lack)?.lack;
  return { refused: [...refused.values()], ...(lack && { unanswered: lack }) };
}

/** One who has ended before he began: and the server does not store it, since it is meant for another stream. */
function publishFarewell(connection: NatsConnection, host: string): void {
  const instance = newInstance(process.pid);
  const elsewhere = headers();
  elsewhere.set("Nats-Expected-Stream", "none");
  const nothing = { profile: "?", generation: 0, era: "?", mode: "?", secrets: [] };
  const report = writeReport({ v: 1, host, pid: process.pid, instance, state: "ended", ...nothing });
  connection.publish(subjects.report(host, instance), report, { headers: elsewhere });
}

/** What is refused has come before that answer, and is told us within this turn. */
async function flushed(connection: NatsConnection, clock: BusOptions["clock"]): Promise<void> {
  await settledWithin(
    clock,
    ANSWER_MS,
    connection.flush().catch(() => undefined),
  );
  await new Promise<void>((resolve) => clock.after(0, resolve));
}
