/** The keychain provider with its built helper against gnome-keyring, and both against libsecret's own tool. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { keychainKind } from "../../providers/keychain.ts";
import { ProviderError } from "../../src/errors.ts";
import { createProgramRunner, runProgram } from "../../src/secrets/run-program.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { describeBackend } from "../helpers/backends.ts";
import { heard } from "../helpers/heard.ts";
import { MAIN, ROOT } from "../helpers/installation.ts";
import { BOUNDED, isAlive, until } from "../helpers/processes.ts";
import { testContext } from "../helpers/provider-context.ts";
import { PROGRAMS, SecretService, type SecretServiceOptions } from "../helpers/secret-service.ts";
import { VirtualClock } from "../helpers/virtual-clock.ts";
import { describeRotationContract } from "../providers/rotation-contract.ts";

const HELPER = join(ROOT, "dist/keychain-helper.cjs");
const MARK = { rotationId: "rotation-1", operator: "alice@laptop", createdAt: new Date(0) };
const never = () => new AbortController().signal;

function contextOn(service: SecretService, overrides: Parameters<typeof testContext>[0] = {}) {
  return testContext({
    home: join(service.dir, "mcp-run"),
    env: service.env,
    keychainHelper: [process.execPath, HELPER],
    runProgram,
    ...overrides,
  });
}

const keychainOn = (service: SecretService) => keychainKind.open({}, contextOn(service));

async function read(service: SecretService, ref: { path: string; attributes?: Record<string, string> }) {
  const answer = (await (await keychainOn(service)).fetch([ref], never())).get(ref);
  return answer instanceof ProviderError ? answer : answer?.value.reveal();
}

/**
 * Runs a script with the native library itself: for many items, 200 runs of a tool would take longer than the test.
 * `input` is its parameter; returns what the script's expression is, by way of JSON.
 */
function native(service: SecretService, script: string, input: unknown): unknown {
  const program = `
    const { Entry, findCredentials } = require("@napi-rs/keyring");
    const entry = (service, account) => new Entry(service, account, { linux: { store: "secret-service" } });
    const run = (input) => ${script};
    process.stdout.write(JSON.stringify(run(JSON.parse(require("fs").readFileSync(0, "utf8"))) ?? null));`;
  const output = execFileSync(process.execPath, ["-e", program], {
    cwd: ROOT,
    env: { ...service.env, DBUS_SESSION_BUS_ADDRESS: `unix:path=${service.env.XDG_RUNTIME_DIR}/bus` },
    input: JSON.stringify(input),
    encoding: "utf8",
    ...BOUNDED,
    timeout: 150_000,
  });
  return JSON.parse(output);
}

const fill = (service: SecretService, items: readonly (readonly [service: string, value: string])[]) =>
  native(service, 'input.forEach(([name, value]) => entry(name, "tester").setPassword(value))', items);

/** Removes what mcp-run has noted, and the notes. */
const removeNoted = (service: SecretService) =>
  native(
    service,
    `findCredentials(input).forEach(({ account }) => {
      // After a test that has failed there may be a note of what is not there; the next one is not to fail for that.
      try { entry(account, "tester").deletePassword(); } catch {}
      entry(input, account).deletePassword();
    })`,
    "mcp-run entries",
  );

/** The secrets that mcp-run keeps beside the entries whose paths begin so. */
const sideItems = (service: SecretService, start: string) =>
  native(
    service,
    "input[0].flatMap((name) => findCredentials(name)).filter(({ account }) => account.startsWith(input[1]))",
    [["mcp-run candidate value", "mcp-run previous value"], start],
  );

