/** Whether there is a process with this id, be it somebody else's. */
import { systemErrorCode } from "../errors.ts";

export function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return systemErrorCode(error) === "EPERM";
  }
}
