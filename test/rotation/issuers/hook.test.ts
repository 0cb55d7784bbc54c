/** The protocol of hooks, with real programs at its other end. */
import { existsSync, readFileSync } from "node:fs";
import { chmod, mkdtemp, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { quotable } from "../../../src/commands/quotable.ts";
import type { Issuer } from "../../../src/rotation/contract.ts";
import { type HookSurroundings, hookIssuer } from "../../../src/rotation/issuers/hook.ts";
import { createProgramRunner, runProgram } from "../../../src/secrets/run-program.ts";
import { Secret } from "../../../src/secrets/secret.ts";
import type { HookSpec } from "../../../src/secrets/spec.ts";
import { isAlive, until } from "../../helpers/processes.ts";
import { VirtualClock } from "../../helpers/virtual-clock.ts";
import { errorOf } from "../../profile/room.ts";
import { never, REQUEST } from "./asking.ts";

const OLD = "canary-old-value-0123456789";
const NEW = "canary-new-value-9876543210";
let dir: string;

beforeEach(async () => {
  dir = await realpath(await mkdtemp(join(tmpdir(), "mcp-run-hook-")));
});

afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

function around(env: HookSurroundings["env"] = {}): HookSurroundings {
  return { runProgram, env: { PATH: process.env.PATH, ...env }, home: dir, quotable };
}

/** A hook that is this shell script. */
function hook(
  script: string,
  spec: Partial<HookSpec> = {},
  along: readonly string[] = [],
  changes: Partial<HookSurroundings> = {},
): Issuer {
  const argv = ["sh", "-c", script, "hook.sh"] as const;
  const surroundings = { ...around(), ...changes };
  return hookIssuer({ type: "hook", argv: [...argv], grantsOldValue: false, ...spec }, along, surroundings);
}

/** A hook that keeps what it was asked and answers this. */
function recording(answer: object, spec: Partial<HookSpec> = {}, along: readonly string[] = []): Issuer {
  return hook(`cat > ${dir}/asked; printf %s '${JSON.stringify(answer)}'`, spec, along);
}

async function asked(): Promise<unknown> {
  return JSON.parse(await readFile(join(dir, "asked"), "utf8"));
}

const ALWAYS = {
  version: 1,
  profile: "github",
  secret: "TOKEN",
  reason: "leaked in a build log",
  rotation: "20270115-120000-abcdef",
};

describe("what a hook is asked", () => {
  it("to mint", async () => {
    const minted = await recording({ value: NEW, keyId: "k-1", later: true }).mint(REQUEST, never());

    expect(await asked()).toEqual({ ...ALWAYS, action: "mint" });
    expect(minted.value.reveal()).toBe(NEW);
    expect(minted.keyId).toBe("k-1");
    expect(minted.along).toBeUndefined();
  });

  it("to mint with what belongs to it", async () => {
    const minted = await recording({ value: NEW, with: { KEY_ID: "canary-id" } }, {}, ["KEY_ID"]).mint(
      REQUEST,
      never(),
    );

    expect(await asked()).toEqual({ ...ALWAYS, action: "mint", with: ["KEY_ID"] });
    expect(minted.along?.get("KEY_ID")?.reveal()).toBe("canary-id");
  });

  it("to find what it has minted before", async () => {
    expect(await recording({}).find(REQUEST, never())).toBeUndefined();
    expect(await asked()).toEqual({ ...ALWAYS, action: "find" });

    const found = await recording({ value: NEW, keyId: 17 }).find(REQUEST, never());
    expect(found?.value.reveal()).toBe(NEW);
    expect(found?.keyId).toBe("17");
  });

  it.each([
    [{ revoked: true }, "revoked"],
    [{ revoked: false }, "unknown"],
    [{}, "unknown"],
  ])("to revoke, and answers %j", async (answer, expected) => {
    const key = { keyId: "k-1", value: new Secret(OLD) };

    expect(await recording(answer).revoke(REQUEST, key, never())).toBe(expected);
    expect(await asked()).toEqual({ ...ALWAYS, action: "revoke", keyId: "k-1" });
  });

  it.each([
    [{ accepted: true }, "accepted"],
    [{ accepted: false }, "refused"],
    [{}, "unknown"],
  ])("to verify, and answers %j", async (answer, expected) => {
    const key = { value: new Secret(OLD) };

    expect(await recording(answer).verify(REQUEST, key, never())).toBe(expected);
    expect(await asked()).toEqual({ ...ALWAYS, action: "verify" });
  });

  it("holds the old value only if the profile grants it", async () => {
    const key = { value: new Secret(OLD) };

    await recording({}).revoke(REQUEST, key, never());
    expect(await asked()).not.toHaveProperty("value");

    await recording({}, { grantsOldValue: true }).revoke(REQUEST, key, never());
    expect(await asked()).toMatchObject({ value: OLD });
    await recording({}, { grantsOldValue: true }).verify(REQUEST, key, never());
    expect(await asked()).toMatchObject({ value: OLD });
  });

  it("holds the value of a candidate, which is its own", async () => {
    await recording({}).revoke(REQUEST, { value: new Secret(NEW), isCandidate: true }, never());

    expect(await asked()).toMatchObject({ value: NEW });
  });
});

describe("a hook for a key that data is encrypted with", () => {
  const SPEC = { reencrypts: true } as const;
  const KEYS = {
    before: { keyId: "k-1", value: new Secret(OLD) },
    after: { keyId: "k-2", value: new Secret(NEW) },
  };

  it("is asked to encrypt anew, by the names of both keys", async () => {
    const done = await recording({ reencrypted: true }, SPEC).reencrypt?.(REQUEST, KEYS, never());

    expect(done).toBe(true);
    expect(await asked()).toEqual({ ...ALWAYS, action: "reencrypt", keyId: "k-2", oldKeyId: "k-1" });
  });

  it("is told the keys themselves only if the profile grants it", async () => {
    const issuer = recording({ reencrypted: false }, { ...SPEC, grantsOldValue: true });

    expect(await issuer.reencrypt?.(REQUEST, KEYS, never())).toBe(false);
    expect(await asked()).toMatchObject({ value: NEW, oldValue: OLD });
  });

  it.each([{}, { reencrypted: "yes" }, { revoked: true }])(
    "has not done it where it answers %j",
    async (answer) => {
      const asking = recording(answer, SPEC).reencrypt?.(REQUEST, KEYS, never());

      const { message, code } = await errorOf(asking as Promise<unknown>);
      expect(code).toBe("secret-invalid");
      expect(message).toContain("Cannot encrypt anew what the old TOKEN has encrypted: its hook");
      expect(message).toContain("`reencrypted`");
    },
  );

  it("that fails and prints both keys is quoted without them", async () => {
    const issuer = hook(`echo "${OLD} ${NEW} no room left" >&2; exit 3`, SPEC);

    const { message } = await errorOf(issuer.reencrypt?.(REQUEST, KEYS, never()) as Promise<unknown>);

    expect(message).toContain("no room left");
    expect(message).not.toContain("canary-");
  });

  it("is no other hook", () => {
    expect(recording({}).reencrypt).toBeUndefined();
  });
});

describe("how a hook is started", () => {
  it("is with the operator's environment, in the home folder, with no secret in its arguments", async () => {
    const script = `env > ${dir}/env; pwd > ${dir}/cwd; tr '\\0' ' ' < /proc/$$/cmdline > ${dir}/argv; echo '{}'`;
    const issuer = hookIssuer(
      { type: "hook", argv: ["sh", "-c", script, "sh", "fixed word"], grantsOldValue: true },
      [],
      around({ CLOUD_LOGIN: "canary-cloud", MCP_RUN_PASSPHRASE: "canary-passphrase", UNSET: undefined }),
    );

    await issuer.revoke(REQUEST, { value: new Secret(OLD), keyId: "name-of-the-key" }, never());

    const [env, cwd, argv] = await Promise.all(
      ["env", "cwd", "argv"].map((name) => readFile(join(dir, name), "utf8")),
    );
    expect(env).toContain("CLOUD_LOGIN=canary-cloud");
    expect(env).not.toMatch(/MCP_RUN_|canary-old|UNSET/);
    expect(cwd).toBe(`${dir}\n`);
    expect(argv).toContain("fixed word");
    expect(argv).not.toMatch(/canary-old|name-of-the-key|github/);
  });
});

describe("a hook that fails", () => {
  const NOT_SHOWN =
    "what it printed to stderr is not shown, as a new key may be in it: run it by hand to see it";

  it.each([
    ["exits", `echo '{"error":" no permission "}'; exit 3`, "it exited with code 3 | no permission"],
    ["only says so", `echo '{"error":"no permission"}'`, "it answered with an error | no permission"],
    [
      "says so in lines",
      `printf %s '{"error":"a\\nb\\u001b[2J"}'; exit 1`,
      "it exited with code 1 | a\\nb\\e[2J",
    ],
    ["says nothing", "exit 1", "it exited with code 1"],
    ["says nothing in an error", `echo '{"error":" "}'; echo '' >&2; exit 1`, "it exited with code 1"],
    ["says no text in an error", `echo '{"error":{"token":"canary-x"}}'; exit 1`, "it exited with code 1"],
    ["says it only to stderr", "echo 'made canary-x' >&2; exit 1", `it exited with code 1 | ${NOT_SHOWN}`],
    ["is killed", "kill -KILL $$", "it was killed by SIGKILL"],
    ["prints nothing", "true", "it printed no answer"],
    [
      "prints rubbish",
      "echo Minted the key; echo sorry >&2",
      `what it printed is not one JSON object | ${NOT_SHOWN}`,
    ],
    ["prints a list", "echo '[]'", "what it printed is not one JSON object"],
    ["prints two answers", "echo '{}'; echo '{}'", "what it printed is not one JSON object"],
    ["prints what is no text", "printf '\\377'", "what it printed is not one JSON object"],
    [
      "prints a value that is no text",
      `printf '{"value":"canary-\\377"}'`,
      "what it printed is not one JSON object",
    ],
    ["prints too much", "head -c 300000 /dev/zero", "it printed more than 262144 bytes"],
    ["prints no value", `echo '{"token":"canary-x"}'`, "its answer has no `value`"],
    ["prints an empty value", `echo '{"value":""}'`, "`value` of its answer must not be empty"],
    ["prints a number", `echo '{"value":17}'`, "`value` of its answer must be text"],
    [
      "prints a NUL",
      `printf %s '{"value":"a\\u0000b"}'`,
      "`value` of its answer must not hold a NUL character",
    ],
    [
      "names a key badly",
      `printf %s '{"value":"v","keyId":"a\\nb"}'`,
      "`keyId` of its answer must be one line, and not empty",
    ],
    [
      "names a key by itself",
      `echo '{"value":"canary-x","keyId":"id-canary-x"}'`,
      "its `keyId` holds the secret itself",
    ],
    [
      "says more than was asked",
      `echo '{"value":"v","with":{"canary-x":"w"}}'`,
      "its answer has a name under `with` that was not asked for",
    ],
  ])("because it %s is an error that says so and shows no value", async (_what, script, state) => {
    const error = await errorOf(hook(script).mint(REQUEST, never()));

    expect(error.message).toBe(`Cannot mint a new TOKEN: its hook sh: ${state}`);
    expect(error.hint).toMatch(/\w/);
    expect(inspect(error)).not.toContain("canary-");
  });

  it("with the name of another secret missing", async () => {
    const error = await errorOf(recording({ value: NEW }, {}, ["KEY_ID"]).mint(REQUEST, never()));

    expect(error.message).toContain("its answer has no `KEY_ID` under `with`");
  });

  it.each([
    [
      "revoke",
      '{"revoked":"yes"}',
      "Cannot revoke the old TOKEN: its hook sh: `revoked` of its answer must be true or false",
    ],
    [
      "verify",
      '{"accepted":0}',
      "Cannot find out whether the old TOKEN is refused: its hook sh: `accepted` of its answer must be true or false",
    ],
  ] as const)("at %s is named so", async (action, answer, message) => {
    const error = await errorOf(hook(`echo '${answer}'`)[action](REQUEST, {}, never()) as Promise<unknown>);

    expect(error.message).toBe(message);
  });

  it("at find is named so", async () => {
    const error = await errorOf(hook(`echo '{"value":3}'`).find(REQUEST, never()));

    expect(error.message).toBe(
      "Cannot find out what was minted for TOKEN: its hook sh: `value` of its answer must be text",
    );
  });

  it("and prints the secrets to stderr is quoted without them", async () => {
    const script = `read -r asked; echo "asked $asked" >&2; echo 'made ${NEW} {' >&2; printf %s '{"value":"${NEW}"}'; exit 1`;
    const error = await errorOf(
      hook(script, { grantsOldValue: true }).revoke(REQUEST, { value: new Secret(OLD) }, never()),
    );

    expect(error.message).toContain("it exited with code 1 | asked {");
    expect(error.message).toContain("made ");
    expect(inspect(error)).not.toMatch(/canary-(?:old|new)/);
  });

  it("and steers the terminal is shown, not obeyed", async () => {
    const error = await errorOf(hook("printf '\\033[2Jgone' >&2; exit 1").revoke(REQUEST, {}, never()));

    expect(error.message).toContain("\\e[2Jgone");
  });

  it("and tells what it has made in its error is quoted without it", async () => {
    const answer = {
      value: NEW,
      with: { ID: "canary-id-17" },
      error: `kept ${NEW} and canary-id-17 for nobody`,
    };

    const error = await errorOf(hook(`echo '${JSON.stringify(answer)}'; exit 1`).mint(REQUEST, never()));

    expect(error.message).toContain("it exited with code 1 | kept ");
    expect(error.message).toContain("for nobody");
    expect(inspect(error)).not.toContain("canary-");
  });

  it("and tells what it was told in its error is quoted without it", async () => {
    const script = `echo '{"error":"401 for ${OLD}"}'; echo "not this" >&2; exit 1`;

    const error = await errorOf(hook(script).revoke(REQUEST, { value: new Secret(OLD) }, never()));

    expect(error.message).toMatch(/it exited with code 1 \| 401 for \S+$/);
    expect(error.message).not.toContain("canary-");
  });

  it("and says much in its error is quoted in part, and not in the middle of a secret", async () => {
    const why = `${"no ".repeat(163)}${OLD} ${"no ".repeat(1000)}`;

    const error = await errorOf(
      hook(`printf %s '${JSON.stringify({ error: why })}'; exit 1`).revoke(
        REQUEST,
        { value: new Secret(OLD) },
        never(),
      ),
    );

    const [, quote = ""] = error.message.split(" | ");
    expect(quote).toHaveLength(501);
    expect(quote).toMatch(/no \[mcp-run[^\]]*…$/);
    expect(quote).not.toContain("canary");
  });

  it("to find is not quoted by its stderr either, but by its error", async () => {
    const said = await errorOf(hook(`echo 'found ${NEW}' >&2; exit 1`).find(REQUEST, never()));
    const answered = await errorOf(hook(`echo '{"error":"HTTP 401"}'`).find(REQUEST, never()));

    expect(said.message).toBe(
      `Cannot find out what was minted for TOKEN: its hook sh: it exited with code 1 | ${NOT_SHOWN}`,
    );
    expect(answered.message).toBe(
      "Cannot find out what was minted for TOKEN: its hook sh: it answered with an error | HTTP 401",
    );
  });

  it("because there is no such program", async () => {
    const issuer = hookIssuer(
      { type: "hook", argv: [join(dir, "absent.mjs")], grantsOldValue: false },
      [],
      around(),
    );

    expect(await errorOf(issuer.mint(REQUEST, never()))).toMatchObject({
      code: "command-not-found",
      message: "Cannot mint a new TOKEN: its hook absent.mjs: there is no such program",
      hint: `the path behind \`hook:\`, which is ${join(dir, "absent.mjs")}`,
    });
  });

  it("before anything is begun, where that is certain", async () => {
    const program = join(dir, "hook.mjs");
    const issuer = hookIssuer({ type: "hook", argv: [program], grantsOldValue: false }, [], around());

    expect(await errorOf(Promise.resolve(issuer.mustBeThere?.("TOKEN")))).toMatchObject({
      code: "command-not-found",
    });
    await writeFile(program, "#!/bin/sh\n", { mode: 0o700 });
    await issuer.mustBeThere?.("TOKEN");
    await hook("exit 1").mustBeThere?.("TOKEN");
  });

  it("because it is not executable", async () => {
    const file = join(dir, "hook.mjs");
    await writeFile(file, "");
    await chmod(file, 0o600);
    const issuer = hookIssuer({ type: "hook", argv: [file], grantsOldValue: false }, [], around());

    expect(await errorOf(issuer.mint(REQUEST, never()))).toMatchObject({
      code: "command-not-executable",
      hint: `chmod +x ${file}`,
    });
  });
});

describe("a hook that does not end", () => {
  const IGNORES_TERM = "trap '' TERM; echo $$ > pid; sleep 300 & echo $! > child; wait; wait; sleep 300";

  /** 0 as long as it is not known. */
  function pidIn(name: string): number {
    const file = join(dir, name);
    return existsSync(file) ? Number(readFileSync(file, "utf8")) : 0;
  }

  const bothEnded = () =>
    until("its end", () => pidIn("child") > 0 && !isAlive(pidIn("pid")) && !isAlive(pidIn("child")));

  it("is killed with its children when its time is over, although it ignores SIGTERM", async () => {
    const clock = new VirtualClock();
    const stubborn = hook(IGNORES_TERM, { timeoutMs: 1_000 }, [], { runProgram: createProgramRunner(clock) });
    const failed = errorOf(stubborn.mint(REQUEST, never()));
    await until("its start", () => pidIn("child") > 0);
    await clock.advance(1_000);
    const error = await failed;

    expect(error).toMatchObject({
      code: "backend-unavailable",
      message: "Cannot mint a new TOKEN: its hook sh: it did not end within 1 s",
    });
    await bothEnded();
  });

  it("is killed when the rotation is interrupted", async () => {
    const controller = new AbortController();
    const work = hook(IGNORES_TERM).mint(REQUEST, controller.signal);
    const settled = expect(work).rejects.toThrow("stop it");
    await until("its start", () => pidIn("child") > 0);

    controller.abort(new Error("stop it"));

    await settled;
    await bothEnded();
  });

  it("does not hold anybody up when only a child of it goes on", async () => {
    const answer = `printf %s '{"value":"${NEW}"}'`;
    const { value } = await hook(`sleep 300 & echo $! > child; ${answer}`).mint(REQUEST, never());

    expect(value.reveal()).toBe(NEW);
    const child = pidIn("child");
    expect(isAlive(child)).toBe(true);
    process.kill(child, "SIGKILL");
  });
});