describeBackend("the OS keychain", PROGRAMS, () => {
  describe("as a store", () => {
    let service: SecretService;
    let round = 0;

    beforeAll(async () => {
      service = await SecretService.start();
      // A keychain that mcp-run has written to before, so that it names versions.
      await (await keychainOn(service)).put({ path: "first" }, new Secret("first"), never());
      removeNoted(service);
    });

    afterAll(() => service.stop());

    describeRotationContract("keychain, on gnome-keyring", {
      emptyIs: "kept",
      // Each step is a process or two.
      rounds: 2,
      another: () => keychainOn(service),
      stored: async () => JSON.stringify(sideItems(service, `round-${round}-`)),
      async open(entries) {
        round++;
        const nameOf = (name: string) => `round-${round}-${name}`;
        const items = Object.entries(entries).map(([name, value]) => [nameOf(name), value] as const);
        if (items.length > 0) fill(service, items);
        return {
          provider: await keychainOn(service),
          ref: (name) => ({ path: nameOf(name) }),
          dispose: async () => void removeNoted(service),
        };
      },
      pathOf: (name) => `round-${round}-${name}`,
      placeOf: (name) => new RegExp(`keychain://[^/]+/round-${round}-${name}/[^/]+`),
    });
  });

  describe("shared with other programs", () => {
    let service: SecretService;

    beforeAll(async () => {
      service = await SecretService.start();
    });

    afterAll(() => service.stop());

    it("reads what secret-tool has stored", async () => {
      service.store(["service", "from-tool", "username", "alice"], "canary-from-tool ü\n");

      expect(await read(service, { path: "from-tool/alice" })).toBe("canary-from-tool ü\n");
    });

    it("writes what secret-tool looks up", async () => {
      const store = await keychainOn(service);

      await store.put({ path: "to-tool/alice" }, new Secret("canary-to-tool"), never());

      expect(service.run("secret-tool", ["lookup", "service", "to-tool", "username", "alice"])).toBe(
        "canary-to-tool",
      );
    });

    it("changes an item of secret-tool in its place", async () => {
      service.store(["service", "in-place", "username", "alice"], "canary-old");

      await (await keychainOn(service)).put({ path: "in-place/alice" }, new Secret("canary-new"), never());

      expect(await read(service, { path: "in-place/alice" })).toBe("canary-new");
      expect(service.run("secret-tool", ["lookup", "service", "in-place", "username", "alice"])).toBe(
        "canary-new",
      );
    });

    it("rotates an item that secret-tool reads, and notices what it has written meanwhile", async () => {
      const store = await keychainOn(service);
      const ref = { path: "rotated/alice" };
      const lookUp = () => service.run("secret-tool", ["lookup", "service", "rotated", "username", "alice"]);
      service.store(["service", "rotated", "username", "alice"], "canary-old");
      const old = await store.currentVersion(ref, never());
      await store.putCandidate(ref, new Secret("canary-new"), MARK, never());

      service.store(["service", "rotated", "username", "alice"], "canary-meanwhile");
      const late = store.promote(ref, MARK.rotationId, old, never());
      await expect(late).rejects.toMatchObject({ failure: "conflict" });
      expect(lookUp()).toBe("canary-meanwhile");

      const now = await store.currentVersion(ref, never());
      const { version } = await store.promote(ref, MARK.rotationId, now, never());
      expect(lookUp()).toBe("canary-new");
      await store.restore(ref, now ?? "", version, never());
      expect(lookUp()).toBe("canary-meanwhile");
    });

    it("reads an item that only its attributes name", async () => {
      service.store(["application", "other program", "user", "al ice"], "canary-attributes");
      const attributes = { application: "other program", user: "al ice" };

      expect(await read(service, { path: "ignored", attributes })).toBe("canary-attributes");
      expect(await read(service, { path: "ignored", attributes: { application: "none" } })).toMatchObject({
        failure: "missing",
      });
    });

    it("leaves out of its list what was removed by another program", async () => {
      const store = await keychainOn(service);
      await store.put({ path: "listed" }, new Secret("canary"), never());
      await store.put({ path: "gone" }, new Secret("canary"), never());
      service.run("secret-tool", ["clear", "service", "gone"]);

      const paths = (await store.list(never())).map(({ path }) => path);

      expect(paths).toContain("listed");
      expect(paths).not.toContain("gone");
    });

    it("says which items it can't use", async () => {
      service.store(["service", "bytes", "username", "tester"], Buffer.from([0x63, 0xff]));
      for (const more of ["1", "2"])
        service.store(["service", "twin", "username", "tester", "x", more], "canary");

      expect(await read(service, { path: "bytes" })).toMatchObject({
        failure: "invalid",
        reason: "the item's value is not text",
      });
      expect(await read(service, { path: "twin" })).toMatchObject({
        failure: "invalid",
        reason: "several items of the keychain match",
      });
      expect(await read(service, { path: "twin", attributes: { service: "twin", x: "2" } })).toBe("canary");
    });
  });

  describe("in trouble", () => {
    let service: SecretService | undefined;
    const start = async (options: SecretServiceOptions = {}) => {
      service = await SecretService.start(options);
      return service;
    };

    afterEach(async () => {
      await service?.stop();
      service = undefined;
    });

    it("is not usable on a bus without a keyring, and says what is wrong", async () => {
      const bus = await start({ keyring: "none" });
      const keychain = await keychainOn(bus);

      expect(await keychain.isUsable(never())).toBe(false);
      expect(await read(bus, { path: "github" })).toMatchObject({
        failure: "unavailable",
        reason: expect.stringMatching(/^no keychain answers on this machine \(.*org\.freedesktop\.secrets/),
      });
    });

    it("is not usable when the bus has gone", async () => {
      const bus = await start();
      const env = { ...bus.env, DBUS_SESSION_BUS_ADDRESS: `unix:path=${bus.dir}/gone` };
      const keychain = await keychainKind.open({}, contextOn(bus, { env }));

      expect(await keychain.isUsable(never())).toBe(false);
    });

    it("is usable and locked when nobody unlocks it; what it does not have is missing all the same", async () => {
      const bus = await start();
      bus.store(["service", "locked", "username", "tester"], "canary-locked");
      bus.lock();
      const keychain = await keychainOn(bus);
      const locked = { reason: "the keychain is locked, and was not unlocked" };

      expect(await keychain.isUsable(never())).toBe(true);
      expect(await read(bus, { path: "absent" })).toMatchObject({ failure: "missing" });
      expect(await read(bus, { path: "locked" })).toMatchObject(locked);
      await expect(keychain.put({ path: "new" }, new Secret("canary"), never())).rejects.toMatchObject(
        locked,
      );
      await expect(keychain.remove({ path: "locked" }, never())).rejects.toMatchObject(locked);
      const candidate = keychain.putCandidate({ path: "locked" }, new Secret("canary"), MARK, never());
      await expect(candidate).rejects.toMatchObject(locked);
    });

    it("says that it can't be listed while it is locked", async () => {
      const bus = await start();
      const keychain = await keychainOn(bus);
      await keychain.put({ path: "github" }, new Secret("canary"), never());
      bus.lock();

      await expect(keychain.list(never())).rejects.toMatchObject({
        reason: "the keychain is locked, and was not unlocked",
      });
    });

    it("has no place to write to before the first login, and says so", async () => {
      const bus = await start({ keyring: "without a collection" });

      await expect(
        (await keychainOn(bus)).put({ path: "github" }, new Secret("canary"), never()),
      ).rejects.toMatchObject({ reason: "the keychain has no default collection to write to" });
    });

    it("is given up soon when its service hangs", async () => {
      const bus = await start();
      bus.freeze(true);

      const answer = await read(bus, { path: "github" });

      bus.freeze(false);
      expect(answer).toMatchObject({ failure: "unavailable", reason: "the keychain does not answer" });
    });

    it("is announced after 2 s and given up after 50 s of an unanswered dialog, and the helper is gone", async () => {
      const bus = await start({ dialog: "unanswered" });
      bus.store(["service", "locked", "username", "tester"], "canary-locked");
      bus.lock();
      const clock = new VirtualClock();
      const context = contextOn(bus, { clock, runProgram: createProgramRunner(clock) });
      const ref = { path: "locked" };
      const answer = (await keychainKind.open({}, context))
        .fetch([ref], never())
        .catch((error: unknown) => error);
      await bus.dialogIsOpen();

      await clock.advance(2_000);
      expect(context.events).toEqual([
        { type: "notice", message: expect.stringContaining("asking to be unlocked") },
      ]);
      await clock.advance(48_000);

      expect(await answer).toMatchObject({ reason: "the keychain was not unlocked within 50 s" });
      await until("no helper is left", () => !helperRuns());
    });

    it("lets go of an unanswered dialog when it is aborted", async () => {
      const bus = await start({ dialog: "unanswered" });
      bus.store(["service", "locked", "username", "tester"], "canary-locked");
      bus.lock();
      const abort = new AbortController();
      const reason = new Error("enough");
      const answer = heard((await keychainOn(bus)).fetch([{ path: "locked" }], abort.signal));
      await bus.dialogIsOpen();

      abort.abort(reason);

      await expect(answer).rejects.toBe(reason);
      await until("no helper is left", () => !helperRuns());
    });
  });

  describe("behind mcp-run", () => {
    let service: SecretService;
    let child: ChildProcess | undefined;

    beforeEach(async () => {
      service = await SecretService.start({ dialog: "unanswered" });
      execFileSync("sh", ["-c", 'umask 077; cat > "$0"', join(service.home, "mcp-run.yaml")], {
        input: profile,
      });
      mcpRun(["secrets", "set", "keychain:e2e"], "canary-e2e\n");
    });

    afterEach(async () => {
      child?.kill("SIGKILL");
      child = undefined;
      await service.stop();
    });

    const profile =
      'version: 1\nprofiles:\n  p:\n    command: node\n    secrets: { TOKEN: "keychain:e2e" }\n';
    const mcpRun = (args: readonly string[], input = "") =>
      execFileSync(process.execPath, [MAIN, ...args], {
        env: service.env,
        input,
        encoding: "utf8",
        stdio: "pipe",
        ...BOUNDED,
      });

    it("keeps, lists and delivers a secret, with nothing of the session in the environment but its folder", async () => {
      const file = join(service.home, "mcp-run.yaml");
      const script = 'process.stdout.write(process.env.TOKEN === "canary-e2e" ? "has it" : "has it not")';
      const output = mcpRun(["--config", file, "exec", "p", "--", process.execPath, "-e", script]);

      expect(output).toBe("has it");
      expect(mcpRun(["secrets", "list", "keychain"])).toContain("keychain:e2e");
    });

    it("ends at once when it is stopped before an unanswered dialog", async () => {
      service.lock();
      const stopped = spawn(
        process.execPath,
        [MAIN, "--config", join(service.home, "mcp-run.yaml"), "exec", "p", "--", "true"],
        {
          env: service.env,
          stdio: "ignore",
        },
      );
      child = stopped;
      const ended = new Promise((resolve) => stopped.once("exit", (code, signal) => resolve(code ?? signal)));
      await service.dialogIsOpen();

      stopped.kill("SIGTERM");

      expect(await ended).toBe(143);
      await until("no helper is left", () => !helperRuns());
      expect(isAlive(stopped.pid ?? 0)).toBe(false);
    });
  });
});

function helperRuns(): boolean {
  return execFileSync("ps", ["-eo", "args"], { encoding: "utf8", ...BOUNDED }).includes(HELPER);
}
