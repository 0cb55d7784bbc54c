/** What a supervisor says of itself: names, refs, versions and times, never a value. */
import { hostname } from "node:os";
import { basename } from "node:path";
import type { FleetStatus, SecretStatus, SupervisorStatus } from "../../control/protocol.ts";
import type { ServerControl } from "../../launch/serving.ts";
import type { Profile } from "../../profile/profile.ts";
import type { ClientName } from "../../relay/recall.ts";
import type { NeedleSet } from "../../scrub/needle-set.ts";
import type { ResolvedSecret } from "../../secrets/resolution.ts";
import type { CommandContext } from "../context.ts";
import { isRunning } from "../is-running.ts";
import type { SecretsInUse } from "../start/secrets-in-use.ts";
import type { Refreshing } from "./refreshing.ts";

/** Bytes of all secrets in one answer; what is beyond is only counted. */
const MOST_SECRET_BYTES = 49_152;
/** Characters of a client's name: read, and told. */
const LONGEST_READ = 4096;
const LONGEST_NAME = 100;

export interface Supervised {
  readonly context: CommandContext;
  readonly profile: Profile;
  readonly inUse: SecretsInUse;
  readonly refreshing: Pick<Refreshing, "server" | "outlook" | "now"> &
    Partial<Pick<Refreshing, "onNews" | "renew">>;
  readonly control: {
    client(): Partial<ReturnType<ServerControl["client"]>>;
    state(): string;
  } & Partial<Pick<ServerControl, "withhold" | "hurry" | "isDraining" | "drained">>;
  /** How another server would take over, where that is not for the profile to say. */
  readonly mode?: "exec";
  readonly needles: NeedleSet;
  readonly tally: Tally;
  /** How it stands on the bus, where there is one. */
  readonly fleet?: () => FleetStatus;
  /** Wall-clock ms. */
  readonly startedAt: number;
}

/** What has happened so far. */
export interface Tally {
  /** Another server has taken over from one that had ended by itself. */
  restarts: number;
  /** Messages to the client that held a secret. */
  leaks: number;
}

/** @param scrub for what others have worded */
export function statusOf(
  { context, profile, inUse, refreshing, control, needles, tally, startedAt, mode, fleet }: Supervised,
  isLooking: boolean,
  scrub: (text: string) => string,
): SupervisorStatus {
  const { server, outlook } = refreshing;
  const { nextAt, lastLookAt, lastFailure } = outlook;
  const { name: client, era } = control.client();
  const state = control.state();
  return {
    pid: process.pid,
    host: hostname(),
    user: context.loginName(),
    profile: profile.name,
    file: profile.file,
    command: basename(inUse.command),
    startedAt: iso(startedAt),
    uptimeMs: Math.max(0, Math.round(context.clock.now() - startedAt)),
    // Between a server that ended and the next one there is none.
    state: state === "serving" && !isRunning(server.pid) ? "backing-off" : state,
    ...(client && { client: clientStatus(client, scrub) }),
    ...(era && { era }),
    generation: server.generation,
    serverPid: server.pid,
    restarts: tally.restarts,
    ...secretsThatFit(
      inUse.served.map((secret) => secretStatus(secret, inUse.fetchTimes.of(secret), profile)),
    ),
    refresh: {
      mode: mode ?? profile.refresh.restart,
      isLooking,
      ...(nextAt !== undefined && { nextAt: iso(nextAt) }),
      ...(lastLookAt !== undefined && { lastLookAt: iso(lastLookAt) }),
      ...(lastFailure && {
        lastFailure: { ...lastFailure, at: iso(lastFailure.at), reason: scrub(lastFailure.reason) },
      }),
    },
    ...(fleet && { fleet: fleetStatus(fleet(), scrub) }),
    scrubbed: needles.masks,
    leaks: tally.leaks,
  };
}

function fleetStatus({ reason, ...rest }: FleetStatus, scrub: (text: string) => string): FleetStatus {
  return { ...rest, ...(reason !== undefined && { reason: scrub(reason) }) };
}

/** As long as a name may be: the client says what it wants. */
function clientStatus({ name, version }: ClientName, scrub: (text: string) => string): ClientName {
  const short = (text: string) => scrub(text.slice(0, LONGEST_READ)).slice(0, LONGEST_NAME);
  return { name: short(name), ...(version !== undefined && { version: short(version) }) };
}

function secretStatus(secret: ResolvedSecret, fetchedAt: number, { secrets }: Profile): SecretStatus {
  const { name, from, version, place, createdAt, expiresAt, cachedSince } = secret;
  const maxAgeMs = secrets.find((spec) => spec.name === name)?.maxAgeMs;
  return {
    name,
    ref: from,
    provider: from.split(":", 1)[0] ?? from,
    ...(version !== undefined && { version }),
    ...(place !== undefined && { place }),
    ...(createdAt && { createdAt: createdAt.toISOString() }),
    ...(expiresAt && { expiresAt: expiresAt.toISOString() }),
    ...(maxAgeMs !== undefined && { maxAgeMs }),
    fetchedAt: iso(fetchedAt),
    ...(cachedSince && { cachedSince: cachedSince.toISOString() }),
  };
}

function secretsThatFit(all: readonly SecretStatus[]): Pick<SupervisorStatus, "secrets" | "secretsLeftOut"> {
  let bytes = 0;
  const secrets = all.filter((secret) => {
    bytes += Buffer.byteLength(JSON.stringify(secret));
    return bytes <= MOST_SECRET_BYTES;
  });
  const secretsLeftOut = all.length - secrets.length;
  return { secrets, ...(secretsLeftOut > 0 && { secretsLeftOut }) };
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
