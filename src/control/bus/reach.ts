/** Whether somebody listens there at all: unlike the library's attempt, this one can be given up at any moment. */
import { connect } from "node:net";
import type { Clock } from "../../clock.ts";
import { systemErrorCode } from "../../errors.ts";
import type { Server } from "./connect.ts";

const ANSWER_MS = 5_000;

/** Why not, as a state; undefined if somebody does. */
export async function whyUnreachable(
  { hostname, address }: Server,
  clock: Clock,
  signal: AbortSignal,
): Promise<string | undefined> {
  const socket = connect({ host: hostname, port: Number(address.slice(address.lastIndexOf(":") + 1)) });
  const stop = () => socket.destroy();
  const timer = clock.after(ANSWER_MS, stop);
  signal.addEventListener("abort", stop, { once: true });
  try {
    return await new Promise<string | undefined>((resolve) => {
      socket.once("connect", () => resolve(undefined));
      socket.once("error", (error) => resolve(systemErrorCode(error) ?? error.name));
      socket.once("close", () => resolve("no answer in time"));
    });
  } finally {
    timer.cancel();
    signal.removeEventListener("abort", stop);
    socket.destroy();
  }
}
