/**
 * The client's side of an MCP session, as far as a trial (`check --start`, a canary) needs it: introduce ourselves, in the way of the
 * older protocol first (servers that also speak the newer one accept it, and some older ones end at any other
 * first request), ask for the list of tools, and prove the server by its profile's probe. Specification: lifecycle
 * (2025-11-25), discovery (2026-07-28).
 */
import type { Readable, Writable } from "node:stream";
import { type Clock, withDeadline } from "../clock.ts";
import { McpRunError } from "../errors.ts";
import { LineSplitter } from "./line-splitter.ts";
import { messageOf, objectOf } from "./message.ts";
import { probeName, probeRequest, type RequestProbe, wrongWith } from "./probe.ts";

const LEGACY_VERSION = "2025-11-25";
const MODERN_VERSION = "2026-07-28";
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
const META = "io.modelcontextprotocol";

export interface Greeting {
  readonly server: string;
  readonly protocolVersion: string;
  /** Undefined for a server without tools. */
  readonly toolCount?: number;
  /** When it had answered all that, in ms on the steady clock. */
  readonly readyAt: number;
  /** What its probe came to: `wrong` is a state, and undefined if it passed. Undefined without a probe. */
  readonly probe?: { readonly name: string; readonly wrong: string | undefined };
}

export interface HandshakeOptions {
  readonly clock: Clock;
  /** Ms for the handshake, and again for the probe. */
  readonly timeoutMs: number;
  readonly clientVersion: string;
  readonly probe?: RequestProbe | undefined;
}

interface Answer {
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly code?: unknown; readonly message?: unknown };
}

/** Resolves with what the server says of itself; rejects with McpRunError when it refuses or is silent. */
export async function shakeHands(
  toServer: Writable,
  fromServer: Readable,
  { clock, timeoutMs, clientVersion, probe }: HandshakeOptions,
): Promise<Greeting> {
  const conversation = new Conversation(toServer, fromServer);
  const silent = () =>
    new McpRunError("backend-unavailable", `Cannot shake hands: no answer within ${timeoutMs / 1000} s`, {
      hint: "starting the server by hand to see what it waits for",
    });
  try {
    const greeted = greet(conversation, clientVersion);
    const { params, ...hello } = await withDeadline(clock, timeoutMs, greeted, silent);
    const greeting = { ...hello, readyAt: clock.monotonic() };
    if (!probe) return greeting;
    const proof = prove(conversation, probe, params);
    const late = () => new McpRunError("backend-unavailable", `no answer within ${timeoutMs / 1000} s`);
    const wrong = await withDeadline(clock, timeoutMs, proof, late).catch((error: unknown) => {
      if (error instanceof McpRunError) return `its probe ${probeName(probe)} was not answered`;
      throw error;
    });
    return { ...greeting, probe: { name: probeName(probe), wrong } };
  } finally {
    conversation.end();
  }
}

async function prove(
  conversation: Conversation,
  probe: RequestProbe,
  common: object,
): Promise<string | undefined> {
  const { method, params } = probeRequest(probe);
  return wrongWith(probe, await conversation.ask(method, { ...params, ...common }));
}

/** `params`: what every further request has to carry. */
type Introduced = Omit<Greeting, "readyAt" | "probe"> & { readonly params: object };

async function greet(conversation: Conversation, clientVersion: string): Promise<Introduced> {
  const clientInfo = { name: "mcp-run", version: clientVersion };
  const legacy = await conversation.ask("initialize", {
    protocolVersion: LEGACY_VERSION,
    capabilities: {},
    clientInfo,
  });
  if (legacy.result) {
    conversation.tell("notifications/initialized");
    return describe(conversation, legacy.result, String(legacy.result.protocolVersion), {});
  }
  const _meta = {
    [`${META}/protocolVersion`]: MODERN_VERSION,
    [`${META}/clientCapabilities`]: {},
    [`${META}/clientInfo`]: clientInfo,
  };
  const modern = await conversation.ask("server/discover", { _meta });
  if (modern.result) return describe(conversation, modern.result, MODERN_VERSION, { _meta });
  const { code, message } = legacy.error ?? {};
  throw new McpRunError(
    "backend-unavailable",
    `Cannot shake hands: the server refused (${code}: ${message})`,
  );
}

async function describe(
  conversation: Conversation,
  introduction: Record<string, unknown>,
  protocolVersion: string,
  params: object,
): Promise<Introduced> {
  const { name = "a server", version = "" } = objectOf(introduction.serverInfo);
  const server = `${name} ${version}`.trim();
  if (!("tools" in objectOf(introduction.capabilities))) return { server, protocolVersion, params };
  const { result } = await conversation.ask("tools/list", params);
  const toolCount = Array.isArray(result?.tools) ? result.tools.length : 0;
  return { server, protocolVersion, params, toolCount };
}

/** Numbered requests and their answers; whatever else the server says meanwhile is passed over. */
class Conversation {
  readonly #toServer: Writable;
  readonly #fromServer: Readable;
  readonly #splitter = new LineSplitter({ maxLineBytes: MAX_ANSWER_BYTES });
  readonly #waiting = new Map<number, { resolve(answer: Answer): void; reject(error: Error): void }>();
  #lastId = 0;

  constructor(toServer: Writable, fromServer: Readable) {
    this.#toServer = toServer;
    this.#fromServer = fromServer;
    fromServer.on("data", this.#read).on("end", this.#over).on("close", this.#over);
  }

  ask(method: string, params: object): Promise<Answer> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#write({ jsonrpc: "2.0", id, method, params });
      if (this.#fromServer.destroyed || this.#fromServer.readableEnded) this.#over();
    });
  }

  tell(method: string): void {
    this.#write({ jsonrpc: "2.0", method });
  }

  end(): void {
    this.#fromServer.off("data", this.#read).off("end", this.#over).off("close", this.#over);
  }

  #write(message: object): void {
    this.#toServer.write(`${JSON.stringify(message)}\n`);
  }

  readonly #read = (chunk: Buffer) => {
    for (const text of Buffer.concat(this.#splitter.push(chunk)).toString("utf8").split("\n")) {
      // Empty for chatter before or between messages.
      const message = messageOf(text);
      const waiting =
        typeof message.id === "number" && !("method" in message) ? this.#waiting.get(message.id) : undefined;
      if (!waiting) continue;
      this.#waiting.delete(message.id as number);
      waiting.resolve(message as Answer);
    }
  };

  readonly #over = () => {
    for (const { reject } of this.#waiting.values()) {
      reject(
        new McpRunError("backend-unavailable", "Cannot shake hands: the server ended before it answered"),
      );
    }
    this.#waiting.clear();
  };
}
