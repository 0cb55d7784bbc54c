/** The incident report of a rotation, as a file. */
import { constants } from "node:fs";
import { access, appendFile, lstat, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { version } from "../../../package.json";
import { McpRunError, systemErrorCode } from "../../errors.ts";
import type { Profile } from "../../profile/profile.ts";
import type { Outcome } from "../../rotation/happening.ts";
import type { StoredAt } from "../../rotation/incident/access-log.ts";
import { incidentOf } from "../../rotation/incident/incident-of.ts";
import { incidentReport } from "../../rotation/incident/report.ts";
import { readJournal } from "../../rotation/journal/journal.ts";
import { commandOf } from "../../rotation/journal/journal-line.ts";
import type { RotationPlan } from "../../rotation/plan.ts";
import { writePrivate } from "../../secrets/private-file.ts";
import { parseRef } from "../../secrets/ref.ts";
import type { CommandContext } from "../context.ts";
import type { Given } from "./parts.ts";

/** `/dev/stdout` and what a shell puts in for a program that reads along: links, and no place for another file. */
const STREAM = /^\/(?:dev|dev\/fd|proc\/[^/]+\/fd)\/[^/]+$/;

/** Throws McpRunError `usage` where no file could be made, since a rotation that has ended is told of only once. */
export async function mustHaveRoom(
  { cwd, uid }: Pick<CommandContext, "cwd" | "uid">,
  file: string,
): Promise<void> {
  const path = resolve(cwd, file);
  const refuse = (place: string, state: string) =>
    new McpRunError("usage", `Cannot write the report to ${place}: ${state}`, {
      hint: "another path behind `--report`",
    });
  if (await isStream(path)) return;
  const folder = dirname(path);
  await access(folder, constants.W_OK).catch((error: unknown) => {
    const code = systemErrorCode(error);
    throw code === undefined ? error : refuse(folder, code);
  });
  const there = await stat(path).catch(() => undefined);
  if (there?.isDirectory()) throw refuse(path, "it is a folder");
  const owner = (await lstat(path).catch(() => undefined))?.uid;
  if (owner !== undefined && uid !== undefined && uid !== 0 && owner !== uid)
    throw refuse(path, "it belongs to somebody else");
}

/** What can't be written is a warning: the rotation has ended as it has. */
export async function writeReport(
  { context: { cwd, printer }, profile }: Pick<Given, "context" | "profile">,
  plan: RotationPlan["record"],
  file: string,
  journals: string,
  outcome: Outcome,
): Promise<void> {
  const path = resolve(cwd, file);
  try {
    const { lines } = await readJournal(journals, outcome.rotation);
    const report = incidentReport(incidentOf(lines, outcome, version, (ref) => storedAt(profile, ref)));
    if (await isStream(path)) await appendFile(path, report);
    // It says who has which key: not for everybody on this machine, and not for wherever a link leads.
    else writePrivate(path, report);
    printer.emit({ type: "notice", message: `the report is in ${path}` });
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === undefined && !(error instanceof McpRunError)) throw error;
    const reason = error instanceof McpRunError ? error.message : code;
    const hint = `\`${commandOf(plan, "--resume")} --report FILE\`, if it is not done`;
    printer.emit({ type: "warning", message: `the report could not be written to ${path}: ${reason}`, hint });
  }
}

/** Whether it is written to as it is: anything else is replaced. */
async function isStream(path: string): Promise<boolean> {
  const there = await lstat(path).catch(() => undefined);
  if (!there || there.isFile() || there.isDirectory()) return false;
  return !there.isSymbolicLink() || STREAM.test(path);
}

function storedAt({ providers }: Profile, target: string): StoredAt | undefined {
  const parsed = parseRef(target);
  if (!parsed.ok) return undefined;
  const { provider, request } = parsed.ref;
  return { type: providers.get(provider)?.type ?? provider, path: request.path };
}
