/**
 * The client's side of an MCP session, as far as `check --start` needs it: introduce ourselves, in the way of the
 * older protocol first (servers that also speak the newer one accept it, and some older ones end at any other
 * first request), then ask for the list of tools. Specification: lifecycle (2025-11-25), discovery (2026-07-28).
 */
import type { Readable, Writable } from "node:stream";
import { type Clock, withDeadline } from "../clock.ts";
import { McpRunError } from "../errors.ts";
import { LineSplitter } from "./line-splitter.ts";
import { messageOf, objectOf } from "./message.ts";

const LEGACY_VERSION = "2025-11-25";
const MODERN_VERSION = "2026-07-28";
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
const META = "io.modelcontextprotocol";

export interface Greeting {
  readonly server: string;
  readonly protocolVersion: string;
  /** Undefined for a server without tools. */
  readonly toolCount?: number;
}

export interface HandshakeOptions {
  readonly clock: Clock;
  /** Ms for all of it. */
  readonly timeoutMs: number;
  readonly clientVersion: string;
}

interface Answer {
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly code?: unknown; readonly message?: unknown };
}

/** Resolves with what the server says of itself; rejects with McpRunError when it refuses or is silent. */
export function shakeHands(
  toServer: Writable,
  fromServer: Readable,
  options: HandshakeOptions,
): Promise<Greeting> {
  const conversation = new Conversation(toServer, fromServer);
  const silent = () =>
    new McpRunError(
      "backend-unavailable",
      `Cannot shake hands: no answer within ${options.timeoutMs / 1000} s`,
      {
        hint: "starting the server by hand to see what it waits for",
      },
    );
  return withDeadline(
    options.clock,
    options.timeoutMs,
    greet(conversation, options.clientVersion),
    silent,
  ).finally(() => conversation.end());
}

async function greet(conversation: Conversation, clientVersion: string): Promise<Greeting> {
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
): Promise<Greeting> {
  const { name = "a server", version = "" } = objectOf(introduction.serverInfo);
  const server = `${name} ${version}`.trim();
  if (!("tools" in objectOf(introduction.capabilities))) return { server, protocolVersion };
  const { result } = await conversation.ask("tools/list", params);
  return { server, protocolVersion, toolCount: Array.isArray(result?.tools) ? result.tools.length : 0 };
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
