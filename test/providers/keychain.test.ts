import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { failureOf } from "../../providers/keychain/answer.ts";
import { itemPath, itemPlace, parseItemPath } from "../../providers/keychain/item-path.ts";
import { sessionBusAddress } from "../../providers/keychain/session-bus.ts";
import { keychainKind } from "../../providers/keychain.ts";
import { ProviderError } from "../../src/errors.ts";
import type { ProgramOutcome, ProgramRequest } from "../../src/secrets/program.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { testContext } from "../helpers/provider-context.ts";
import { settle, VirtualClock } from "../helpers/virtual-clock.ts";
import { placeIn, printed } from "./contract.ts";
import { type InMemoryKeyring, inMemoryKeyring } from "./in-memory-keyring.ts";
import { describeRotationContract } from "./rotation-contract.ts";

const never = () => new AbortController().signal;
const ENV = { HOME: "/home/tester", DBUS_SESSION_BUS_ADDRESS: "unix:path=/nonexistent/bus" };

/** Where the lock of those who write is made. */
let home: string;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "mcp-run-keychain-"));
});

afterAll(() => rm(home, { recursive: true, force: true }));

function context(keyring: InMemoryKeyring, overrides: Parameters<typeof testContext>[0] = {}) {
  return testContext({ home, platform: "linux", env: ENV, runProgram: keyring.runProgram, ...overrides });
}

/** A keychain whose helper never answers, and when it was asked. */
function hanging(overrides: Parameters<typeof testContext>[0] = {}) {
  const clock = new VirtualClock();
  const within = testContext({
    platform: "linux",
    env: ENV,
    clock,
    runProgram: ({ signal, timeoutMs }) =>
      new Promise<ProgramOutcome>((resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
        clock.after(timeoutMs, () => resolve({ type: "timed-out", stdout: Buffer.alloc(0), stderr: "" }));
      }),
    ...overrides,
  });
  return { clock, within };
}

let keyring = inMemoryKeyring();

describeRotationContract("keychain, with its native library in memory", {
  emptyIs: "kept",
  async open(entries) {
    keyring = inMemoryKeyring({
      "mcp-run key\nversions": "a key that was made before",
      ...Object.fromEntries(
        Object.entries(entries).map(([name, value]) => [`service-${name}\ntester`, value]),
      ),
    });
    return {
      provider: await keychainKind.open({}, context(keyring)),
      ref: (name) => ({ path: `service-${name}` }),
      dispose: async () => undefined,
    };
  },
  another: () => keychainKind.open({}, context(keyring)),
  pathOf: (name) => `service-${name}`,
  placeOf: (name) => `keychain://${hostname().toLowerCase()}/service-${name}/tester`,
  stored: async () => JSON.stringify([...keyring.items]),
  async hang() {
    return {
      provider: await keychainKind.open({}, hanging().within),
      ref: (path) => ({ path }),
      dispose: async () => undefined,
    };
  },
});

