/** How far the servers are, on a terminal and elsewhere. */
import { Writable } from "node:stream";
import { describe, expect, it } from "vitest";
import { SpreadProgress } from "../../../src/commands/rotate/spread-progress.ts";
import { escapeControl } from "../../../src/escape.ts";
import type { Acknowledgement } from "../../../src/rotation/contract.ts";
import { VirtualClock } from "../../helpers/virtual-clock.ts";

class Terminal extends Writable {
  readonly columns = 100;
  readonly drawings: string[] = [];

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.drawings.push(chunk.toString());
    done();
  }
}

function progress(terminal?: Terminal) {
  const clock = new VirtualClock();
  const told: string[] = [];
  const tell = (line: string) => void told.push(line);
  const shown = new SpreadProgress({ terminal, clock, tell, clean: (line) => escapeControl(line) });
  return { clock, told, shown };
}

/** The first of `count` have it; the last one fails at the end. */
function fleetWith(
  done: number,
  count: number,
  state: Acknowledgement["state"] = "pending",
): readonly Acknowledgement[] {
  return Array.from({ length: count }, (_, index) => ({
    host: `host${index}`,
    pid: index + 1,
    profile: "app",
    generation: 2,
    canSwap: true,
    state: index < done ? "acknowledged" : state,
  }));
}

describe("the progress of a spread", () => {
  it("is told once a second where there is no terminal, and whole in the end, with whoever is not done", async () => {
    const { clock, told, shown } = progress();
    shown.show(fleetWith(0, 3));
    shown.show(fleetWith(1, 3));
    await clock.advance(1_000);
    shown.show(fleetWith(1, 3));
    shown.show(fleetWith(2, 3));
    await clock.advance(1_000);
    shown.show(fleetWith(1, 3));
    shown.show(fleetWith(2, 3, "failed"));
    expect(told).toEqual(["  3 pending, on 3 hosts", "  1 acknowledged, 2 pending, on 3 hosts"]);

    shown.end();
    shown.end();

    expect(told.slice(2)).toEqual([
      "  2 acknowledged, 1 failed, on 3 hosts",
      "    app on host2 (pid 3): failed",
    ]);
  });

  it("is a bar on a terminal, drawn ten times a second at most, and last of all as it is in the end", async () => {
    const terminal = new Terminal();
    const { clock, told, shown } = progress(terminal);
    for (let done = 0; done <= 1_000; done++) {
      if (done % 100 === 0) await clock.advance(100);
      shown.show(fleetWith(done, 1_000));
    }
    expect(terminal.drawings).toHaveLength(11);
    expect(terminal.drawings[5]).toContain(
      "████████████░░░░░░░░░░░░ 500 acknowledged, 500 pending, on 1,000 hosts",
    );
    expect(terminal.drawings[5]?.split("\n")).toHaveLength(1 + 5 + 1 + 1);

    shown.end();

    expect(terminal.drawings.at(-1)).toContain(`${"█".repeat(24)} 1,000 acknowledged, on 1,000 hosts`);
    expect(told).toEqual([]);
  });

  it("obeys no terminal control character of a name", () => {
    const terminal = new Terminal();
    const { shown } = progress(terminal);
    shown.show([{ ...(fleetWith(0, 1)[0] as Acknowledgement), profile: "\u001b[2Jevil" }]);
    expect(terminal.drawings.join()).toContain("\\e[2Jevil on host0");
  });
});
