/**
 * With NODE_DEBUG=child_process (or `*`) Node itself prints what it starts to stderr, with all arguments and
 * the whole environment. Whoever starts a program with something to hide does it here.
 */
import { debuglog, inspect } from "node:util";

/** Calls `spawn`; while it runs, Node's own debugging output shows objects without what is in them. */
export function silently<T>(spawn: () => T): T {
  if (!debuglog("child_process").enabled) return spawn();
  const { depth } = inspect.defaultOptions;
  inspect.defaultOptions.depth = -1;
  try {
    return spawn();
  } finally {
    inspect.defaultOptions.depth = depth;
  }
}