describe("the path of a keychain ref", () => {
  it.each([
    ["github", "github", undefined],
    ["github/alice", "github", "alice"],
    ["github/team/alice", "github", "team/alice"],
    ["https:\\/\\/example.com/alice", "https://example.com", "alice"],
    ["Chrome Safe Storage/Chrome", "Chrome Safe Storage", "Chrome"],
    ["github/CORP\\alice", "github", "CORP\\alice"],
    ["back\\slash", "back\\slash", undefined],
  ])("%s is a service and an account", (path, service, account) => {
    expect(parseItemPath(path)).toEqual({ service, account });
  });

  it.each(["", "/alice", "github/", "nul\0/alice"])("%j is none", (path) => {
    expect(parseItemPath(path)).toBeUndefined();
    expect(keychainKind.refSchema.safeParse({ path }).success).toBe(false);
  });

  it("is one for each item: without the account of the user, with the slashes of the service marked", () => {
    expect(itemPath({ service: "https://x", account: "tester" }, "tester")).toBe("https:\\/\\/x");
    expect(itemPath({ service: "github", account: "team/alice" }, "tester")).toBe("github/team/alice");
  });

  it("leads to one place, which is on this machine", async () => {
    const item = { service: "https://x", account: "a b/ü" };

    expect(itemPlace("Host.Example", item)).toBe("keychain://host.example/https%3A%2F%2Fx/a%20b%2F%C3%BC");
    expect(itemPlace("host", { service: "half \ud800 a pair", account: "a" })).toMatch(/^keychain:/);

    const store = await keychainKind.open({}, context(inMemoryKeyring({ "github\ntester": "canary" })));
    const refs = [{ path: "github" }, { path: "github/tester" }];
    const answers = await store.fetch(refs, never());
    const place = itemPlace(hostname(), { service: "github", account: "tester" });
    expect(refs.map((ref) => placeIn(answers.get(ref)))).toEqual([place, place]);
  });

  it("leads to one entry of the list, however it was written", async () => {
    const store = await keychainKind.open({}, context(inMemoryKeyring()));
    await store.put({ path: "github" }, new Secret("canary-1"), never());
    await store.put({ path: "github/tester" }, new Secret("canary-2"), never());

    expect((await store.list(never())).map(({ path }) => path)).toEqual(["github"]);
  });
});

describe("where the session bus is looked for", () => {
  let dir: string;
  let server: Server;

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "mcp-run-bus~"));
    server = createServer();
    await new Promise<void>((resolve) => server.listen(join(dir, "bus"), resolve));
  });

  afterEach(async () => {
    server.close();
    await rm(dir, { recursive: true, force: true });
  });

  it("first in the variable that names it", async () => {
    const env = { DBUS_SESSION_BUS_ADDRESS: "unix:abstract=x", XDG_RUNTIME_DIR: dir };

    expect(await sessionBusAddress(env, 0)).toBe("unix:abstract=x");
  });

  it("then in XDG_RUNTIME_DIR, its path escaped as D-Bus wants it", async () => {
    expect(await sessionBusAddress({ XDG_RUNTIME_DIR: dir }, undefined)).toBe(
      `unix:path=${dir.replace("~", "%7e")}/bus`,
    );
  });

  it("not in a folder without the socket", async () => {
    expect(await sessionBusAddress({ XDG_RUNTIME_DIR: tmpdir() }, 4_294_967_000)).toBeUndefined();
  });
});

describe("what the helper gets", () => {
  it("is the way to the keychain, and no credential of the environment", async () => {
    const keyring = inMemoryKeyring();
    const env = {
      ...ENV,
      VAULT_TOKEN: "canary-vault",
      NODE_OPTIONS: "--inspect",
      MCP_RUN_AGE_KEY: "canary-age",
    };
    const within = context(keyring, { env, keychainHelper: ["node", "helper"] });
    const store = await keychainKind.open({}, within);

    await store.put({ path: "github" }, new Secret("canary-value"), never());

    const [request] = keyring.requests;
    expect(request?.env).toEqual(ENV);
    expect(request?.argv).toEqual(["node", "helper"]);
    expect(request?.timeoutMs).toBe(50_000);
    expect([...within.env.namesRead]).toEqual(["MCP_RUN_KEYCHAIN"]);
  });

  it("is all refs at once", async () => {
    const keyring = inMemoryKeyring();
    const store = await keychainKind.open({}, context(keyring));

    await store.fetch([{ path: "a" }, { path: "b/alice" }], never());

    expect(keyring.requests).toHaveLength(1);
    expect(keyring.touched).toEqual(["a/tester", "b/alice", "mcp-run key/versions"]);
  });
});

