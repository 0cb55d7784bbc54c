/** When a profile's secrets are looked at again, and how a change reaches the server. */
import { nearest } from "../nearest.ts";
import { type Compilation, checkRange } from "./compilation.ts";
import { cronMistake, isTimeZone } from "./cron.ts";
import type { Profile, RefreshPlan } from "./profile.ts";
import { parseDuration } from "./quantities.ts";

const DEFAULT_RESTART = "overlap";
const DEFAULT_DRAIN_MS = 10 * 60_000;

const LEAST_EVERY_MS = 1_000;
const MOST_EVERY_MS = 365 * 86_400_000;
const MOST_DRAIN_MS = 86_400_000;

/** @param secrets those of the profile: a signal is of use only if one of them is in a file */
export async function compileRefresh(
  secrets: Profile["secrets"],
  compilation: Compilation,
): Promise<RefreshPlan> {
  const { body, pathOf, findings } = compilation;
  const { every, drain, restart = DEFAULT_RESTART, signal } = body.refresh ?? {};
  const everyMs = every === undefined ? undefined : parseDuration(every);
  const drainMs = drain === undefined ? undefined : parseDuration(drain);
  checkRange(pathOf("refresh", "every"), everyMs, LEAST_EVERY_MS, MOST_EVERY_MS, "`1s` to `365d`", findings);
  checkRange(pathOf("refresh", "drain"), drainMs, 0, MOST_DRAIN_MS, "`0s` to `24h`", findings);
  if (signal !== undefined) checkSignal(secrets, compilation);
  const cron = await compileCron(compilation);
  return {
    ...(everyMs !== undefined && { everyMs }),
    ...(cron && { cron }),
    restart,
    drainMs: drainMs ?? DEFAULT_DRAIN_MS,
    ...(signal !== undefined && { signal }),
  };
}

async function compileCron({ body, pathOf, findings }: Compilation): Promise<RefreshPlan["cron"]> {
  const { cron: line, timezone } = body.refresh ?? {};
  if (timezone !== undefined) {
    const path = pathOf("refresh", "timezone");
    if (line === undefined) {
      findings.error({ path, part: "key" }, "`timezone` has no meaning without `cron`", {
        hint: '`cron: "0 3 * * *"` beside it',
      });
    } else if (!isTimeZone(timezone)) {
      const near = nearest(timezone, Intl.supportedValuesOf("timeZone"));
      findings.error({ path }, "`timezone` is no time zone of the IANA database", {
        hint: near ? `\`${near}\`` : "a name such as `Europe/Berlin` or `UTC`",
      });
    }
  }
  if (line === undefined) return undefined;
  const mistake = await cronMistake(line);
  if (mistake) {
    const { message, hint, find } = mistake;
    findings.error(
      { path: pathOf("refresh", "cron"), ...(find !== undefined && { find }) },
      `\`cron\`: ${message}`,
      { hint },
    );
  }
  return { line, ...(timezone !== undefined && { timezone }) };
}

function checkSignal(
  secrets: Profile["secrets"],
  { pathOf, findings, request, secretNames }: Compilation,
): void {
  const path = pathOf("refresh", "signal");
  if (request.platform === "win32") {
    findings.error({ path, part: "key" }, "`signal` is not possible on Windows", {
      hint: "without it: the server is restarted instead",
    });
    return;
  }
  // A secret that is at fault itself may have been meant as a file.
  const isOneMissing = findings.errors.some(({ place }) => "path" in place && place.path.includes("secrets"));
  if (isOneMissing || secrets.some(({ deliver }) => deliver === "file")) return;
  const [name = "NAME"] = secretNames;
  findings.error({ path }, "`signal` needs a secret that the server reads from a file", {
    hint: `\`${name}: { from: …, deliver: file }\` under \`secrets:\`, or leaving \`signal\` out`,
  });
}
