/** Where supervisors listen: folders of the wrong kind, long paths, what a killed process has left. */
import { chmodSync, chownSync, existsSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type ControlPlace,
  endpointOf,
  listEndpoints,
  makeFolder,
  removeIfStale,
} from "../../src/control/endpoint.ts";
import { ControlRoom } from "./room.ts";

/** No process has it: Linux goes up to 4194304. */
const NO_PID = 4_194_305;

let room: ControlRoom;
let place: ControlPlace;

beforeEach(() => {
  room = new ControlRoom();
  place = room.place;
});

afterEach(() => room.close());

describe("the place of a socket", () => {
  it("is named after the process", () => {
    expect(endpointOf(place, 12)).toEqual({ pid: 12, path: join(place.folder, "12.sock") });
  });

  it("is a pipe of the user on Windows", () => {
    expect(endpointOf({ ...place, platform: "win32", loginName: () => "CORP\\Ann Lee" }, 12).path).toBe(
      "\\\\.\\pipe\\mcp-run-CORP_Ann_Lee-12",
    );
  });

  it.each([
    ["linux", 107],
    ["darwin", 103],
  ] as const)("is refused where %s allows no path of that length", (platform, most) => {
    const folderOf = (bytes: number) => `/${"ü".repeat(10)}${"x".repeat(bytes - 21 - "/7.sock".length)}`;

    expect(endpointOf({ ...place, platform, folder: folderOf(most) }, 7).pid).toBe(7);
    expect(() => endpointOf({ ...place, platform, folder: folderOf(most + 1) }, 7)).toThrow(
      `x/7.sock: the path has ${most + 1} bytes, and the system allows ${most}`,
    );
  });
});

describe("the folder of the sockets", () => {
  it("is made for its owner alone", () => {
    makeFolder(place);
    expect(listEndpoints(place)).toEqual([]);
  });

  it("need not be there for a look", () => {
    expect(listEndpoints(place)).toEqual([]);
    expect(existsSync(place.folder)).toBe(false);
  });

  it.each([0o755, 0o770, 0o701])("is refused with mode %o", (mode) => {
    mkdirSync(place.folder);
    chmodSync(place.folder, mode);
    const refused = expect.objectContaining({
      code: "access-denied",
      message: `Cannot use the folder for sockets ${place.folder}: others can enter it`,
      hint: `chmod 700 ${place.folder}`,
    });

    expect(() => makeFolder(place)).toThrow(refused);
    expect(() => listEndpoints(place)).toThrow(refused);
  });

  it.runIf(process.getuid?.() === 0)("is refused if it belongs to another user", () => {
    makeFolder(place);
    chownSync(place.folder, 64_999, 64_999);
    expect(() => makeFolder(place)).toThrow("it belongs to another user");
    expect(() => listEndpoints(place)).toThrow("it belongs to another user");
  });

  it("is refused if it is a file or a link", () => {
    writeFileSync(place.folder, "");
    expect(() => listEndpoints(place)).toThrow("it is not a directory");
    const linked = { ...place, folder: join(room.home, "link") };
    symlinkSync(room.home, linked.folder);
    expect(() => makeFolder(linked)).toThrow("it is not a directory");
  });

  it("gives the sockets, newest last, and nothing else that lies there", () => {
    makeFolder(place);
    for (const [name, age] of Object.entries({ "9.sock": 1, "12.sock": 3, "4.sock": 2 })) {
      writeFileSync(join(place.folder, name), "");
      utimesSync(join(place.folder, name), 1000 - age, 1000 - age);
    }
    for (const name of ["x.sock", "0.sock", "12.sock.tmp", "12-abc-def"])
      writeFileSync(join(place.folder, name), "");

    expect(listEndpoints(place).map(({ pid }) => pid)).toEqual([12, 4, 9]);
  });
});

describe("a socket that refuses connections", () => {
  const left = (pid: number, ageMs: number) => {
    makeFolder(place);
    const endpoint = endpointOf(place, pid);
    writeFileSync(endpoint.path, "");
    const madeAt = (Date.now() - ageMs) / 1000;
    utimesSync(endpoint.path, madeAt, madeAt);
    return endpoint;
  };

  it("is removed if its process has gone", () => {
    const endpoint = left(NO_PID, 0);
    expect(removeIfStale(endpoint, Date.now())).toBe(true);
    expect(existsSync(endpoint.path)).toBe(false);
  });

  it("is left alone while its process may be just about to listen", () => {
    const endpoint = left(process.pid, 1_000);
    expect(removeIfStale(endpoint, Date.now())).toBe(false);
    expect(existsSync(endpoint.path)).toBe(true);
  });

  it("is removed if the process that has its number came later", () => {
    const endpoint = left(process.pid, 60_000);
    expect(removeIfStale(endpoint, Date.now())).toBe(true);
    expect(existsSync(endpoint.path)).toBe(false);
  });

  it("is as good as removed if somebody else was quicker", () => {
    expect(removeIfStale({ pid: 1, path: join(room.home, "gone.sock") }, Date.now())).toBe(true);
  });
});
