/** What a supervisor could say of itself. */
import type { SupervisorStatus } from "../../src/control/protocol.ts";

export function statusOf(pid: number, facts: Partial<SupervisorStatus> = {}): SupervisorStatus {
  return {
    pid,
    host: "here",
    profile: "p",
    file: "/nonexistent/p.yaml",
    command: "node",
    startedAt: "2027-01-15T08:00:00.000Z",
    uptimeMs: 1000,
    state: "serving",
    generation: 1,
    serverPid: 4711,
    restarts: 0,
    secrets: [],
    refresh: { mode: "overlap", isLooking: false },
    scrubbed: 0,
    leaks: 0,
    ...facts,
  };
}
