/** A candidate that a supervisor is asked to try: real servers, the store in memory. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createMemoryKind, type MemoryBehaviour, type MemoryKind } from "../../../providers/memory.ts";
import { CandidateCanary } from "../../../src/commands/run/candidate-canary.ts";
import type { Supervised } from "../../../src/commands/run/supervisor-status.ts";
import { SecretsInUse } from "../../../src/commands/start/secrets-in-use.ts";
import { ProviderError } from "../../../src/errors.ts";
import type { Profile } from "../../../src/profile/profile.ts";
import type { Probe } from "../../../src/relay/probe.ts";
import { NeedleSet } from "../../../src/scrub/needle-set.ts";
import { scrubText } from "../../../src/scrub/scrub-stream.ts";
import { Secret } from "../../../src/secrets/secret.ts";
import { Installation } from "../../helpers/installation.ts";
import { isAlive, until } from "../../helpers/processes.ts";
import { testContext } from "../../helpers/provider-context.ts";
import { VirtualClock } from "../../helpers/virtual-clock.ts";
import { contextOf, OLD_VALUES, profileOf, serverWith } from "../../rotation/canary/canary-room.ts";
import { secret } from "../../secrets/requests.ts";

const ROTATION = "20270115-080000-abcdef";
const PROBE: Probe = { tool: "check", arguments: {} };
const QUESTION = { v: 1, type: "canary", rotation: ROTATION, refs: ["memory:key"] } as const;
const NEVER = new AbortController().signal;

let home: Installation;
let behaviour: MemoryBehaviour;
let kind: MemoryKind;
let clock: VirtualClock;
let needles: NeedleSet;

beforeEach(() => {
  home = new Installation();
  behaviour = {};
  kind = createMemoryKind(OLD_VALUES, behaviour);
  clock = new VirtualClock();
  needles = new NeedleSet();
});
afterEach(() => home.remove());

/** Another rotation may have the candidate. */
async function candidate(rotationId = ROTATION, path = "key"): Promise<void> {
  const store = await kind.open({}, testContext());
  const mark = { rotationId, operator: "alice@laptop", createdAt: new Date(0) };
  await store.putCandidate({ path }, new Secret("canary-new"), mark, NEVER);
}

/** A supervisor whose server has the old values. */
async function supervised(
  script: string,
  given: Partial<Profile> = {},
  mode?: "exec",
): Promise<CandidateCanary> {
  const context = contextOf(home, kind, clock);
  const profile = profileOf(home, script, { probe: PROBE, ...given });
  const inUse = new SecretsInUse({ context, profile, purpose: "server" }, needles);
  await inUse.fetch(NEVER);
  inUse.runs(inUse.start());
  return new CandidateCanary({
    context,
    profile,
    inUse,
    needles,
    ...(mode && { mode }),
  } as unknown as Supervised);
}

const ask = (canary: CandidateCanary, change: object = {}, signal = NEVER) =>
  canary.try({ ...QUESTION, refs: [...QUESTION.refs], ...change }, signal);

/** Notes its pid and says nothing, ever. */
const SILENT = "echo $$ >pid; exec cat >/dev/null";
const runs = () => until("it runs", () => home.has("pid") && home.read("pid").length > 0);
const serverPid = () => Number(home.read("pid"));

