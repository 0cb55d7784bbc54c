/**
 * What the client has said that another server must hear, to be as the first one is: the way it introduced
 * itself, the log level, its subscriptions. Pure. What the client takes back before anybody had to hear it is
 * forgotten. `revision` grows with each change, so that whoever repeats it to a new server knows when there is
 * nothing more. MCP specification, lifecycle (2025-11-25) and discovery and subscriptions (2026-07-28).
 */
import { isDeepStrictEqual } from "node:util";
import type { Line } from "./line.ts";
import { at, messageOf } from "./message.ts";
import { keyIn, keyOf } from "./message-id.ts";

/** Decided by the client alone: until then nothing may be sent to a server on our own account. */
export type Era = "undecided" | "legacy" | "modern";

/** One line to repeat, in the order of the steps; a request's answer is waited for and not passed on. */
export interface ReplayStep {
  readonly type: "initialize" | "notification" | "request" | "listen";
  /** Raw JSON; of a request and of a listen. */
  readonly id?: string;
  readonly line: Buffer;
}

/** What a server says of itself: a client that has heard it can't be told otherwise later. */
export interface ServerFace {
  readonly protocol: unknown;
  readonly capabilities: unknown;
}

interface Entry {
  readonly revision: number;
  readonly step: ReplayStep;
  /** Takes back what somebody may have heard who knows this revision; nobody else has to hear it. */
  readonly undoes?: number;
}

const META = "io.modelcontextprotocol";
const PROTOCOL_VERSION = `${META}/protocolVersion`;
/** JSON-RPC code of MCP 2026-07-28: the server is modern, but not of this version. */
const UNSUPPORTED_VERSION = -32022;
/** A request that is kept only for its `_meta` must be small. */
const MOST_META_BYTES = 65_536;

export interface ClientName {
  readonly name: string;
  readonly version?: string;
}

export class Recall {
  /** By what they are about; in the order in which they were said. */
  readonly #entries = new Map<string, Entry>();
  readonly #listens = new Map<string, string>();
  /** Keys of the listens whose acknowledgement the client has had. */
  readonly #acknowledged = new Set<string>();
  #era: Era = "undecided";
  #revision = 0;
  #isIntroduced = false;
  #face: ServerFace | undefined;
  #hasTasks = false;
  /** Replays that are under way: only they may have heard what is now taken back. */
  #replays = 0;
  #lastModern: Buffer | undefined;
  readonly #onIntroduced: (() => void) | undefined;

  /** @param onIntroduced called each time `isIntroduced` becomes true */
  constructor(onIntroduced?: () => void) {
    this.#onIntroduced = onIntroduced;
  }

  get era(): Era {
    return this.#era;
  }

  get revision(): number {
    return this.#revision;
  }

  /** Who the client says that it is, once it has said so. */
  get client(): ClientName | undefined {
    const line = this.#era === "modern" ? this.#lastModern : this.#entries.get("initialize")?.step.line;
    const params = line && at(messageOf(line), "params");
    const info = at(params, "clientInfo") ?? at(params, "_meta", `${META}/clientInfo`);
    const [name, version] = [at(info, "name"), at(info, "version")];
    if (typeof name !== "string") return undefined;
    return { name, ...(typeof version === "string" && { version }) };
  }

  /** True once the client has done its part of the handshake, and another server can take over. */
  get isIntroduced(): boolean {
    return this.#isIntroduced;
  }

  /** What the first server said of itself. */
  get face(): ServerFace | undefined {
    return this.#face;
  }

  /** False if neither the protocol nor the server knows work that outlives its answer (tasks, exchanges). */
  get mayWorkLong(): boolean {
    return this.#era === "modern" || this.#hasTasks;
  }

