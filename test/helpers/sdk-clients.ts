/**
 * The clients of both official SDKs over anything that carries lines, with a record of all that went by, so that
 * a test can ask whether every request was answered once and nothing came that was not the client's.
 */

import type { Readable, Writable } from "node:stream";
import { Client as ModernClient } from "@modelcontextprotocol/client";
import { Client as LegacyClient } from "@modelcontextprotocol/sdk/client/index.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import type { JSONRPCMessage, MessageExtraInfo } from "@modelcontextprotocol/sdk/types.js";
import { heard } from "./heard.ts";

export const MODERN_VERSION = "2026-07-28";

/** An SDK gives a request up after a minute, which may be too soon on a machine that starts many servers at once. */
export const PATIENTLY = { timeout: 180_000 };

type Message = Record<string, unknown> & { readonly params?: Record<string, unknown> };

/** Both directions of a session, as the client saw them. */
export class Traffic {
  readonly sent: Message[] = [];
  readonly received: Message[] = [];

  notifications(method: string): Message[] {
    return this.received.filter((message) => message.method === method);
  }

  /**
   * The progress of the tool that was called with this `count`. Not as the SDK's client hears it: it forgets what comes
   * in one piece with the answer.
   */
  stepsOf(count: number): unknown[] {
    const asked = this.sent.find(
      ({ params }) => (params?.arguments as { count?: number } | undefined)?.count === count,
    );
    const token = (asked?.params?._meta as { progressToken?: unknown } | undefined)?.progressToken;
    return this.notifications("notifications/progress").flatMap(({ params }) =>
      params?.progressToken === token ? [params?.progress] : [],
    );
  }

  /** What the servers asked the client. */
  get questions(): Message[] {
    return this.received.filter(({ id, method }) => id !== undefined && method !== undefined);
  }

  /** What is wrong with the answers: missing, doubled, or not the client's. `open`: requests that may be unanswered. */
  faults(open: ReadonlySet<unknown> = new Set()): string[] {
    const answers = new Map<unknown, number>();
    for (const { id, method } of this.received)
      if (id !== undefined && method === undefined) answers.set(id, (answers.get(id) ?? 0) + 1);
    const faults: string[] = [];
    const asked = new Set<unknown>();
    for (const { id, method } of this.sent) {
      if (id === undefined || method === undefined) continue;
      if (asked.has(id)) faults.push(`the client used ${JSON.stringify(id)} twice`);
      asked.add(id);
      const count = answers.get(id) ?? 0;
      if (count !== 1 && !(count === 0 && open.has(id)))
        faults.push(`${method} ${JSON.stringify(id)} has ${count} answers`);
    }
    for (const id of answers.keys())
      if (!asked.has(id)) faults.push(`nobody asked for ${JSON.stringify(id)}`);
    return faults;
  }
}

/** Any transport, recorded. */
export class RecordedTransport implements Transport {
  onmessage?: <T extends JSONRPCMessage>(message: T, extra?: MessageExtraInfo) => void;
  onclose?: () => void;
  onerror?: (error: Error) => void;
  readonly traffic = new Traffic();
  readonly #inner: Transport;

  constructor(inner: Transport) {
    this.#inner = inner;
  }

  async start(): Promise<void> {
    this.#inner.onmessage = (message, extra) => {
      this.traffic.received.push(message as Message);
      this.onmessage?.(message, extra);
    };
    this.#inner.onclose = () => this.onclose?.();
    this.#inner.onerror = (error) => this.onerror?.(error);
    await this.#inner.start();
  }

  async send(message: JSONRPCMessage): Promise<void> {
    this.traffic.sent.push(message as Message);
    await this.#inner.send(message);
  }

  async close(): Promise<void> {
    await this.#inner.close();
  }
}

/** A client's end of two streams in this process. */
export class StreamTransport implements Transport {
  onmessage?: <T extends JSONRPCMessage>(message: T) => void;
  onclose?: () => void;
  onerror?: (error: Error) => void;
  readonly #toServer: Writable;
  readonly #fromServer: Readable;
  #pieces: Buffer[] = [];

  constructor({ stdin, stdout }: { readonly stdin: Writable; readonly stdout: Readable }) {
    this.#toServer = stdin;
    this.#fromServer = stdout;
  }

  async start(): Promise<void> {
    this.#fromServer.on("data", (chunk: Buffer) => this.#take(chunk));
  }

  async send(message: JSONRPCMessage): Promise<void> {
    this.#toServer.write(`${JSON.stringify(message)}\n`);
  }

