/** What a session is told besides lines, and whom it tells. */
import type { CallWatch } from "./calls.ts";

export interface SessionOptions {
  /** Nothing of the client is unanswered by this generation, and it is at no longer work. */
  readonly onIdle?: (generation: number) => void;
  /** Ms on a steady clock, for how long a line has been held. */
  readonly now?: () => number;
  /** The client has made itself known, by the handshake of its era: from now on another server can take over. */
  readonly onIntroduced?: () => void;
  /** Is told of tool calls; without it nobody looks into them. */
  readonly calls?: CallWatch | undefined;
}
