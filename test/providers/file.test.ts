import { execFileSync } from "node:child_process";
import {
  chmod,
  chown,
  mkdir,
  mkdtemp,
  realpath,
  rename,
  rm,
  symlink,
  truncate,
  writeFile,
} from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fileKind, isSecretMount } from "../../providers/file.ts";
import type { FetchedSecret, ProviderContext, RefRequest } from "../../src/secrets/provider.ts";
import { testContext } from "../helpers/provider-context.ts";
import { describeProviderContract, printed } from "./contract.ts";

describeProviderContract("file", {
  emptyIs: "kept",
  async open(entries) {
    const folder = await mkdtemp(join(tmpdir(), "mcp-run-file-"));
    for (const [name, value] of Object.entries(entries)) {
      await writeFile(join(folder, name), value, { mode: 0o600 });
    }
    return {
      provider: await fileKind.open({}, testContext()),
      ref: (name) => fileKind.refSchema.parse({ path: join(folder, name), trim: false }),
      dispose: () => rm(folder, { recursive: true }),
    };
  },
});

let dir: string;

beforeEach(async () => {
  dir = await realpath(await mkdtemp(join(tmpdir(), "mcp-run-file-")));
});

afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

async function written(name: string, content: string | Uint8Array, mode = 0o600): Promise<string> {
  const path = join(dir, name);
  await writeFile(path, content);
  await chmod(path, mode);
  return path;
}

async function read(request: RefRequest, context: ProviderContext = testContext()) {
  const ref = fileKind.refSchema.parse(request);
  const provider = await fileKind.open({}, context);
  return (await provider.fetch([ref], new AbortController().signal)).get(ref);
}

async function value(request: RefRequest, context?: ProviderContext): Promise<string> {
  const answer = await read(request, context);
  if (!answer || !("value" in answer)) throw answer;
  return answer.value.reveal();
}

describe("the newline at the end of a secret file", () => {
  it.each([
    ["canary\n", "canary"],
    ["canary\r\n", "canary"],
    ["canary\n\n", "canary\n"],
    ["canary \n", "canary "],
    ["\n", ""],
    ["canary", "canary"],
  ])("is dropped once: %j", async (content, expected) => {
    expect(await value({ path: await written("secret", content) })).toBe(expected);
  });

  it("stays with trim: false", async () => {
    expect(await value({ path: await written("secret", "canary\n"), trim: false })).toBe("canary\n");
  });
});

describe("the path of a secret file", () => {
  it("may begin with ~/", async () => {
    await written("secret", "canary-home");

    expect(await value({ path: "~/secret" }, testContext({ env: { HOME: dir } }))).toBe("canary-home");
  });

  it("does not take HOME away from the server", async () => {
    const context = testContext({ env: { HOME: dir } });

    await read({ path: "~/secret" }, context);

    expect([...context.env.namesRead]).toEqual([]);
  });

  it.each(["secret", "./secret", "../secret", "~other/secret"])(
    "is refused when it depends on the working directory: %s",
    (path) => {
      expect(fileKind.refSchema.safeParse({ path })).toMatchObject({
        success: false,
        error: { issues: [{ code: "custom", message: "the path must be absolute, or begin with ~/" }] },
      });
    },
  );

  it.each([
    ["a path of another platform", "C:\\secret", {}],
    ["~/ without a home", "~/secret", {}],
  ])("is refused when it leads nowhere here: %s", async (_what, path, env) => {
    expect(await read({ path }, testContext({ platform: "linux", env }))).toMatchObject({
      failure: "invalid",
      reason: `${path} is no absolute path on this platform`,
    });
  });

  it("may lead over links", async () => {
    await symlink(await written("secret", "canary-linked"), join(dir, "link"));

    expect(await value({ path: join(dir, "link") })).toBe("canary-linked");
  });
});

