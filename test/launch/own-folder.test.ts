import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { makeOwnFolder, removeOwnFolder, removeStaleFolders } from "../../src/launch/own-folder.ts";

const { platform } = process;
const uid = process.getuid?.();

let home: string;
let base: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "mcp-run-own-"));
  base = join(home, "state", "run");
});
afterEach(() => rmSync(home, { recursive: true }));

describe("a folder of our own", () => {
  it.skipIf(platform === "win32")("is 0700, fresh each time, in a base that is 0700", () => {
    const [first, second] = [makeOwnFolder(base, platform, uid), makeOwnFolder(base, platform, uid)];

    expect(first).not.toBe(second);
    for (const folder of [first, second, base]) expect(statSync(folder).mode & 0o777).toBe(0o700);
  });

  it.skipIf(platform === "win32")(
    "is refused where others could write, with the command that mends it",
    () => {
      mkdirSync(base, { recursive: true });
      chmodSync(base, 0o777);

      expect(() => makeOwnFolder(base, platform, uid)).toThrow(
        expect.objectContaining({ code: "access-denied", hint: `chmod 700 ${base}` }),
      );
    },
  );

  it.skipIf(platform === "win32")("is refused behind a link, and in another user's folder", () => {
    mkdirSync(join(home, "elsewhere"));
    symlinkSync(join(home, "elsewhere"), join(home, "link"));

    expect(() => makeOwnFolder(join(home, "link"), platform, uid)).toThrow("it is not a directory");
    expect(() => makeOwnFolder(join(home, "elsewhere"), platform, (uid ?? 0) + 1)).toThrow(
      "it belongs to another user",
    );
  });

  it("is refused where it can't be made, with the reason", () => {
    writeFileSync(join(home, "file"), "");

    expect(() => makeOwnFolder(join(home, "file", "run"), platform, uid)).toThrow("ENOTDIR");
  });

  it("may be removed twice, with all that is in it", () => {
    const folder = makeOwnFolder(base, platform, uid);
    writeFileSync(join(folder, "x"), "");

    removeOwnFolder(folder);
    removeOwnFolder(folder);

    expect(readdirSync(base)).toEqual([]);
  });
});

describe("what a crash has left", () => {
  it("is removed at the next start; what belongs to the living, or not to us, stays", async () => {
    const gone = spawn(process.execPath, ["-e", ""]);
    await once(gone, "exit");
    const ours = makeOwnFolder(base, platform, uid);
    const stale = join(base, `${gone.pid}-123-abcdef`);
    const recycled = join(base, `${process.pid}-1-abcdef`);
    const others = join(base, "socket-folder");
    for (const folder of [stale, recycled, others]) mkdirSync(folder);
    writeFileSync(join(stale, "TOKEN"), "canary-77");

    expect(removeStaleFolders(base, platform)).toBe(2);

    expect(readdirSync(base).sort()).toEqual([basename(ours), "socket-folder"].sort());
  });

  it("is nothing where there is no such place", () => {
    expect(removeStaleFolders(join(home, "none"), platform)).toBe(0);
    expect(existsSync(join(home, "none"))).toBe(false);
  });
});
