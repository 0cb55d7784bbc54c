/** How long the audit is kept: whole files, by the day and the number of days in their names. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { systemErrorCode } from "../errors.ts";
import { auditFiles, dayOf, dayOfFile, keptDaysOf } from "./files.ts";

const DAY_MS = 86_400_000;

/** True for a file that retention removes, or has removed already. */
export function isExpired(name: string, now: number): boolean {
  const day = dayOfFile(name);
  return day !== undefined && day < dayOf(now - keptDaysOf(name) * DAY_MS);
}

/** Removes what is too old. What can't be removed stays for the next time. */
export async function removeExpired(folder: string, now: number): Promise<void> {
  for (const name of await auditFiles(folder)) {
    if (!isExpired(name, now)) continue;
    await rm(join(folder, name), { force: true }).catch((error: unknown) => {
      if (systemErrorCode(error) === undefined) throw error;
    });
  }
}