describe("a machine without a keychain", () => {
  it.each([
    ["it is switched off", { ...ENV, MCP_RUN_KEYCHAIN: "off" }, "switched off by MCP_RUN_KEYCHAIN=off"],
    [
      "there is no session bus",
      { HOME: "/h" },
      "no keychain answers on this machine (there is no D-Bus session bus)",
    ],
  ])("is known without starting anything when %s", async (_why, env, reason) => {
    const keyring = inMemoryKeyring();
    const store = await keychainKind.open({}, context(keyring, { env, uid: 4_294_967_000 }));

    expect(await store.isUsable(never())).toBe(false);
    const failed = await store.fetch([{ path: "github" }], never()).catch((error: unknown) => error);

    expect(failed).toBeInstanceOf(ProviderError);
    expect(failed).toMatchObject({ failure: "unavailable", reason: expect.stringContaining(reason) });
    expect(failed).toHaveProperty("hint", expect.stringContaining("mcp-run secrets set local:NAME"));
    expect(keyring.requests).toEqual([]);
  });

  it("is found out by asking when there is a bus and nothing on it", async () => {
    const keyring = inMemoryKeyring();
    keyring.failure =
      "Platform failure: DBus error: The name org.freedesktop.secrets was not provided by any .service files";
    const store = await keychainKind.open({}, context(keyring));

    expect(await store.isUsable(never())).toBe(false);
  });

  it("is no machine of Apple or Microsoft", async () => {
    for (const platform of ["darwin", "win32"] as const) {
      const keyring = inMemoryKeyring();
      const store = await keychainKind.open({}, context(keyring, { platform, env: {} }));

      expect(await store.isUsable(never())).toBe(true);
      expect(keyring.requests).toEqual([]);
    }
  });
});

describe("a keychain that answers", () => {
  it("is usable, and was asked for no item", async () => {
    const keyring = inMemoryKeyring();
    const within = context(keyring);

    expect(await (await keychainKind.open({}, within)).isUsable(never())).toBe(true);
    expect(keyring.requests.map(({ input }) => JSON.parse(input ?? ""))).toEqual([{ operation: "probe" }]);
  });
});

describe("the words of the native library", () => {
  it.each([
    ["Couldn't access platform storage: Secret Service: unlock prompt was dismissed", "locked"],
    ["zbus error: org.freedesktop.Secret.Error.IsLocked: Cannot get secret of a locked object", "locked"],
    ["Couldn't access platform storage: User interaction is not allowed.", "locked"],
    ["Platform failure: User canceled the operation.", "locked"],
    ["Couldn't access platform storage: Secret Service: no result found", "no-collection"],
    ["Platform failure: DBus error: Did not receive a reply. Possible causes include: the remote…", "silent"],
    ["Platform failure: DBus error: Failed to connect to socket /run/user/1000/bus: No such file", "absent"],
    ["Platform failure: DBus error: Using X11 for dbus-daemon autolaunch was disabled", "absent"],
    ["Entry is matched by 2 credentials: [x]", "ambiguous"],
    ["Data is not UTF-8 encoded", "not-text"],
    ["Attribute 'password encoded as UTF-16' is longer than platform limit of 2560 chars", "too-large"],
    ["Couldn't access platform storage: Windows ERROR_NO_SUCH_LOGON_SESSION", "no-session"],
    ["Platform failure: The user name or passphrase you entered is not correct.", "refused"],
    ["Couldn't access platform storage: No keychain is available.", "no-collection"],
    ["Couldn't access platform storage: The specified keychain could not be found.", "no-collection"],
    ["Platform failure: A default keychain could not be found.", "no-collection"],
    ["Something new", "failed"],
  ])("%s means %s", (message, trouble) => {
    expect(failureOf(new Error(message))).toMatchObject({ trouble });
  });

  it("are shown short and without control characters", () => {
    expect(failureOf(new Error(`red \u001b[31m${"x".repeat(500)}`)).detail).toBe(
      `red  [31m${"x".repeat(151)}`,
    );
  });
});

