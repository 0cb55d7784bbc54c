import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadProfile } from "../../src/profile/load.ts";
import { expectCode, room } from "./room.ts";

const UID = process.getuid?.() ?? -1;
const isRoot = UID === 0;
const isPosix = process.platform !== "win32";
const STRANGER = 12_345;

/** A file of one profile in a folder of its own. */
function guarded(over = {}) {
  const { request, write, home } = room(over);
  const file = write("guarded/p.yaml", "command: npx\n");
  return { request, file, folder: dirname(file), home };
}

describe.runIf(isPosix)("a profile file", () => {
  it("of its user, closed to others, is read", async () => {
    const { request, file } = guarded();

    expect((await loadProfile(file, request)).profile.command).toBe("npx");
    chmodSync(file, 0o644);
    expect((await loadProfile(file, request)).profile.command).toBe("npx");
  });

  it.each([
    { mode: 0o646, change: "o-w", shown: "0646" },
    { mode: 0o666, gid: STRANGER, change: "go-w", shown: "0666" },
    { mode: 0o660, gid: STRANGER, change: "g-w", shown: "0660" },
  ])("with mode $shown is refused with the chmod that mends it", async ({ mode, gid, change, shown }) => {
    if (gid !== undefined && !isRoot) return;
    const { request, file } = guarded();
    if (gid !== undefined) chownSync(file, UID, gid);
    chmodSync(file, mode);

    const error = await expectCode(loadProfile(file, request), "access-denied");

    expect(error.exitCode).toBe(77);
    expect(error.message).toBe(`Cannot load ${file}: it can be changed by other users (mode ${shown})`);
    expect(error.hint).toBe(`chmod ${change} ${file}`);
    execFileSync("/bin/sh", ["-c", error.hint ?? ""]);
    expect((await loadProfile(file, request)).profile.command).toBe("npx");
  });

  it("is refused for its folder as for itself, both at once", async () => {
    const { request, file, folder } = guarded();
    chmodSync(file, 0o606);
    chmodSync(folder, 0o703);

    const error = await expectCode(loadProfile(file, request), "access-denied");

    expect(error.message).toBe(
      `Cannot load ${file}: it can be changed by other users (mode 0606), and its folder ${folder} can be changed by other users (mode 0703)`,
    );
    expect(error.hint).toBe(`chmod o-w ${file} && chmod o-w ${folder}`);
  });

  it("may lie in a sticky folder, where others can't replace it", async () => {
    const { request, file, folder } = guarded();
    chmodSync(folder, 0o1777);

    expect((await loadProfile(file, request)).profile.command).toBe("npx");
  });

  it("is refused below a folder in which everybody can rename", async () => {
    const { request, file, folder, home } = guarded();
    const open = join(home, "open");
    mkdirSync(open);
    renameSync(folder, join(open, "guarded"));
    chmodSync(open, 0o777);
    const moved = join(open, "guarded", "p.yaml");

    const error = await expectCode(loadProfile(moved, request), "access-denied");

    expect(error.message).toContain(`the folder ${open} above it can be changed by other users`);
    expect(error.hint).toBe(`chmod o-w ${open}`);
    expect(file).not.toBe(moved);
  });

  it("behind a link is checked where it really lies", async () => {
    const { request, file, folder, home } = guarded();
    const link = join(home, "link.yaml");
    symlinkSync(file, link);
    expect((await loadProfile(link, request)).profile.name).toBe("link");
    chmodSync(folder, 0o703);

    await expectCode(loadProfile(link, request), "access-denied");
  });

  it("has its path quoted for the shell", async () => {
    const { request, write } = room();
    const file = write("it's here/p.yaml", "command: npx\n");
    chmodSync(file, 0o602);

    const error = await expectCode(loadProfile(file, request), "access-denied");

    execFileSync("/bin/sh", ["-c", error.hint ?? ""]);
    expect((await loadProfile(file, request)).profile.command).toBe("npx");
  });

  it("that is a FIFO, a folder or a device is refused at once", async () => {
    const { request, home } = room();
    const fifo = join(home, "fifo.yaml");
    execFileSync("mkfifo", [fifo]);

    expect((await expectCode(loadProfile(fifo, request), "profile-invalid")).message).toContain(
      "not a regular file",
    );
    expect((await expectCode(loadProfile(`${home}/work/`, request), "profile-invalid")).message).toContain(
      "a folder",
    );
    await expectCode(loadProfile("/dev/zero", request), "profile-invalid");
  });

  it("may be as large as 1 MiB, and not a byte larger", async () => {
    const { request, write } = room();
    const text = "command: npx\n#";
    const largest = write("largest.yaml", text.padEnd(2 ** 20, "x"));
    const larger = write("larger.yaml", text.padEnd(2 ** 20 + 1, "x"));

    expect((await loadProfile(largest, request)).profile.command).toBe("npx");
    expect((await expectCode(loadProfile(larger, request), "profile-invalid")).message).toBe(
      `Cannot load ${larger}: it is larger than 1 MiB`,
    );
  });

  it("must be UTF-8", async () => {
    const { request, write } = room();
    const file = write("latin1.yaml", Buffer.from("command: \xe9\n", "latin1"));

    expect((await expectCode(loadProfile(file, request), "profile-invalid")).message).toBe(
      `Cannot load ${file}: it is not UTF-8 text`,
    );
  });
});

