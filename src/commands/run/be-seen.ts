/** What runs is to be seen by `status`, and by a rotation; but nothing is kept from running for its sake. */
import { McpRunError, systemErrorCode } from "../../errors.ts";
import { AskedLooks } from "./asked-looks.ts";
import type { OpenControl } from "./control.ts";
import type { FleetSeat } from "./fleet.ts";
import type { Holding } from "./holding.ts";
import type { Supervised } from "./supervisor-status.ts";

/**
 * On this machine by a socket, and in its fleet by the bus, each whatever becomes of the other. To be called only now
 * that the program runs: no start waits for what others may want to know of it. Never rejects: where it can't be seen,
 * a warning says so.
 */
export async function beSeen(supervised: Supervised): Promise<OpenControl> {
  const { context, refreshing } = supervised;
  const looks = new AskedLooks(context.clock, () => refreshing.now());
  const holding = await holdingOf(supervised, looks);
  const seat = await seatOf(supervised, looks, holding);
  const seen = { ...supervised, ...(seat && { fleet: () => seat.status }) };
  const control = await openControl(seen, looks, holding);
  const stop = () => {
    holding?.stop();
    control?.stop();
  };
  return {
    stop,
    close: async () => {
      stop();
      looks.stop();
      await Promise.all([control?.close(), seat?.close()]);
    },
  };
}

async function openControl(
  supervised: Supervised,
  looks: AskedLooks,
  holding: Holding | undefined,
): Promise<OpenControl | undefined> {
  try {
    const { openControl } = await import("./control.ts");
    const control = await openControl(supervised, looks, holding);
    void lookIfRotated(supervised, looks);
    return control;
  } catch (error) {
    const what = supervised.mode === "exec" ? "program" : "server";
    warn(supervised, `mcp-run status will not show this ${what}`, error);
    return undefined;
  }
}

/** From now on it is told of rotations; of one that was at work before it may have heard nothing. Never rejects. */
async function lookIfRotated({ context, startedAt }: Supervised, looks: AskedLooks): Promise<void> {
  const asked = import("./rotated-meanwhile.ts").then((one) =>
    one.rotatedSince(context.paths.state, startedAt),
  );
  // What can't be known is left to its schedule.
  if (await asked.catch(() => false)) void looks.ask();
}

async function holdingOf(supervised: Supervised, looks: AskedLooks): Promise<Holding | undefined> {
  try {
    const { Holding } = await import("./holding.ts");
    return new Holding(supervised, looks);
  } catch (error) {
    warn(supervised, `${supervised.profile.name} holds no requests for a rotation`, error);
    return undefined;
  }
}

/** Takes its seat and waits for nothing. */
async function seatOf(
  supervised: Supervised,
  looks: AskedLooks,
  holding: Holding | undefined,
): Promise<FleetSeat | undefined> {
  const { fleet, name } = supervised.profile;
  if (!fleet) return undefined;
  try {
    const { FleetSeat } = await import("./fleet.ts");
    return new FleetSeat(supervised, fleet, looks, holding);
  } catch (error) {
    warn(supervised, `${name} is not heard in its fleet`, error);
    return undefined;
  }
}

function warn({ context }: Supervised, what: string, error: unknown): void {
  const isExpected = error instanceof McpRunError;
  const reason = isExpected ? error.message : (systemErrorCode(error) ?? "a bug in mcp-run");
  const hint = isExpected ? error.hint : undefined;
  const message = `${what}: ${reason}`;
  context.printer.emit({ type: "warning", message, ...(hint && { hint }) });
}