  async close(): Promise<void> {
    this.#toServer.end();
    this.onclose?.();
  }

  #take(chunk: Buffer): void {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      const line = Buffer.concat([...this.#pieces, chunk.subarray(start, end)]);
      this.#pieces = [];
      start = end + 1;
      this.onmessage?.(JSON.parse(line.toString()) as JSONRPCMessage);
    }
    if (start < chunk.length) this.#pieces.push(chunk.subarray(start));
  }
}

export interface Connected<Client> {
  readonly client: Client;
  readonly traffic: Traffic;
  /** What the tool says, parsed if it is JSON. */
  call(name: string, given?: object): Promise<unknown>;
}

/** What a client can be asked for. */
export const EVERYTHING = { sampling: {}, elicitation: {}, roots: { listChanged: true } };

export async function connectLegacy(
  transport: Transport,
  capabilities: Partial<typeof EVERYTHING> = EVERYTHING,
): Promise<Connected<LegacyClient>> {
  const client = new LegacyClient({ name: "legacy-test", version: "1" }, { capabilities });
  const recorded = new RecordedTransport(transport);
  await client.connect(recorded, PATIENTLY);
  const ask: Asking = (params) => client.callTool(params, undefined, PATIENTLY);
  return { client, traffic: recorded.traffic, call: caller(ask) };
}

export async function connectModern(
  transport: Transport,
  capabilities: Partial<typeof EVERYTHING> = EVERYTHING,
): Promise<Connected<ModernClient>> {
  const versionNegotiation = { mode: { pin: MODERN_VERSION } };
  const client = new ModernClient(
    { name: "modern-test", version: "1" },
    { capabilities, versionNegotiation },
  );
  const recorded = new RecordedTransport(transport);
  await client.connect(recorded as unknown as Parameters<ModernClient["connect"]>[0], PATIENTLY);
  const ask: Asking = (params) => client.callTool(params, PATIENTLY);
  return { client, traffic: recorded.traffic, call: caller(ask) };
}

type Asking = (params: { name: string; arguments: Record<string, unknown> }) => Promise<unknown>;

function caller(ask: Asking): Connected<unknown>["call"] {
  const asked = async (name: string, given: object) => {
    const { content } = (await ask({ name, arguments: { ...given } })) as { content: { text: string }[] };
    const said = content[0]?.text ?? "";
    return /^[{[]/.test(said) ? JSON.parse(said) : said;
  };
  return (name, given = {}) => heard(asked(name, given));
}

export interface Load {
  readonly count: number;
  readonly perSecond: number;
  /** Ms. */
  readonly slowest: number;
  readonly wrong: readonly string[];
}

/** So many may wait for an answer: on a machine that is too slow for the pace they would get more and more, and time out. */
const MOST_OPEN = 250;

/**
 * Calls `ask` at a steady pace until `done`; whatever was late is made up for. `ask` says what was wrong with its
 * answer, or undefined.
 */
export async function load(
  ask: (number: number) => Promise<string | undefined>,
  done: Promise<unknown>,
  perSecond = 220,
  mostOpen = MOST_OPEN,
): Promise<Load> {
  let isOver = false;
  const over = done.finally(() => {
    isOver = true;
  });
  over.catch(() => undefined); // It is awaited below.
  const wrong: string[] = [];
  const underWay: Promise<void>[] = [];
  const start = performance.now();
  let [slowest, open] = [0, 0];
  while (!isOver) {
    const due = ((performance.now() - start) / 1000) * perSecond;
    while (underWay.length < due && open < mostOpen) {
      open++;
      const [number, sentAt] = [underWay.length, performance.now()];
      const settle = (fault: string | undefined) => {
        open--;
        slowest = Math.max(slowest, performance.now() - sentAt);
        if (fault !== undefined) wrong.push(`${number}: ${fault}`);
      };
      underWay.push(ask(number).then(settle, (error: Error) => settle(error.message)));
    }
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  const seconds = (performance.now() - start) / 1000;
  await Promise.all(underWay);
  await over;
  return { count: underWay.length, perSecond: underWay.length / seconds, slowest, wrong };
}

/** A request whose answer no other request has. */
export function askForEcho({ call }: Pick<Connected<unknown>, "call">) {
  return async (number: number): Promise<string | undefined> => {
    const value = `answer ${number}`;
    const said = await call("wait", { ms: number % 20, value });
    return said === value ? undefined : `${JSON.stringify(said)} instead of ${value}`;
  };
}
