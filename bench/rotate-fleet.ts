/** The local fleet as a rotation has it, for bench/rotate.mjs: bundled there. */
import { systemClock } from "../src/clock.ts";
import { LocalFleet } from "../src/rotation/fleet/local-fleet.ts";

export function localFleet(folder: string): LocalFleet {
  const place = { folder, platform: process.platform, uid: process.getuid?.(), loginName: () => "bench" };
  return new LocalFleet({ place, clock: systemClock });
}
