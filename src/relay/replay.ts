/**
 * Makes a new server what the first one is to the client: says again what the client has said, until there is
 * nothing more to say. A server that shows itself in another way than the first can't take its place.
 */
import { at } from "./message.ts";
import { askServer, type OwnRequestOptions, type ServerLine, sendAndWait } from "./own-request.ts";
import { codeText } from "./probe.ts";
import { faceOf, type Recall, sameFace } from "./recall.ts";

/** Why a server can't take over; a state, without a full stop. */
export class ReplayError extends Error {
  override readonly name = "ReplayError";
}

export class Replay {
  readonly #server: ServerLine;
  readonly #options: OwnRequestOptions;
  readonly #end: () => void;
  #heard = 0;
  #isKnown = false;

  /** `end` has to be called once, however it ends. */
  constructor(server: ServerLine, options: OwnRequestOptions) {
    this.#server = server;
    this.#options = options;
    this.#end = options.session.recall.beginReplay();
  }

  /** True if the server has heard everything that the client has said up to now. */
  get isComplete(): boolean {
    return this.#isKnown && this.#heard === this.#recall.revision;
  }

  /** Says what is missing. Rejects with ReplayError or NoAnswerError, or with the reason why the server went. */
  async catchUp(): Promise<void> {
    if (!this.#isKnown && this.#recall.era === "modern") await this.#discover();
    while (!this.isComplete) {
      const { revision } = this.#recall;
      for (const step of this.#recall.stepsSince(this.#heard)) {
        const isStillToCome = step.id !== undefined && this.#options.session.held.has(step.id);
        if (!isStillToCome) await this.#say(step);
      }
      this.#heard = revision;
      this.#isKnown = true;
    }
  }

  end(): void {
    this.#end();
  }

  get #recall(): Recall {
    return this.#options.session.recall;
  }

  /** Nothing is owed to a modern server, but something has to prove it before it gets the client's requests. */
  async #discover(): Promise<void> {
    const answer = await askServer(
      this.#server,
      "server/discover",
      { _meta: this.#recall.meta },
      this.#options,
    );
    this.#compare(answer);
  }

  async #say({ type, id, line }: ReturnType<Recall["stepsSince"]>[number]): Promise<void> {
    const { session } = this.#options;
    const { number } = this.#server;
    if (type === "notification" || id === undefined) {
      this.#server.send(line);
      session.introduced(number);
    } else if (type === "listen") {
      // The client may have ended it while an answer was waited for.
      if (!session.recall.isListen(id)) return;
      session.repeatedListen(number, id);
      this.#server.send(line);
    } else {
      const answer = await sendAndWait(this.#server, id, line, this.#options);
      if (type === "initialize") this.#compare(answer);
    }
  }

  #compare(answer: Readonly<Record<string, unknown>>): void {
    const code = at(answer, "error", "code");
    if (code !== undefined) throw new ReplayError(`it refuses the client's handshake${codeText(code)}`);
    const { era, face } = this.#recall;
    if (face && !sameFace(face, faceOf(era, answer.result))) {
      throw new ReplayError("it has another protocol version or other capabilities than the client was told");
    }
  }
}
