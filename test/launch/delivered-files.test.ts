import { spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { deliverFiles, type FilePlace } from "../../src/launch/delivered-files.ts";
import { Secret } from "../../src/secrets/secret.ts";

const CANARY = "canary-e2\nwith a second line and no end";
const secrets = new Map([
  ["TP_API_KEY", new Secret(CANARY)],
  ["OTHER", new Secret("canary-o")],
]);

let home: string;
let place: FilePlace;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "mcp-run-files-"));
  const platform = process.platform;
  place = {
    platform,
    uid: process.getuid?.(),
    runFolder: join(home, "run"),
    userRunFolders: join(home, "none"),
  };
});
afterEach(() => rmSync(home, { recursive: true }));

describe("secrets that are delivered by file", () => {
  it("stand in a file each, whose path is in NAME_FILE", () => {
    const { env } = deliverFiles(secrets, place);

    expect(Object.keys(env)).toEqual(["TP_API_KEY_FILE", "OTHER_FILE"]);
    expect(readFileSync(env.TP_API_KEY_FILE as string, "utf8")).toBe(CANARY);
    expect(JSON.stringify(env)).not.toContain("canary");
  });

  it.skipIf(process.platform === "win32")("can be read by nobody else, whatever the umask", () => {
    const before = process.umask(0);
    try {
      const { env } = deliverFiles(secrets, place);
      const file = env.OTHER_FILE as string;

      expect(statSync(file).mode & 0o777).toBe(0o600);
      expect(statSync(dirname(file)).mode & 0o777).toBe(0o700);
      expect(statSync(dirname(dirname(file))).mode & 0o777).toBe(0o700);
    } finally {
      process.umask(before);
    }
  });

  it("have a folder of their own for each generation, and go with it", () => {
    const [old, next] = [deliverFiles(secrets, place), deliverFiles(secrets, place)];

    old.remove();
    old.remove();

    expect(() => readFileSync(old.env.OTHER_FILE as string)).toThrow("ENOENT");
    expect(readFileSync(next.env.OTHER_FILE as string, "utf8")).toBe("canary-o");
  });

  it("get another value at the same path, and whoever has the old file open reads the old one", () => {
    const { env, rewrite } = deliverFiles(secrets, place);
    const file = env.TP_API_KEY_FILE as string;
    const before = openSync(file, "r");

    rewrite(new Map([["TP_API_KEY", new Secret("canary-new")]]));

    expect(readFileSync(file, "utf8")).toBe("canary-new");
    expect(readFileSync(before, "utf8")).toBe(CANARY);
    closeSync(before);
    expect(readFileSync(env.OTHER_FILE as string, "utf8")).toBe("canary-o");
    expect(readdirSync(dirname(file)).filter((name) => name.includes("next"))).toEqual([]);
    if (process.platform !== "win32") expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  it("keep their values, all of them, if one of the new ones can't be written", () => {
    const { env, rewrite } = deliverFiles(secrets, place);
    const folder = dirname(env.OTHER_FILE as string);
    // Something stands in the way of the second.
    mkdirSync(join(folder, "%next-1"));

    const changed = new Map([
      ["TP_API_KEY", new Secret("canary-new")],
      ["OTHER", new Secret("canary-other")],
    ]);

    expect(() => rewrite(changed)).toThrow(expect.objectContaining({ code: "access-denied" }));
    expect(readFileSync(env.TP_API_KEY_FILE as string, "utf8")).toBe(CANARY);
    expect(readdirSync(folder)).not.toContain("%next-0");
  });

  it("can't be rewritten under a name that was not delivered", () => {
    const { rewrite } = deliverFiles(secrets, place);

    expect(() => rewrite(new Map([["NEW", new Secret("canary-x")]]))).toThrow("NEW has no file");
    expect(() => deliverFiles(new Map(), place).rewrite(secrets)).toThrow("TP_API_KEY has no file");
  });

  it("leave nothing behind if one can't be written", () => {
    const tooLong = new Map([...secrets, ["X".repeat(300), new Secret("canary-x")]]);

    expect(() => deliverFiles(tooLong, place)).toThrow(
      expect.objectContaining({ code: "access-denied", message: expect.stringMatching(/ENAMETOOLONG$/) }),
    );
    expect(readdirSync(join(home, "run", "files"))).toEqual([]);
  });

  it("need no folder where there are none", () => {
    expect(deliverFiles(new Map(), place).env).toEqual({});
    expect(readdirSync(home)).toEqual([]);
  });

  it("that a crash has left are gone after the next start", () => {
    const left = join(home, "run", "files", "999999-1-abcdef");
    mkdirSync(left, { recursive: true, mode: 0o700 });

    deliverFiles(new Map(), place);

    expect(readdirSync(dirname(left))).toEqual([]);
  });
});

describe.runIf(process.platform === "linux")("where the folder of the user's session is", () => {
  const inMemory = () => join(home, "user", String(process.getuid?.()));
  const deliver = () => {
    const { env } = deliverFiles(secrets, { ...place, userRunFolders: join(home, "user") });
    return env.OTHER_FILE as string;
  };

  it.runIf(canMount())("in memory, the files are there", () => {
    mkdirSync(inMemory(), { recursive: true });
    mountTmpfs(inMemory());
    try {
      expect(deliver().startsWith(join(inMemory(), "mcp-run", `${process.pid}-`))).toBe(true);
    } finally {
      spawnSync("umount", [inMemory()]);
    }
  });

  it("on a disk, or open to others, they are beside our sockets", () => {
    mkdirSync(inMemory(), { recursive: true });
    chmodSync(inMemory(), 0o755);

    expect(deliver().startsWith(join(home, "run", "files"))).toBe(true);
  });
});

function mountTmpfs(folder: string): boolean {
  return spawnSync("mount", ["-t", "tmpfs", "-o", "mode=0700,size=1m", "tmpfs", folder]).status === 0;
}

/** Only root may, and in a container not even root. */
function canMount(): boolean {
  const folder = mkdtempSync(join(tmpdir(), "mcp-run-mount-"));
  const mounted = mountTmpfs(folder);
  if (mounted) spawnSync("umount", [folder]);
  rmSync(folder, { recursive: true });
  return mounted;
}