describe("a supervisor that is asked to try a candidate", () => {
  it("fetches it by itself, and tries it in a server beside its own", async () => {
    await candidate();
    const test = '[ "$KEY" = canary-new ] && [ "$OTHER" = canary-other ]';
    const canary = await supervised(serverWith(`{ ${test}; }`));

    expect(await ask(canary)).toEqual({ works: true, wasProbed: true });
    expect(isAlive(serverPid())).toBe(false);
    // The server that serves may be told of it soon.
    expect(scrubText("canary-new", needles)).toBe("[mcp-run:KEY]");
  });

  it("takes a field of a document out of the candidate", async () => {
    kind = createMemoryKind({ ...OLD_VALUES, doc: '{"token":"canary-old","user":"bot"}' });
    const store = await kind.open({}, testContext());
    const mark = { rotationId: ROTATION, operator: "a@b", createdAt: new Date(0) };
    const document = new Secret('{"token":"canary-new","user":"bot"}');
    await store.putCandidate({ path: "doc" }, document, mark, NEVER);
    const secrets = [secret("KEY", "memory:doc#token"), secret("USER_NAME", "memory:doc#user")];
    const test = '{ [ "$KEY" = canary-new ] && [ "$USER_NAME" = bot ]; }';
    const canary = await supervised(serverWith(test), { secrets });

    expect(await ask(canary, { refs: ["memory:doc#token"] })).toEqual({ works: true, wasProbed: true });
  });

  it("says what is wrong with it, and no secret: also if the server prints it", async () => {
    await candidate();
    const canary = await supervised(serverWith('{ echo "denied: $KEY" >&2; false; }'));

    const answer = await ask(canary);

    expect(answer).toEqual({
      works: false,
      wasProbed: true,
      reason: "its probe check failed",
      details: ["denied: [mcp-run:KEY]"],
    });
  });

  it("says so if the server dies at once", async () => {
    await candidate();
    const canary = await supervised("echo no >&2; exit 3");

    const answer = await ask(canary);

    expect(answer).toMatchObject({ works: false, wasProbed: false });
    expect(answer.details).toEqual(["it ended with exit code 3", "no"]);
  });

  it("waits 30 s for a server that never answers, and ends it", async () => {
    await candidate();
    const canary = await supervised(SILENT);
    const answer = ask(canary);
    await runs();

    await clock.advance(30_000);

    expect(await answer).toMatchObject({ works: false, reason: "Cannot shake hands: no answer within 30 s" });
    expect(isAlive(serverPid())).toBe(false);
  });

  it.each<[what: string, change: object, state: string]>([
    [
      "a secret that it does not use",
      { refs: ["memory:key", "memory:other#x"] },
      "it does not use memory:other#x",
    ],
    ["nothing", { refs: [] }, "no secret is named"],
  ])("refuses %s, and starts nothing", async (_what, change, state) => {
    await candidate();
    const canary = await supervised(serverWith("true"));

    await expect(ask(canary, change)).rejects.toMatchObject({
      code: "usage",
      message: expect.stringContaining(state),
    });
    expect(home.has("pid")).toBe(false);
  });

  it("refuses where there is no candidate, and one of another rotation", async () => {
    const canary = await supervised(serverWith("true"));
    await expect(ask(canary)).rejects.toThrow(`Cannot fetch the candidate of ${ROTATION}: `);
    await candidate("20270115-080000-other0");
    await clock.advance(10_000);

    const refused = ask(canary);

    await expect(refused).rejects.toThrow("alice@laptop");
    await expect(refused).rejects.toMatchObject({ code: "rotation-incomplete" });
    expect(home.has("pid")).toBe(false);
  });

  it("refuses what it may not read", async () => {
    await candidate();
    const canary = await supervised(serverWith("true"));
    behaviour.failure = (operation) =>
      operation === "fetchCandidate" ? new ProviderError("denied", "permission denied (403)") : undefined;

    await expect(ask(canary)).rejects.toMatchObject({
      code: "access-denied",
      message: `Cannot fetch the candidate of ${ROTATION}: permission denied (403)`,
    });
  });

  it.each(["sequential", "never"] as const)(
    "refuses under restart: %s, where it can't run twice",
    async (restart) => {
      await candidate();
      const canary = await supervised(serverWith("true"), { refresh: { restart, drainMs: 1 } });

      await expect(ask(canary)).rejects.toThrow(`its server can't run twice (refresh.restart is ${restart})`);
    },
  );

  it("refuses where a program of exec runs", async () => {
    await candidate();
    await expect(ask(await supervised(serverWith("true"), {}, "exec"))).rejects.toThrow("no server");
  });

  it("tries one at a time, and one in 10 s", async () => {
    await candidate();
    const canary = await supervised(serverWith("true"));

    const [first, second] = await Promise.allSettled([ask(canary), ask(canary)]);
    const soon = ask(canary);

    expect(first).toMatchObject({ value: { works: true } });
    expect(second).toMatchObject({ reason: { name: "BusyError" } });
    await expect(soon).rejects.toThrow("it has only just tried another one");
    await clock.advance(10_000);
    expect(await ask(canary)).toMatchObject({ works: true });
  });

  it("ends it when the asker has gone", async () => {
    await candidate();
    const canary = await supervised(SILENT);
    const gone = new AbortController();
    const answer = ask(canary, {}, gone.signal);
    await runs();

    gone.abort(new Error("the peer has gone"));

    await expect(answer).rejects.toThrow("the peer has gone");
    expect(isAlive(serverPid())).toBe(false);
  });

  it("ends it when the session ends, and tries no other", async () => {
    await candidate();
    const canary = await supervised(SILENT);
    const answer = ask(canary);
    answer.catch(() => undefined);
    await runs();

    await canary.close();

    expect(isAlive(serverPid())).toBe(false);
    await expect(answer).rejects.toThrow("it is ending");
    await clock.advance(10_000);
    await expect(ask(canary)).rejects.toThrow("it is ending");
  });

  it("gives it up where a program that is its probe takes too long", async () => {
    await candidate();
    const probe: Probe = { program: ["sh", "-c", "echo $$ >probe; exec sleep 300"], timeoutMs: 60_000 };
    const canary = await supervised(serverWith("true"), { probe });
    const answer = ask(canary);
    await until("the probe runs", () => home.has("probe") && home.read("probe").length > 0);

    await clock.advance(60_000);

    expect(await answer).toMatchObject({
      works: false,
      wasProbed: true,
      reason: "its probe sh did not end within 60 s",
    });
    expect(isAlive(Number(home.read("probe")))).toBe(false);
  });
});