describe("who may read a secret file", () => {
  it.each([0o604, 0o644, 0o666, 0o602])(
    "refuses one that everybody can read or change: mode %o",
    async (mode) => {
      const path = await written("secret", "canary-open", mode);

      const answer = await read({ path });

      expect(answer).toMatchObject({
        failure: "denied",
        reason: `${path} can be read by every user of this machine`,
        hint: `chmod 600 ${path}, or allowWorldReadable: true at this secret`,
      });
      expect(printed(answer)).not.toContain("canary-open");
    },
  );

  it("takes one that everybody can read, if it is told to", async () => {
    const path = await written("secret", "canary-open", 0o644);

    expect(await value({ path, allowWorldReadable: true })).toBe("canary-open");
  });

  it.runIf(process.getuid?.() === 0)("refuses one that a shared group can read", async () => {
    const path = await written("secret", "canary-group", 0o640);
    await chown(path, 1000, 100);

    expect(await read({ path })).toMatchObject({
      failure: "denied",
      reason: `${path} can be read by everybody in its group (100)`,
    });
  });

  it.runIf(process.getuid?.() === 0).each([
    ["the owner's private group", 1000, 1000],
    ["a group that root has chosen", 0, 100],
  ])("takes one that is open to %s", async (_whose, uid, gid) => {
    const path = await written("secret", "canary-group", 0o640);
    await chown(path, uid, gid);

    expect(await value({ path })).toBe("canary-group");
  });

  it.skipIf(process.getuid?.() === 0)("says so when we may not read it", async () => {
    const path = await written("secret", "canary-closed", 0o000);

    expect(await read({ path })).toMatchObject({
      failure: "denied",
      reason: `${path} can't be opened (EACCES)`,
    });
  });

  it.each([
    ["/run/secrets/db-password", true],
    ["/run/secrets/kubernetes.io/serviceaccount/token", true],
    ["/run/credentials/app.service/token", true],
    ["/etc/app/..2026_11_21_01_02_03.1234567890/token", true],
    ["/run/secrets-of-mine/token", false],
    ["/home/me/run/secrets/token", false],
    ["/tmp/..data/token", false],
  ])("knows the places of containers and systemd: %s is one: %s", (path, expected) => {
    expect(isSecretMount(path)).toBe(expected);
  });

  it("takes a world-readable file of a Kubernetes volume, wherever that is mounted", async () => {
    const version = join(dir, "..2026_11_21_01_02_03.1234567890");
    await mkdir(version);
    await writeFile(join(version, "token"), "canary-projected\n", { mode: 0o644 });
    await symlink(version, join(dir, "..data"));
    await symlink("..data/token", join(dir, "token"));

    expect(await value({ path: join(dir, "token") })).toBe("canary-projected");
  });
});

describe("what is no secret file", () => {
  it("is reported when nothing is there", async () => {
    const path = join(dir, "absent");

    expect(await read({ path })).toMatchObject({ failure: "missing", reason: `there is no file ${path}` });
  });

  it("is reported when a folder on the way is a file", async () => {
    const path = join(await written("secret", "canary"), "deeper");

    expect(await read({ path })).toMatchObject({ failure: "missing" });
  });

  it("is a folder", async () => {
    expect(await read({ path: dir })).toMatchObject({
      failure: "invalid",
      reason: `${dir} is not a regular file`,
    });
  });

  it("is a FIFO, whose writer may never come", async () => {
    const path = join(dir, "fifo");
    execFileSync("mkfifo", ["-m", "600", path]);

    expect(await read({ path })).toMatchObject({
      failure: "invalid",
      reason: `${path} is not a regular file`,
    });
  });

  it("is a device that never ends", async () => {
    expect(await read({ path: "/dev/zero", allowWorldReadable: true })).toMatchObject({ failure: "invalid" });
  });

  it("is a socket", async () => {
    const path = join(dir, "socket");
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(path, resolve));

    const answer = await read({ path });

    server.close();
    expect(answer).toMatchObject({ failure: "invalid", reason: `${path} is not a regular file` });
  });

  it("is a file of more than 1 MiB", async () => {
    const path = await written("secret", "canary");
    await truncate(path, 1024 * 1024);
    expect(await value({ path })).toHaveLength(1024 * 1024);

    await truncate(path, 1024 * 1024 + 1);
    expect(await read({ path })).toMatchObject({
      failure: "invalid",
      reason: `${path} is larger than 1 MiB`,
    });
  });

  it("is a file of bytes that are no text", async () => {
    const path = await written("secret", Buffer.from([0x63, 0xff, 0xfe]));

    expect(await read({ path })).toMatchObject({ failure: "invalid", reason: `${path} is not UTF-8 text` });
  });

  it("is a link that leads in a circle", async () => {
    const path = join(dir, "circle");
    await symlink(path, path);

    expect(await read({ path })).toMatchObject({
      failure: "unavailable",
      reason: `${path} can't be read (ELOOP)`,
    });
  });
});

describe("the version of a secret file", () => {
  it("is when it was written and where it lies on the disk, so that a replaced file shows", async () => {
    const path = await written("secret", "canary-1");
    const first = (await read({ path })) as FetchedSecret;

    await rename(await written("next", "canary-2"), path);
    const second = (await read({ path })) as FetchedSecret;

    expect(first.version).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z-\d+$/);
    expect(second.version).not.toBe(first.version);
    expect(first.createdAt?.toISOString().slice(0, 19)).toBe(first.version?.slice(0, 19));
  });
});

describe("a ref to a file", () => {
  it("knows no other keys than its own", () => {
    expect(fileKind.refSchema.safeParse({ path: "/x", trims: true }).success).toBe(false);
  });
});
