/** The canary of a profile: real servers, the secrets out of a store in memory. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createMemoryKind, type MemoryBehaviour } from "../../../providers/memory.ts";
import { canaryOf } from "../../../src/commands/start/trial-server.ts";
import { ProviderError } from "../../../src/errors.ts";
import type { Profile } from "../../../src/profile/profile.ts";
import type { Probe } from "../../../src/relay/probe.ts";
import { NeedleSet } from "../../../src/scrub/needle-set.ts";
import { Secret } from "../../../src/secrets/secret.ts";
import { Installation } from "../../helpers/installation.ts";
import { isAlive, until } from "../../helpers/processes.ts";
import { testContext } from "../../helpers/provider-context.ts";
import { VirtualClock } from "../../helpers/virtual-clock.ts";
import { secret, template } from "../../secrets/requests.ts";
import { contextOf, OLD_VALUES, profileOf, serverWith } from "./canary-room.ts";

const NEW = new Map([["KEY", new Secret("canary-new")]]);
const PROBE: Probe = { tool: "check", arguments: {} };

let home: Installation;
let behaviour: MemoryBehaviour;
const signal = new AbortController().signal;

beforeEach(() => {
  home = new Installation();
  behaviour = {};
});
afterEach(() => home.remove());

function canary(script: string, given: Partial<Profile> = {}, clock = testContext().clock) {
  const context = contextOf(home, createMemoryKind(OLD_VALUES, behaviour), clock);
  const parts = { needles: new NeedleSet(), ranBy: "the test" };
  return canaryOf(context, profileOf(home, script, given), parts);
}

function serverPid(): number {
  return Number(home.read("pid"));
}

describe("a canary", () => {
  it("gets the candidate in every way that the profile has, and the rest as it is", async () => {
    const test = [
      '[ "$KEY" = canary-new ]',
      '[ "$OTHER" = canary-other ]',
      '[ "$DSN" = db://canary-new@host ]',
      '[ "$(cat "$PEM_FILE")" = canary-new ]',
    ].join(" && ");
    const secrets = [
      secret("KEY", "memory:key"),
      secret("OTHER", "memory:other"),
      secret("PEM", "memory:key", { deliver: "file" }),
      template("DSN", "db://{{KEY}}@host"),
    ];

    const outcome = await canary(serverWith(test), { probe: PROBE, secrets }).try(NEW, signal);

    expect(outcome).toEqual({ works: true, wasProbed: true, ranBy: "the test" });
    expect(isAlive(serverPid())).toBe(false);
    expect(home.filesWith("canary-")).toEqual([]);
  });

  it("does not say that the key works where no probe has used it", async () => {
    const outcome = await canary(serverWith("false")).try(NEW, signal);
    expect(outcome).toEqual({ works: true, wasProbed: false, ranBy: "the test" });
  });

  it("says what is wrong, with its last words, and keeps the candidate to itself", async () => {
    const script = serverWith('{ echo "denied: $KEY $OTHER" >&2; false; }');

    const outcome = await canary(script, { probe: PROBE }).try(NEW, signal);

    expect(outcome).toEqual({
      works: false,
      wasProbed: true,
      ranBy: "the test",
      reason: "its probe check failed",
      details: ["denied: [mcp-run:KEY] [mcp-run:OTHER]"],
    });
  });

  it("does not work if its server does not come up, or is none", async () => {
    const ends = await canary("echo no >&2; exit 3").try(NEW, signal);
    const missing = await canary("", { command: "/nonexistent/server" }).try(NEW, signal);

    expect(ends).toMatchObject({
      works: false,
      wasProbed: false,
      details: ["it ended with exit code 3", "no"],
    });
    expect(missing).toMatchObject({ works: false, wasProbed: false });
    expect(missing.reason).toContain("/nonexistent/server");
  });

  it("waits 30 s for a server that says nothing, and ends it", async () => {
    const clock = new VirtualClock();
    const outcome = canary("echo $$ >pid; exec cat >/dev/null", {}, clock).try(NEW, signal);
    await until("it runs", () => home.has("pid") && home.read("pid").length > 0);

    await clock.advance(30_000);

    expect((await outcome).reason).toBe("Cannot shake hands: no answer within 30 s");
    expect(isAlive(serverPid())).toBe(false);
  });

  it("is ended when nobody wants to know any more", async () => {
    const stop = new AbortController();
    const outcome = canary("echo $$ >pid; exec cat >/dev/null").try(NEW, stop.signal);
    await until("it runs", () => home.has("pid") && home.read("pid").length > 0);

    stop.abort(new Error("enough"));

    await expect(outcome).rejects.toThrow("enough");
    expect(isAlive(serverPid())).toBe(false);
  });

  it("has tried nothing where another secret could not be had", async () => {
    behaviour.failure = (_operation, path) =>
      path === "other" ? new ProviderError("unavailable", "it is down") : undefined;

    const outcome = canary(serverWith("true")).try(NEW, signal);

    await expect(outcome).rejects.toMatchObject({ code: "backend-unavailable" });
    expect(home.has("pid")).toBe(false);
  });

  it("leaves no file behind", async () => {
    const secrets = [secret("KEY", "memory:key", { deliver: "file" })];
    const told = 'printf %s "$KEY_FILE" >place; [ -s "$KEY_FILE" ]';

    const outcome = await canary(serverWith(`{ ${told}; }`), { probe: PROBE, secrets }).try(NEW, signal);

    expect(outcome.works).toBe(true);
    const file = readFileSync(join(home.home, "place"), "utf8");
    expect([file !== "", existsSync(file)]).toEqual([true, false]);
    expect(readdirSync(home.home)).not.toContain("cache");
  });
});
