/**
 * How long a message may be. A server says its `max_payload`, or that of the account or the user, to whoever connects;
 * it hangs up on whoever sends a longer one, and says nothing of a new limit to those who are connected.
 */
import { errors, type NatsConnection } from "@nats-io/transport-node";
import { McpRunError } from "../../errors.ts";
import type { Lack } from "./lack.ts";

/** Bytes: room for the longest entry and its headers. */
export const WANTED_ROOM = 65_536;
/** What JetStream is asked with each entry, in bytes at most. */
const HEADERS_ROOM = 256;

/** Bytes that a message of this connection may have, headers and all. */
export function roomOf({ info }: NatsConnection): number {
  return info?.max_payload ?? Number.POSITIVE_INFINITY;
}

/** @param what is too long: «a report can be longer» */
export function lackOfRoom(server: string, room: number, what: string): Lack {
  return {
    reason: `${server} takes messages of at most ${room} bytes (max_payload), and ${what}: a fleet needs ${WANTED_ROOM}`,
    hint: "`max_payload: 64KB` or more in the server's configuration, or for the account and its users",
  };
}

/** Throws McpRunError where an entry of so many bytes would not be taken. */
export function refuseTooLong(connection: NatsConnection, bytes: number): void {
  const room = roomOf(connection);
  if (bytes + HEADERS_ROOM > room) throw refusalFor("put an entry", room, `this one has ${bytes}`);
}

/** Throws McpRunError where a fleet has not enough room on this bus. */
export function refuseTooLittleRoom(connection: NatsConnection, action: string): void {
  const room = roomOf(connection);
  if (room < WANTED_ROOM) throw refusalFor(action, room, "reports and entries can be longer");
}

/** Nobody has to be told by the server: the library does not send what is too long. */
export function isTooLong(error: unknown): boolean {
  if (error instanceof errors.ProtocolError) return /maximum payload/i.test(error.message);
  return error instanceof errors.InvalidArgumentError && /max_payload/.test(error.message);
}

function refusalFor(action: string, room: number, what: string): McpRunError {
  const { reason, hint } = lackOfRoom("the server", room, what);
  return new McpRunError("access-denied", `Cannot ${action} on the fleet's bus: ${reason}`, { hint });
}
