/**
 * Moves the lines of one client and of the servers that it has in turn, as the session decides: which server gets
 * a line, and in whose words. It owns the streams and starts or stops nobody. Order is kept: what is changed on
 * its way goes out in the place of what came in.
 */
import { PassThrough, type Readable, type Writable } from "node:stream";
import { answerOverlong, errorResponse } from "../relay/error-response.ts";
import { Line, type OverlongLine } from "../relay/line.ts";
import { LineSink } from "../relay/line-sink.ts";
import type { ServerLine } from "../relay/own-request.ts";
import { type PumpEnd, pumpLines } from "../relay/pump.ts";
import type { Session } from "../relay/session.ts";
import { SwitchedSink } from "../relay/switched-sink.ts";
import { UnreadableLines } from "../relay/unreadable-lines.ts";
import type { ServerVerdict } from "../relay/verdict.ts";
import { redactJson } from "../scrub/redact-json.ts";
import { ScrubStream } from "../scrub/scrub-stream.ts";
import type { NeedleSource } from "../scrub/scrubber.ts";
import { SecretWatch } from "../scrub/secret-watch.ts";
import { ByteRelay } from "./byte-relay.ts";

/** Start-up chatter on stdout that is kept while stderr is blocked. */
const MOST_NOISE_BYTES = 1_048_576;
/** Bytes of held lines beyond which nothing more is read from the client. */
const MOST_HELD_BYTES = 64 * 1_048_576;

export interface SwitchboardOptions {
  readonly session: Session;
  /** What the client says. Afterwards it is paused, and what was not read is still in it. */
  readonly stdin: Readable;
  /** To the client. Never ended here. */
  readonly stdout: LineSink;
  /** Never ended here. */
  readonly stderr: Writable;
  /** What to hide on stderr; may grow while servers run. */
  readonly needles: NeedleSource;
  /** Bytes of a line, its newline included. */
  readonly maxLineBytes: number;
  /** What becomes of a secret that a server tells the client on stdout; without it nobody looks. */
  readonly leaks?: LeakPolicy | undefined;
  readonly warn: (message: string) => void;
  /** Nobody reads our stdout any more. */
  readonly onReaderGone: () => void;
}

export interface LeakPolicy {
  /** `report` leaves every byte as it is. */
  readonly mode: "report" | "redact";
  readonly onLeak: (leak: Leak) => void;
}

/** A message to the client that holds values of these secrets. */
export interface Leak {
  readonly names: readonly string[];
  /** Its own, or that of the request that it answers. */
  readonly method: string | undefined;
  /** Raw JSON. */
  readonly id: string | undefined;
}

/** The streams of one server. */
export interface ServerStreams {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
}

export interface Detached {
  /** Bytes of the server's last line, which had no newline. */
  readonly tornBytes: number;
  /** False if its stderr was not read in time. */
  readonly flushed: boolean;
}

interface Attached {
  readonly streams: ServerStreams;
  readonly sink: LineSink;
  readonly noise: PassThrough;
  readonly relays: readonly ByteRelay[];
  readonly read: Promise<PumpEnd>;
  readonly gone: AbortController;
  /** Aborted: what is not written by now is given up. */
  readonly lastBytes: AbortController;
}

export class Switchboard {
  readonly #options: SwitchboardOptions;
  readonly #servers = new Map<number, Attached>();
  readonly #toCurrent: SwitchedSink;
  readonly #unreadable: Readonly<Record<"client" | "server", UnreadableLines>>;
  #current: number | undefined;
  /** Aborted: nothing more is read from the client. */
  readonly #clientDone = new AbortController();

