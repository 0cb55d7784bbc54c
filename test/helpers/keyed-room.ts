/** A throw-away installation for each test of a file, and everything that the test opens closed after it. */
import { afterEach, beforeEach } from "vitest";
import { closeAll } from "./closings.ts";
import { Installation } from "./installation.ts";
import { KeyedSession } from "./keyed-session.ts";

interface Closable {
  close(): Promise<void>;
}

export class KeyedRoom {
  readonly #open: (() => Promise<void>)[] = [];
  #installation: Installation | undefined;

  constructor() {
    beforeEach(() => {
      this.#installation = new Installation();
    });
    afterEach(async () => {
      try {
        await closeAll(this.#open);
      } finally {
        this.#installation?.remove();
      }
    });
  }

  get mcpRun(): Installation {
    if (!this.#installation) throw new Error("no test is running");
    return this.#installation;
  }

  /** A session with a profile, see KeyedSession. */
  async serve(profile: string, env?: Readonly<Record<string, string>>): Promise<KeyedSession> {
    return this.closing(await KeyedSession.start(this.mcpRun, profile, env && { env }));
  }

  /** What is closed after the test, the latest first. */
  closing<T extends Closable>(one: T): T {
    this.#open.push(() => one.close());
    return one;
  }
}