describe("a locked keychain", () => {
  const LOCKED = "Couldn't access platform storage: Secret Service: unlock prompt was dismissed";

  it("is asked once, however many secrets are wanted, since each would open a dialog", async () => {
    const keyring = inMemoryKeyring();
    keyring.failure = LOCKED;
    const store = await keychainKind.open({}, context(keyring));
    const refs = [{ path: "a" }, { path: "b" }, { path: "c" }];

    const answers = await store.fetch(refs, never());

    expect(keyring.touched).toEqual(["a/tester"]);
    for (const ref of refs) {
      expect(answers.get(ref)).toMatchObject({
        failure: "unavailable",
        reason: "the keychain is locked, and was not unlocked",
        hint: expect.stringMatching(/^unlocking it/),
      });
    }
  });

  it("refuses a value, and says so", async () => {
    const keyring = inMemoryKeyring();
    keyring.failure = LOCKED;
    const store = await keychainKind.open({}, context(keyring));

    const failed = await store
      .put({ path: "a" }, new Secret("canary"), never())
      .catch((error: unknown) => error);

    expect(failed).toMatchObject({ reason: "the keychain is locked, and was not unlocked" });
    expect(printed(failed)).not.toContain("canary");
  });

  it("is announced after 2 s and given up after 50 s", async () => {
    const { clock, within } = hanging();
    const store = await keychainKind.open({}, within);
    const answer = store.fetch([{ path: "github" }], never()).catch((error: unknown) => error);
    await settle();

    await clock.advance(1_999);
    expect(within.events).toEqual([]);
    await clock.advance(1);
    expect(within.events).toEqual([
      {
        type: "notice",
        message: "Waiting for the keychain, which may be asking to be unlocked (at most 50 s)",
      },
    ]);
    await clock.advance(48_000);

    expect(await answer).toMatchObject({
      failure: "unavailable",
      reason: "the keychain was not unlocked within 50 s",
    });
    expect(clock.pending).toBe(0);
  });

  it("is waited for without a word when only its presence is asked, and not for long", async () => {
    const { clock, within } = hanging();
    const store = await keychainKind.open({}, within);
    const usable = store.isUsable(never());
    await settle();

    await clock.advance(4_000);

    expect(await usable).toBe(false);
    expect(within.events).toEqual([]);
  });
});

describe("a helper that fails", () => {
  it.each<[string, ProgramOutcome]>([
    ["not-started", { type: "not-started", code: "ENOENT" }],
    ["exited", { type: "exited", exitCode: 1, stdout: Buffer.from(""), stderr: "canary in a stack" }],
    ["killed", { type: "killed", signal: "SIGSEGV", stdout: Buffer.from(""), stderr: "" }],
  ])("is reported without what it said: %s", async (type, outcome) => {
    const within = testContext({ platform: "linux", env: ENV, runProgram: async () => outcome });
    const store = await keychainKind.open({}, within);

    const failed = await store.fetch([{ path: "github" }], never()).catch((error: unknown) => error);

    expect(failed).toMatchObject({
      failure: "unavailable",
      reason: `the keychain's library failed (its helper program: ${type})`,
    });
    expect(printed(failed)).not.toContain("canary");
  });
});

it("a helper whose answer was cut off is reported without it", async () => {
  const within = testContext({
    platform: "linux",
    env: ENV,
    runProgram: async () => ({
      type: "exited",
      exitCode: 0,
      stdout: Buffer.from("canary-in-half-an-answer"),
      stderr: "",
    }),
  });
  const store = await keychainKind.open({}, within);

  const failed = await store.fetch([{ path: "github" }], never()).catch((error: unknown) => error);

  expect(failed).toMatchObject({ failure: "unavailable", reason: expect.stringContaining("half an answer") });
  expect(printed(failed)).not.toContain("canary");
});

describe("the limit of Windows", () => {
  it.each([
    [1_280, "taken"],
    [1_281, "refused"],
  ])("a value of %i characters is %s", async (length, expected) => {
    const store = await keychainKind.open({}, context(inMemoryKeyring(), { platform: "win32" }));

    const outcome = await store.put({ path: "github" }, new Secret("x".repeat(length)), never()).then(
      () => "taken",
      (error: ProviderError) => {
        expect(error.reason).toContain("2,560 bytes");
        return "refused";
      },
    );

    expect(outcome).toBe(expected);
  });
});