describe.runIf(isRoot && isPosix)("ownership (these tests need root, to give files away)", () => {
  it("by another user is refused with the chown that mends it", async () => {
    const { request, file } = guarded();
    chownSync(file, STRANGER, 0);

    const error = await expectCode(loadProfile(file, request), "access-denied");

    expect(error.message).toBe(`Cannot load ${file}: it belongs to another user (uid ${STRANGER})`);
    expect(error.hint).toBe(`chown 0 ${file}`);
    execFileSync("/bin/sh", ["-c", error.hint ?? ""]);
    expect((await loadProfile(file, request)).profile.command).toBe("npx");
  });

  it("of the folder by another user is refused", async () => {
    const { request, file, folder } = guarded();
    chownSync(folder, STRANGER, STRANGER);

    const error = await expectCode(loadProfile(file, request), "access-denied");

    expect(error.hint).toBe(`chown 0 ${folder}`);
  });

  it("by root is trusted by everybody, by the user only by that user", async () => {
    const { request, file, folder } = guarded();
    const asStranger = { ...request, uid: STRANGER, gid: STRANGER };
    expect((await loadProfile(file, asStranger)).profile.command).toBe("npx");
    chownSync(file, STRANGER, STRANGER);
    chownSync(folder, STRANGER, STRANGER);
    expect((await loadProfile(file, asStranger)).profile.command).toBe("npx");

    const other = await expectCode(loadProfile(file, { ...request, uid: 777, gid: 777 }), "access-denied");

    expect(other.hint).toBe(`sudo chown 777 ${file} && sudo chown 777 ${folder}`);
  });

  it("by the user's own private group may include write access, by any other group not", async () => {
    const { request, file, folder } = guarded();
    const asStranger = { ...request, uid: STRANGER, gid: STRANGER };
    for (const path of [file, folder]) chownSync(path, STRANGER, STRANGER);
    chmodSync(file, 0o664);
    chmodSync(folder, 0o775);
    expect((await loadProfile(file, asStranger)).profile.command).toBe("npx");

    const sharedGroup = await expectCode(loadProfile(file, { ...asStranger, gid: 100 }), "access-denied");
    chownSync(file, STRANGER, 100);
    const otherGroup = await expectCode(loadProfile(file, asStranger), "access-denied");

    expect(sharedGroup.hint).toBe(`chmod g-w ${file} && chmod g-w ${folder}`);
    expect(otherGroup.hint).toBe(`chmod g-w ${file}`);
  });
});

describe("where there are no user ids", () => {
  it("nothing is refused for them", async () => {
    const { request, write } = room({ platform: "win32", uid: undefined, gid: undefined });
    const file = write("p.yaml", "command: npx\n");
    chmodSync(file, 0o666);

    expect((await loadProfile(file, request)).profile.command).toBe("npx");
  });
});

describe.runIf(isPosix && !isRoot)("a file without read permission (root reads it all the same)", () => {
  it("is refused with what to do", async () => {
    const { request, file } = guarded();
    writeFileSync(file, "command: npx\n");
    chmodSync(file, 0o200);

    const error = await expectCode(loadProfile(file, request), "access-denied");

    expect(error.message).toBe(`Cannot load ${file}: permission denied`);
  });
});
