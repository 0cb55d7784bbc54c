/** Within what a pid means one process: two machines of one name, or two containers, have the same pids. */
import { createHash } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";
import { systemErrorCode } from "../../errors.ts";

/**
 * A name for it that tells nobody anything: on Linux of this start of the kernel and this namespace (proc(5),
 * pid_namespaces(7)), elsewhere of the machine. Undefined where it can't be known.
 */
export function pidSpace(): string | undefined {
  try {
    const what =
      process.platform === "linux"
        ? `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8")} ${readlinkSync("/proc/self/ns/pid")}`
        : hostname();
    return createHash("sha256").update(what).digest("base64url").slice(0, 22);
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    return undefined;
  }
}