  /** To be told of every request and notification of the client. */
  clientSaid(line: Line): void {
    const { envelope } = line;
    if (envelope.type !== "request" && envelope.type !== "notification") return;
    const id = envelope.type === "request" ? envelope.id : undefined;
    switch (envelope.method) {
      case "initialize":
        if (id !== undefined) this.#beginAnew(id, line);
        break;
      case "notifications/initialized":
        if (this.#era === "legacy") this.#introduced();
        this.#remember("initialized", { type: "notification", line: kept(line) });
        break;
      case "logging/setLevel":
        if (id !== undefined) this.#remember("level", { type: "request", id, line: kept(line) });
        break;
      case "resources/subscribe":
      case "resources/unsubscribe":
        if (id !== undefined) this.#subscribe(id, line, envelope.method === "resources/unsubscribe");
        break;
      case "subscriptions/listen":
        if (id !== undefined) this.#listen(id, line);
        break;
      case "notifications/cancelled":
        if (this.#listens.size > 0)
          this.listenEnded(JSON.stringify(at(messageOf(line.bytes), "params", "requestId")));
        break;
      default:
        if (id !== undefined && this.#era !== "legacy") this.#noteMeta(line);
    }
  }

  /** To be told when a request of the client was answered by the server that it talks to. */
  serverAnswered({ id, method }: { readonly id: string; readonly method: string }, line: Line): void {
    const isError = line.envelope.type === "response" && line.envelope.isError;
    if (method === "initialize") {
      if (isError) return;
      const result = at(messageOf(line.bytes), "result");
      this.#era = "legacy";
      this.#face = faceOf("legacy", result);
      this.#hasTasks = at(result, "capabilities", "tasks") !== undefined;
      // A client that does not wait for the answer has said already that it is ready.
      if (this.#entries.has("initialized")) this.#introduced();
    } else if (method === "server/discover") {
      const message = messageOf(line.bytes);
      if (isError && at(message, "error", "code") !== UNSUPPORTED_VERSION) return;
      this.#becomeModern();
      if (!isError) this.#face = faceOfDiscovery(at(message, "result"));
    } else if (isError && STATE_REQUESTS.has(method)) {
      this.#takeBack(id);
    }
  }

  /** The client has been told that this request has failed, without a server's answer. */
  refused(id: string): void {
    this.#takeBack(id);
    this.listenEnded(id);
  }

  /** True if this is an open `subscriptions/listen`. */
  isListen(id: string): boolean {
    return this.#listens.size > 0 && keyIn(this.#listens, id) !== undefined;
  }

  /** The open listens, with the lines that opened them. */
  get openListens(): readonly { readonly id: string; readonly line: Buffer }[] {
    return [...this.#listens].map(([key, id]) => ({
      id,
      line: this.#entries.get(`listen ${key}`)?.step.line ?? Buffer.alloc(0),
    }));
  }

  /** A server has acknowledged this open listen. True the first time: the client hears that once, from any of them. */
  listenAcknowledged(id: string): boolean {
    const key = keyIn(this.#listens, id);
    if (key === undefined || this.#acknowledged.has(key)) return false;
    this.#acknowledged.add(key);
    return true;
  }

  /** The client or the server has ended a listen; false if it was none. */
  listenEnded(id: string | undefined): boolean {
    const key = id === undefined ? undefined : keyIn(this.#listens, id);
    if (key === undefined) return false;
    this.#listens.delete(key);
    this.#acknowledged.delete(key);
    this.#entries.delete(`listen ${key}`);
    this.#revision++;
    return true;
  }

  /** What a server still has to hear that has heard everything up to `revision` (0: nothing). */
  stepsSince(revision: number): readonly ReplayStep[] {
    return [...this.#entries.values()]
      .filter((entry) => entry.revision > revision && (entry.undoes ?? 0) <= revision)
      .map(({ step }) => step);
  }

  /** Call before the first stepsSince of a replay; what is returned ends it. */
  beginReplay(): () => void {
    this.#replays++;
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      if (--this.#replays > 0) return;
      for (const [key, { undoes }] of this.#entries) if (undoes !== undefined) this.#entries.delete(key);
    };
  }

  /** The client's last `_meta` that a modern server asks for, as an object. */
  get meta(): unknown {
    return this.#lastModern && at(messageOf(this.#lastModern), "params", "_meta");
  }

  #beginAnew(id: string, line: Line): void {
    this.#entries.clear();
    this.#listens.clear();
    this.#acknowledged.clear();
    this.#isIntroduced = false;
    this.#remember("initialize", { type: "initialize", id, line: kept(line) });
  }

  #subscribe(id: string, line: Line, isEnd: boolean): void {
    const key = `subscription ${String(at(messageOf(line.bytes), "params", "uri"))}`;
    const before = this.#entries.get(key);
    if (!isEnd) this.#remember(key, { type: "request", id, line: kept(line) });
    else if (before && this.#replays === 0) this.#forget(key);
    else if (before) {
      this.#remember(key, { type: "request", id, line: kept(line) }, before.undoes ?? before.revision);
    }
  }

  #listen(id: string, line: Line): void {
    this.#noteMeta(line);
    const key = keyOf(id);
    this.#listens.set(key, id);
    this.#acknowledged.delete(key);
    this.#remember(`listen ${key}`, { type: "listen", id, line: kept(line) });
  }

  #noteMeta(line: Line): void {
    if (line.length > MOST_META_BYTES) return;
    const { bytes } = line;
    if (this.#era === "undecided") {
      if (at(messageOf(bytes), "params", "_meta", PROTOCOL_VERSION) === undefined) return;
      // A probe is answered first: only then is it known whether the server is modern too.
      if (line.envelope.type === "request" && line.envelope.method !== "server/discover")
        this.#becomeModern();
    }
    this.#lastModern = kept(line);
  }

  #becomeModern(): void {
    this.#era = "modern";
    this.#introduced();
  }

  #introduced(): void {
    if (this.#isIntroduced) return;
    this.#isIntroduced = true;
    this.#onIntroduced?.();
  }

  #remember(key: string, step: ReplayStep, undoes?: number): void {
    this.#entries.delete(key);
    this.#revision++;
    this.#entries.set(key, { revision: this.#revision, step, ...(undoes !== undefined && { undoes }) });
  }

  #forget(key: string): void {
    this.#entries.delete(key);
    this.#revision++;
  }

  /** The server has refused it. */
  #takeBack(id: string): void {
    const key = keyOf(id);
    for (const [name, { step }] of this.#entries) {
      if (step.type === "request" && step.id !== undefined && keyOf(step.id) === key) this.#forget(name);
    }
  }
}

const STATE_REQUESTS = new Set(["logging/setLevel", "resources/subscribe", "resources/unsubscribe"]);

/** What a result of `initialize` or `server/discover` says of the server. */
export function faceOf(era: Era, result: unknown): ServerFace {
  return era === "modern"
    ? faceOfDiscovery(result)
    : { protocol: at(result, "protocolVersion"), capabilities: at(result, "capabilities") };
}

export function sameFace(one: ServerFace, other: ServerFace): boolean {
  return (
    isDeepStrictEqual(one.protocol, other.protocol) && isDeepStrictEqual(one.capabilities, other.capabilities)
  );
}

function faceOfDiscovery(result: unknown): ServerFace {
  return { protocol: at(result, "supportedVersions"), capabilities: at(result, "capabilities") };
}

/** A copy: the line's own bytes are a piece of a chunk that would be kept with it. */
function kept(line: Line): Buffer {
  return Buffer.from(line.bytes);
}
