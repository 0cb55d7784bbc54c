/** What the launch room is told whenever a server is served, by `run` or by `check --start`. */
import type { ServeOptions } from "../../launch/serving.ts";
import type { Profile } from "../../profile/profile.ts";
import type { CommandContext } from "../context.ts";

export function serverLimits({
  maxLineBytes,
  stopGraceMs,
}: Profile): Pick<ServeOptions, "maxLineBytes" | "stopGraceMs"> {
  return { maxLineBytes, stopGraceMs };
}

export function surroundings({
  platform,
  uid,
  paths,
  clock,
  printer,
  onSignal,
}: CommandContext): Pick<ServeOptions, "platform" | "uid" | "runFolder" | "clock" | "emit" | "onSignal"> {
  return { platform, uid, runFolder: paths.run, clock, emit: printer.emit, onSignal };
}