describe("items of other programs", () => {
  const secretTool = (outcome: ProgramOutcome) => {
    const requests: ProgramRequest[] = [];
    const within = testContext({
      platform: "linux",
      env: ENV,
      async runProgram(request) {
        requests.push(request);
        return request.argv[0] === "secret-tool" ? outcome : inMemoryKeyring().runProgram(request);
      },
    });
    return { requests, within };
  };
  const printedBySecretTool = (exitCode: number, stdout: string, stderr = ""): ProgramOutcome => ({
    type: "exited",
    exitCode,
    stdout: Buffer.from(stdout),
    stderr,
  });
  const ref = { path: "ignored", attributes: { application: "other", "user name": "al ice" } };

  it("are read by their attributes on Linux, through libsecret's tool", async () => {
    const { requests, within } = secretTool(printedBySecretTool(0, "canary-other"));

    const answer = (await (await keychainKind.open({}, within)).fetch([ref], never())).get(ref);

    expect((answer as { value: Secret }).value.reveal()).toBe("canary-other");
    expect(placeIn(answer)).toBeUndefined();
    expect(requests[0]?.argv).toEqual([
      "secret-tool",
      "lookup",
      "application",
      "other",
      "user name",
      "al ice",
    ]);
  });

  it.each<[string, ProgramOutcome, string]>([
    ["absent", printedBySecretTool(1, ""), "the keychain has no item with these attributes, or it is locked"],
    [
      "without a keychain",
      printedBySecretTool(1, "", "Could not connect"),
      "no keychain answers on this machine",
    ],
    [
      "without the tool",
      { type: "not-started", code: "ENOENT" },
      "attributes: needs the program secret-tool (ENOENT)",
    ],
  ])("are reported when they can't be had: %s", async (_why, outcome, reason) => {
    const { within } = secretTool(outcome);

    const answer = (await (await keychainKind.open({}, within)).fetch([ref], never())).get(ref);

    expect(answer).toMatchObject({ reason });
  });

  it("are looked for by service and account where attributes mean nothing", async () => {
    const keyring = inMemoryKeyring({ "ignored\ntester": "canary-mac" });
    const store = await keychainKind.open({}, context(keyring, { platform: "darwin" }));

    const answer = (await store.fetch([ref], never())).get(ref);

    expect((answer as { value: Secret }).value.reveal()).toBe("canary-mac");
  });

  it("are read by their target on Windows, and never through an entry, which would empty them", async () => {
    const keyring = inMemoryKeyring();
    keyring.credentials.set("git:https://example.com", { account: "alice", password: "canary-win" });
    const store = await keychainKind.open({}, context(keyring, { platform: "win32" }));
    const wanted = { path: "git", target: "git:https://example.com" };
    const other = { path: "git/bob", target: "git:https://example.com" };

    const answers = await store.fetch([wanted, other], never());

    expect((answers.get(wanted) as { value: Secret }).value.reveal()).toBe("canary-win");
    expect(placeIn(answers.get(wanted))).toBeUndefined();
    expect(answers.get(other)).toMatchObject({ failure: "missing" });
    expect(keyring.touched).toEqual(["mcp-run key/versions"]);
  });

  it("are never written", async () => {
    const linux = await keychainKind.open({}, context(inMemoryKeyring()));
    const windows = await keychainKind.open({}, context(inMemoryKeyring(), { platform: "win32" }));

    await expect(linux.put(ref, new Secret("canary"), never())).rejects.toThrow("only read, never written");
    await expect(windows.remove({ path: "git", target: "x" }, never())).rejects.toThrow("only read");
  });

  it.each([
    { attributes: {} },
    { attributes: { a: "" } },
    { target: "" },
    { target: "x", version: "k1" },
    { attributes: { a: "b" }, version: "k1" },
  ])("are refused when they are named by nothing, or by a version: %j", (more) => {
    expect(keychainKind.refSchema.safeParse({ path: "x", ...more }).success).toBe(false);
  });
});
