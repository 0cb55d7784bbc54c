/**
 * The supervisor's end: answers one request a connection. Whoever connects can't hurt the supervisor: connections,
 * bytes and times are bounded, a request that fails is an answer, and nothing is thrown.
 */
import { chmodSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { type Clock, settledWithin } from "../clock.ts";
import { McpRunError, systemErrorCode } from "../errors.ts";
import { isListenedTo } from "./client.ts";
import { type ControlPlace, type Endpoint, endpointOf, makeFolder } from "./endpoint.ts";
import { firstLineOf } from "./first-line.ts";
import {
  type Answer,
  LONGEST_LINE,
  PROTOCOL_VERSION,
  type Refusal,
  type Request,
  type RequestType,
  readRequest,
} from "./protocol.ts";

const MOST_CONNECTIONS = 16;
/** Ms for a peer to say its line, and again to take the answer. */
const PEER_MS = 5_000;
const TAKES_TIME: ReadonlySet<RequestType> = new Set(["canary", "hold"]);

/** What a request comes to, less what every answer has. The signal is aborted when the peer has gone. */
export type ControlHandlers = {
  readonly [Type in RequestType]?: (
    request: Request<Type>,
    signal: AbortSignal,
  ) => AnswerBody<Type> | Promise<AnswerBody<Type>>;
};
export type AnswerBody<Type extends RequestType> = Omit<Answer<Type>, "v" | "ok">;

/** What a handler rejects with that can't do it now; another supervisor may. */
export class BusyError extends McpRunError {
  override readonly name = "BusyError";

  constructor(message: string, hint: string) {
    super("backend-unavailable", message, { hint });
  }
}

export interface ControlServerOptions {
  readonly place: ControlPlace;
  readonly pid: number;
  readonly clock: Clock;
  /** A request without one is answered as unsupported. */
  readonly handlers: ControlHandlers;
  /** Hides secrets in what is said of a failure. */
  readonly scrub: (text: string) => string;
}

export class ControlServer {
  readonly endpoint: Endpoint;
  readonly #options: ControlServerOptions;
  readonly #server: Server;
  /** In the order in which they came. */
  readonly #peers = new Set<Peer>();

  /** Throws McpRunError where there can be no such socket. What it resolves with does not keep the process alive. */
  static async listen(options: ControlServerOptions): Promise<ControlServer> {
    const { place, pid } = options;
    const endpoint = endpointOf(place, pid);
    makeFolder(place);
    const server = new ControlServer(endpoint, options);
    await server.#listen(true);
    return server;
  }

  private constructor(endpoint: Endpoint, options: ControlServerOptions) {
    this.endpoint = endpoint;
    this.#options = options;
    this.#server = createServer((socket) => this.#connected(socket));
    this.#server.unref();
  }

  /** Removes the socket, and cuts whoever is connected. */
  async close(): Promise<void> {
    for (const peer of this.#peers) peer.cut();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  /** @param mayTakeOver a process that had our number may have left its socket behind */
  async #listen(mayTakeOver: boolean): Promise<void> {
    const { path } = this.endpoint;
    const reason = await new Promise<string | undefined>((resolve) => {
      const failed = (error: Error) => resolve(systemErrorCode(error) ?? error.name);
      this.#server.once("error", failed).listen(path, () => {
        this.#server.off("error", failed).on("error", ignore);
        resolve(undefined);
      });
    });
    const isPipe = this.#options.place.platform === "win32";
    if (reason === undefined) {
      if (!isPipe) chmodSync(path, 0o600);
      return;
    }
    if (reason === "EADDRINUSE" && mayTakeOver && !isPipe && !(await isListenedTo(this.endpoint))) {
      rmSync(path, { force: true });
      return this.#listen(false);
    }
    throw new McpRunError("access-denied", `Cannot listen at ${path}: ${reason}`, {
      hint: reason === "EADDRINUSE" ? "a MCP_RUN_HOME for each container" : "mcp-run status",
    });
  }

  #connected(socket: Socket): void {
    if (this.#peers.size >= MOST_CONNECTIONS) {
      const idle = [...this.#peers].find(({ isServed }) => !isServed);
      // Whoever says nothing must not keep out who does.
      if (!idle) return void socket.destroy();
      idle.cut();
    }
    const peer = new Peer(socket, this.#options);
    this.#peers.add(peer);
    socket.once("close", () => this.#peers.delete(peer));
    void peer.serve();
  }
}

/** One connection. */
class Peer {
  readonly #socket: Socket;
  readonly #options: ControlServerOptions;
  readonly #gone = new AbortController();
  #isServed = false;

  constructor(socket: Socket, options: ControlServerOptions) {
    this.#socket = socket;
    this.#options = options;
    socket.unref();
    socket.on("error", ignore);
    socket.once("close", () => this.cut());
  }

  /** It has asked, and is owed an answer. */
  get isServed(): boolean {
    return this.#isServed;
  }

  cut(): void {
    this.#socket.destroy();
    this.#gone.abort(new Error("the peer has gone"));
  }

  /** Never rejects. */
  async serve(): Promise<void> {
    const { clock } = this.#options;
    const late = clock.after(PEER_MS, () => this.cut(), { background: true });
    const line = await firstLineOf(this.#socket, LONGEST_LINE);
    late.cancel();
    if (line.type === "none") return this.cut();
    this.#isServed = true;
    const state = `a line may have ${LONGEST_LINE} bytes`;
    await this.#say(
      line.type === "line" ? await this.#answerTo(line.text) : refusal({ code: "too-large", message: state }),
    );
    this.cut();
  }

  async #answerTo(line: string): Promise<string> {
    const read = readRequest(line);
    if ("refused" in read) return refusal(read.refused);
    try {
      // What takes its time is given up when nobody waits for it; there is no second request to be read.
      if (TAKES_TIME.has(read.request.type)) this.#socket.once("data", () => this.cut()).resume();
      const body = await this.#handle(read.request);
      if (!body)
        return refusal({ code: "unsupported", message: `${read.request.type} is not to be had here` });
      const text = lineOf({ v: PROTOCOL_VERSION, ok: true, ...body });
      if (Buffer.byteLength(text) <= LONGEST_LINE) return text;
      return refusal({ code: "too-large", message: "the answer is too long for one line" });
    } catch (error) {
      return refusal(this.#refusalOf(error));
    }
  }

  #handle(request: Request): object | undefined | Promise<object | undefined> {
    const handler = this.#options.handlers[request.type] as
      | ((request: Request, signal: AbortSignal) => object | Promise<object>)
      | undefined;
    return handler?.(request, this.#gone.signal);
  }

  /** What is not of the family is a bug, and may say anything. */
  #refusalOf(error: unknown): Refusal {
    if (!(error instanceof McpRunError)) return { code: "internal", message: "a bug in mcp-run" };
    const { scrub } = this.#options;
    const { message, hint } = error;
    const code = error instanceof BusyError ? "busy" : error.code;
    return { code, message: scrub(message), ...(hint && { hint: scrub(hint) }) };
  }

  async #say(text: string): Promise<void> {
    if (this.#socket.destroyed) return;
    const taken = new Promise<void>((resolve) => {
      this.#socket.once("close", resolve).end(text, () => resolve());
    });
    await settledWithin(this.#options.clock, PEER_MS, taken);
  }
}

function refusal(error: Refusal): string {
  return lineOf({ v: PROTOCOL_VERSION, ok: false, error });
}

function lineOf(message: object): string {
  return `${JSON.stringify(message)}\n`;
}

function ignore(): void {
  // A peer that breaks off has nothing to be told.
}