  constructor(options: SwitchboardOptions) {
    this.#options = options;
    this.#toCurrent = new SwitchedSink(() => options.session.held.bytes > MOST_HELD_BYTES);
    this.#unreadable = {
      client: new UnreadableLines("client", options.warn),
      server: new UnreadableLines("server", options.warn),
    };
  }

  /** Reads the client until its end, or until `stopReading`. Gives the bytes of a last line without a newline. */
  async readClient(): Promise<PumpEnd> {
    const { stdin, maxLineBytes } = this.#options;
    return pumpLines(stdin, this.#toCurrent, {
      maxLineBytes,
      signal: this.#clientDone.signal,
      judge: (line) => this.#fromClient(line),
      onOverlong: (line) => this.#overlongFromClient(line),
    });
  }

  stopReading(): void {
    this.#clientDone.abort();
  }

  /** Every server has gone. */
  end(): void {
    for (const lines of Object.values(this.#unreadable)) lines.end();
  }

  /** Takes the streams of a new server; its number is one that the session knows. Call it in the tick of its start. */
  attach(number: number, streams: ServerStreams): ServerLine {
    const sink = new LineSink(streams.stdin);
    const noise = new PassThrough();
    const gone = new AbortController();
    const relays = [this.#scrubbed(streams.stderr), this.#scrubbed(noise)];
    const lastBytes = new AbortController();
    const read = this.#readServer(number, streams, sink, noise, lastBytes.signal);
    this.#servers.set(number, { streams, sink, noise, relays, read, gone, lastBytes });
    return { number, send: (bytes) => sink.write([bytes]), gone: gone.signal };
  }

  /** What is new goes to this server from now on, after what was held for it. */
  takeOver(number: number): void {
    const server = this.#servers.get(number);
    if (!server) throw new Error(`generation ${number} has no streams`);
    this.#current = number;
    server.sink.write(this.#options.session.takeOver(number));
    this.#toCurrent.switchTo(server.sink);
  }

  /** What was held goes to the current server, or to the next. */
  letGo(): void {
    const lines = this.#options.session.letGo();
    if (this.#current !== undefined) this.#servers.get(this.#current)?.sink.write(lines);
    this.#toCurrent.tell();
  }

  tellClient(lines: readonly Buffer[]): void {
    this.#options.stdout.write(lines);
    this.#toCurrent.tell();
  }

  /**
   * The server has ended: takes what is left of its output, and then tells the client what `owed` says.
   */
  async detach(number: number, owed: () => readonly Buffer[]): Promise<Detached> {
    const server = this.#servers.get(number);
    if (!server) return { tornBytes: 0, flushed: true };
    server.gone.abort(new Error("the server has ended"));
    if (this.#current === number) {
      this.#current = undefined;
      this.#options.session.lost(number);
      this.#toCurrent.switchTo(undefined);
    }
    const { tornBytes } = await server.read;
    server.noise.end();
    this.tellClient(owed());
    const written = Promise.all(server.relays.map((relay) => relay.done)).then(() => true);
    const flushed = await Promise.race([written, aborted(server.lastBytes.signal).then(() => false)]);
    this.#servers.delete(number);
    return { tornBytes, flushed };
  }

  /** Gives up what this server, or any, has said and nobody has read yet. */
  cut(number?: number): void {
    for (const [key, { streams, relays, lastBytes }] of this.#servers) {
      if (number !== undefined && key !== number) continue;
      lastBytes.abort();
      streams.stdout.destroy();
      for (const relay of relays) relay.cut();
    }
  }

  async #readServer(
    number: number,
    streams: ServerStreams,
    sink: LineSink,
    noise: PassThrough,
    signal: AbortSignal,
  ): Promise<PumpEnd> {
    const { stdout, maxLineBytes, onReaderGone, leaks, needles } = this.#options;
    const watch = leaks && new SecretWatch(needles);
    const end = await pumpLines(streams.stdout, stdout, {
      maxLineBytes,
      signal,
      ...(watch && { onChunk: (chunk: Buffer) => watch.push(chunk) }),
      judge: this.#judgeOf(number, watch),
      onOverlong: (line) => this.#overlongFromServer(number, line, sink),
      onNoise: (line) => {
        if (noise.writableLength < MOST_NOISE_BYTES) noise.write(line);
      },
    });
    if (end.type === "sink-closed") {
      // It may still have to say a lot before it ends, and must not hang on a full pipe.
      streams.stdout.resume();
      onReaderGone();
    }
    return end;
  }

  #judgeOf(number: number, watch: SecretWatch | undefined): (line: Line) => ServerVerdict {
    const { session, leaks, needles } = this.#options;
    const unreadable = this.#unreadable.server;
    return (line) => {
      unreadable.look(line);
      if (!leaks || !watch) return session.serverSaid(number, line);
      const names = watch.isAlarmed ? watch.namesIn(line.bytes) : [];
      const method = names.length > 0 ? session.methodOf(number, line) : undefined;
      const verdict = session.serverSaid(number, line);
      if (verdict === false) return false;
      if (names.length > 0) leaks.onLeak({ names, method, id: idOf(line) });
      return leaks.mode === "redact" ? redacted(verdict, line, needles) : verdict;
    };
  }

  #fromClient(line: Line): boolean | readonly Buffer[] {
    this.#unreadable.client.look(line);
    const verdict = this.#options.session.clientSaid(line);
    switch (verdict.to) {
      case "current":
        return true;
      case "client":
        this.#options.stdout.write([verdict.bytes]);
        return false;
      case "some": {
        for (const { generation, bytes } of verdict.letters) {
          if (generation !== this.#current) this.#servers.get(generation)?.sink.write([bytes]);
        }
        return verdict.letters
          .filter(({ generation }) => generation === this.#current)
          .map(({ bytes }) => bytes);
      }
      default:
        return false;
    }
  }

  #overlongFromClient({ length, envelope }: OverlongLine): void {
    const { stdout, maxLineBytes, warn } = this.#options;
    warn(`a line of ${length} bytes from the client was too long and was dropped`);
    const error = (id: string) =>
      errorResponse(id, `message of ${length} bytes exceeds the limit of ${maxLineBytes}`);
    if (envelope.type === "request") stdout.write([error(envelope.id)]);
    if (envelope.type !== "response") return;
    // In place of an answer the server that waits for it gets an error, in its own words.
    const judged = this.#fromClient(new Line([], error(envelope.id)));
    if (judged !== false) this.#toCurrent.write(judged === true ? [error(envelope.id)] : judged);
  }

  #overlongFromServer(number: number, line: OverlongLine, sink: LineSink): void {
    const { stdout, session, maxLineBytes, warn } = this.#options;
    warn(`a line of ${line.length} bytes from the server was too long and was dropped`);
    const isAnswer = line.envelope.type === "response";
    if (isAnswer && !session.serverAnsweredTooLong(number, line.envelope.id)) return;
    answerOverlong(line, maxLineBytes, { toSender: sink, toReceiver: stdout });
  }

  #scrubbed(source: Readable): ByteRelay {
    const { stderr, needles } = this.#options;
    const transform = new ScrubStream(needles);
    return new ByteRelay({ source, transform, sink: stderr, whenReaderGone: "discard" });
  }
}

function redacted(verdict: true | readonly Buffer[], line: Line, needles: NeedleSource): ServerVerdict {
  const lines = verdict === true ? [line.bytes] : verdict;
  const masked = lines.map((bytes) => redactJson(bytes.toString("utf8"), needles));
  if (masked.every((text) => text === undefined)) return verdict;
  return lines.map((bytes, index) => (masked[index] === undefined ? bytes : Buffer.from(masked[index])));
}

function idOf({ envelope }: Line): string | undefined {
  return "id" in envelope ? envelope.id : undefined;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
