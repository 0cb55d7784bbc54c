/** Many supervisors at once: some silent, some gone. */
import { spawn } from "node:child_process";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../src/clock.ts";
import { endpointOf, makeFolder } from "../../src/control/endpoint.ts";
import { askAll } from "../../src/control/supervisors.ts";
import { firstLine, until } from "../helpers/processes.ts";
import { VirtualClock } from "../helpers/virtual-clock.ts";
import { ControlRoom } from "./room.ts";

let room: ControlRoom;
beforeEach(() => {
  room = new ControlRoom();
});
afterEach(() => room.close());

const options = { timeoutMs: 30_000, clock: systemClock, signal: new AbortController().signal };

/** A process that listens as the supervisor with its own pid would, and says nothing. */
async function listeningProcess() {
  makeFolder(room.place);
  const path = `${JSON.stringify(`${room.place.folder}/`)} + process.pid + ".sock"`;
  const script = `require("net").createServer().listen(${path}, () => console.log("listening"))`;
  const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "ignore"] });
  const endpoint = endpointOf(room.place, child.pid ?? 0);
  await firstLine(child.stdout);
  const ended = new Promise((resolve) => child.once("exit", resolve));
  return { endpoint, kill: () => child.kill("SIGKILL") && ended };
}

describe("all supervisors", () => {
  it("are none on a machine where nothing runs", async () => {
    expect(await askAll(room.place, { type: "status" }, options)).toEqual([]);
  });

  it("are asked, more than can be asked at once, in the order of their start", async () => {
    const pids = Array.from({ length: 150 }, (_, index) => 10_000 - index);
    for (const pid of pids) await room.serve(pid);

    const heard = await askAll(room.place, { type: "status" }, options);

    const told = heard.map(({ outcome }) => outcome.type === "answered" && outcome.answer.status.pid);
    expect([...told].sort()).toEqual([...pids].sort());
    expect(heard.map(({ endpoint }) => endpoint.pid)).toEqual(told);
  });

  it("are asked without a warning of node's on stderr, however many", async () => {
    for (let pid = 1; pid <= 20; pid++) await room.serve(pid);
    const warnings: Error[] = [];
    const note = (warning: Error) => warnings.push(warning);
    process.on("warning", note);

    await askAll(room.place, { type: "status" }, { ...options, signal: new AbortController().signal });
    await new Promise(setImmediate);

    process.off("warning", note);
    expect(warnings).toEqual([]);
  });

  it("are named where they do not answer, and the others are heard", async () => {
    const silent = await listeningProcess();
    await room.serve(7);

    const heard = await askAll(room.place, { type: "status" }, { ...options, timeoutMs: 3_000 });

    await silent.kill();
    expect(heard).toMatchObject([
      { endpoint: silent.endpoint, outcome: { type: "silent", reason: "no answer within 3 s" } },
      { endpoint: { pid: 7 }, outcome: { type: "answered" } },
    ]);
  });

  it("are asked again where they are about to listen", async () => {
    makeFolder(room.place);
    const clock = new VirtualClock(Date.now());
    // As for a moment between the two steps of a start, which a busy machine makes long.
    const path = join(room.place.folder, `${process.pid}.sock`);
    writeFileSync(path, "");
    const asked = askAll(room.place, { type: "status" }, { ...options, clock });
    await until("it was asked in vain", () => clock.nextIn === 50);
    rmSync(path);
    await room.serve(process.pid);
    await clock.advance(50);

    expect(await asked).toMatchObject([{ endpoint: { path }, outcome: { type: "answered" } }]);
  });

  it("are silent where they still do not listen when it is time", async () => {
    makeFolder(room.place);
    const clock = new VirtualClock(Date.now());
    writeFileSync(join(room.place.folder, `${process.pid}.sock`), "");
    let heard: unknown;
    void askAll(room.place, { type: "status" }, { ...options, timeoutMs: 1_000, clock }).then((all) => {
      heard = all;
    });

    await until("it is given up", () => {
      if (clock.nextIn === 50) void clock.advance(50);
      return heard !== undefined;
    });

    expect(heard).toMatchObject([{ outcome: { type: "silent", reason: "it has only just started" } }]);
  });

  it("are cleared away where they were killed", async () => {
    const killed = await listeningProcess();
    await killed.kill();
    expect(existsSync(killed.endpoint.path)).toBe(true);
    await room.serve(7);

    const heard = await askAll(room.place, { type: "status" }, options);

    expect(heard.map(({ endpoint }) => endpoint.pid)).toEqual([7]);
    expect(existsSync(killed.endpoint.path)).toBe(false);
  });
});
