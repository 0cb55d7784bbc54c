/** Everything that may fail, step by step: how it ends, what is left, and what can be done next. */
import { readdirSync } from "node:fs";
import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { McpRunError, ProviderError } from "../../src/errors.ts";
import { rotationsIn } from "../../src/rotation/journal/journal.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { Crash, DATABASE, failure, GITHUB, never, World } from "./world.ts";

const OLD_TOKEN = '{ "token": "canary-old-token", "user": "bot" }';
const NEW_TOKEN = '{ "token": "canary-new-TOKEN-1", "user": "bot" }';
const UNTOUCHED = {
  documents: [
    { path: "mcp/github", current: OLD_TOKEN, versions: ["v1"], candidate: undefined },
    { path: "db", current: "canary-old-db", versions: ["v1"], candidate: undefined },
  ],
  valid: ["canary-old-db", "canary-old-token"],
};
const DONE = {
  documents: [
    { path: "mcp/github", current: NEW_TOKEN, versions: ["v2"], candidate: undefined },
    { path: "db", current: "canary-new-DB-1", versions: ["v2"], candidate: undefined },
  ],
  valid: ["canary-new-DB-1", "canary-new-TOKEN-1"],
};

/** Fails once the plan is made, at this operation on this document. */
function storeFails(world: World, operation: string, path: string): void {
  world.behaviour.failure = (asked, at) =>
    asked === operation && at === path ? new ProviderError("unavailable", "503 at the test") : undefined;
}

describe("what fails before anybody has the new key is taken back", () => {
  const CASES: readonly { name: string; reason: string; breaks: (world: World) => void }[] = [
    {
      name: "the lock",
      reason: `${DATABASE}: 503`,
      breaks: (world) => storeFails(world, "findCandidate", "db"),
    },
    {
      name: "the first mint",
      reason: "it says 500",
      breaks: ({ issuers }) => {
        issuers.failure = (action) => (action === "mint" ? failure("it says 500") : undefined);
      },
    },
    {
      name: "the second mint",
      reason: "it says 500",
      breaks: ({ issuers }) => {
        issuers.failure = (action, secret) =>
          action === "mint" && secret === "DB" ? failure("it says 500") : undefined;
      },
    },
    {
      name: "the first candidate",
      reason: "503",
      breaks: (world) => storeFails(world, "putCandidate", "mcp/github"),
    },
    {
      name: "the second candidate",
      reason: "503",
      breaks: (world) => storeFails(world, "putCandidate", "db"),
    },
    {
      name: "a server with the new key",
      reason: "it says 401",
      breaks: (world) => {
        world.canary = () => ({ works: false, wasProbed: true, reason: "it says 401" });
      },
    },
    {
      name: "the canary itself",
      reason: "no server could be started",
      breaks: (world) => {
        world.canary = () => {
          throw failure("no server could be started");
        };
      },
    },
    {
      name: "the first promotion",
      reason: "503",
      breaks: (world) => storeFails(world, "promote", "mcp/github"),
    },
  ];

  it.each(CASES)("$name", async ({ reason, breaks }) => {
    const world = new World();
    const plan = await world.plan();
    breaks(world);

    const outcome = await world.rotatePlanned(plan);

    expect(outcome).toMatchObject({
      is: "discarded",
      reason: expect.stringContaining(reason),
      stillValid: [],
    });
    expect(outcome.next).toEqual([]);
    world.behaviour.failure = () => undefined;
    expect(await world.state()).toEqual(UNTOUCHED);
    await expect(world.resume(outcome.rotation)).rejects.toThrow(/has ended \(discarded\)/);
  });

  it("also if it is interrupted", async () => {
    for (const step of ["findCandidate", "mint", "putCandidate", "canary", "promote"]) {
      const world = new World();
      const plan = await world.plan();
      const interruption = new AbortController();
      world.onTouch = (what) => what === step && interruption.abort();

      expect(await world.rotatePlanned(plan, interruption.signal)).toMatchObject({
        is: "discarded",
        reason: "it was interrupted",
      });
      expect(await world.state(), step).toEqual(UNTOUCHED);
    }
  });

  it("and a bug of ours as well, before it is reported as one", async () => {
    const world = new World();
    const plan = await world.plan();
    world.canary = () => {
      throw new TypeError("a bug");
    };

    await expect(world.rotatePlanned(plan)).rejects.toThrow("a bug");

    expect(await world.state()).toEqual(UNTOUCHED);
  });

  it("later, where the store is down for that as well", async () => {
    const world = new World();
    const plan = await world.plan();
    world.canary = () => {
      storeFails(world, "discard", "db");
      return { works: false, wasProbed: true, reason: "it says 401" };
    };

    const outcome = await world.rotatePlanned(plan);

    expect(outcome).toMatchObject({ is: "incomplete", reason: expect.stringContaining("503") });
    expect(outcome.next).toEqual([
      "# to take the candidate away:",
      `mcp-run rotate github --resume ${outcome.rotation}`,
    ]);
    expect((await world.state()).documents[1]).toMatchObject({ candidate: outcome.rotation });
    world.behaviour.failure = () => undefined;
    expect(await world.resume(outcome.rotation)).toMatchObject({ is: "discarded" });
    expect(await world.state()).toEqual(UNTOUCHED);
  });

  it("as far as the issuer lets us: a new key that may be valid is named", async () => {
    const world = new World();
    const plan = await world.plan();
    world.canary = () => ({ works: false, wasProbed: true, reason: "it says 401" });
    world.issuers.failure = (action, secret) =>
      action === "revoke" && secret === "DB" ? failure("the issuer is down") : undefined;

    const outcome = await world.rotatePlanned(plan);

    expect(outcome).toMatchObject({
      is: "incomplete",
      reason: expect.stringContaining("DB was minted anew and may be valid (the issuer is down)"),
      stillValid: [{ which: "new", secret: "DB", target: DATABASE, keyId: "id-of-new-DB-1" }],
    });
    expect((await world.state()).documents).toEqual(UNTOUCHED.documents);
    world.issuers.failure = () => undefined;
    expect(await world.resume(outcome.rotation)).toMatchObject({ is: "discarded", stillValid: [] });
    expect(await world.state()).toEqual(UNTOUCHED);
  });

  it.each(["", "\n"])(
    "but never by ending the old key, where the issuer gives that for a new one, with %j at its end",
    async (end) => {
      const world = new World();
      const plan = await world.plan();
      const old = { value: new Secret(`canary-old-db${end}`), keyId: "id-of-old-db" };
      const issuer = { ...world.issuers.issuer(), mint: async () => old, find: async () => old };
      const targets = plan.targets.map((target) => ({
        ...target,
        parts: target.parts.map((part) => (part.name === "DB" ? { ...part, issuer } : part)),
      }));

      const outcome = await world.rotatePlanned({ ...plan, targets });

      expect(outcome).toMatchObject({ is: "discarded", reason: "the new value of DB is the old one" });
      expect(await world.state()).toEqual(UNTOUCHED);
    },
  );
});

describe("what fails after that is taken back by nobody", () => {
  const CASES: readonly {
    name: string;
    reason: string;
    breaks: (world: World) => void;
    left: { current: readonly (string | undefined)[]; valid: number };
    resume: string;
  }[] = [
    {
      name: "the second promotion",
      reason: "503",
      breaks: (world) => storeFails(world, "promote", "db"),
      left: { current: [NEW_TOKEN, "canary-old-db"], valid: 4 },
      resume: "make it the current one, tell every supervisor and wait for them, revoke the old key",
    },
    {
      name: "the word to the supervisors",
      reason: "no socket",
      breaks: (world) => {
        world.fleetFailure = failure("no socket");
      },
      left: { current: [NEW_TOKEN, "canary-new-DB-1"], valid: 4 },
      resume: "tell every supervisor and wait for them, revoke the old key",
    },
    {
      name: "a supervisor's swap",
      reason: "2 of 2 supervisors do not have the new value",
      breaks: (world) => {
        world.lagging = "failed";
      },
      left: { current: [NEW_TOKEN, "canary-new-DB-1"], valid: 4 },
      resume: "tell every supervisor and wait for them, revoke the old key",
    },
    {
      name: "a revocation",
      reason: "TOKEN may be valid still (it says 500)",
      breaks: ({ issuers }) => {
        issuers.failure = (action, secret) =>
          action === "revoke" && secret === "TOKEN" ? failure("it says 500") : undefined;
      },
      left: { current: [NEW_TOKEN, "canary-new-DB-1"], valid: 3 },
      resume: "revoke the old key, see that it is refused and retire it in the store",
    },
    {
      name: "a verification",
      reason: "DB may be accepted still (it says 500)",
      breaks: ({ issuers }) => {
        issuers.failure = (action, secret) =>
          action === "verify" && secret === "DB" ? failure("it says 500") : undefined;
      },
      left: { current: [NEW_TOKEN, "canary-new-DB-1"], valid: 2 },
      resume: "see that it is refused and retire it in the store",
    },
    {
      name: "a retirement",
      reason: "503",
      breaks: (world) => storeFails(world, "retire", "mcp/github"),
      left: { current: [NEW_TOKEN, "canary-new-DB-1"], valid: 2 },
      resume: "retire it in the store",
    },
  ];

  it.each(CASES)("$name", async ({ reason, breaks, left, resume }) => {
    const world = new World();
    const plan = await world.plan();
    breaks(world);

    const outcome = await world.rotatePlanned(plan);

    expect(outcome).toMatchObject({ is: "incomplete", reason: expect.stringContaining(reason) });
    expect(outcome.next[0]).toContain(`# to ${resume}`);
    expect(outcome.next[1]).toBe(`mcp-run rotate github --resume ${outcome.rotation}`);
    const state = await world.state();
    expect(state.documents.map(({ current }) => current)).toEqual(left.current);
    expect(state.valid).toHaveLength(left.valid);
    // Nothing is retired whose key may be valid.
    if (left.valid > 2) expect(state.documents[0]?.versions).toContain("v1");
    Object.assign(world, { fleetFailure: undefined, lagging: undefined });
    world.behaviour.failure = () => undefined;
    world.issuers.failure = () => undefined;
    expect(await world.resume(outcome.rotation)).toMatchObject({ is: "done", stillValid: [] });
    expect(await world.state()).toEqual(DONE);
  });

  it("says what to do against what it let pass", async () => {
    const world = new World();
    const plan = await world.plan();
    const hint = "a policy that lets it destroy versions";
    world.behaviour.failure = (operation) =>
      operation === "retire" ? new ProviderError("denied", "permission denied (403)", { hint }) : undefined;

    expect(await world.rotatePlanned(plan)).toMatchObject({ is: "incomplete", hint });
  });

  it.each(["revoke", "verify"])("says what to do against an issuer that fails at %s", async (failing) => {
    const world = new World();
    const hint = "the hook by hand";
    world.issuers.failure = (action) =>
      action === failing ? new McpRunError("backend-unavailable", "it says 500", { hint }) : undefined;

    expect(await world.rotate()).toMatchObject({ is: "incomplete", hint });
  });

  it("an interruption leaves it as it is, and says what is next", async () => {
    for (const step of ["spread", "revoke", "verify", "retire"]) {
      const world = new World();
      const plan = await world.plan();
      const interruption = new AbortController();
      world.onTouch = (what) => what === step && interruption.abort();

      const outcome = await world.rotatePlanned(plan, interruption.signal);

      expect(outcome, step).toMatchObject({ is: "incomplete", reason: "it was interrupted" });
      world.onTouch = () => undefined;
      expect(await world.resume(outcome.rotation), step).toMatchObject({ is: "done" });
      expect(await world.state()).toEqual(DONE);
    }
  });

  it("a promotion whose answer was lost may be one", async () => {
    const world = new World();
    const plan = await world.plan();
    const [first, second] = plan.targets;
    if (!first || !second) throw new Error("two targets");
    const store = Object.create(first.store, {
      promote: {
        value: async (...args: Parameters<typeof first.store.promote>) => {
          await first.store.promote(...args);
          throw new ProviderError("unavailable", "the answer was lost");
        },
      },
    });

    const outcome = await world.rotatePlanned({ ...plan, targets: [{ ...first, store }, second] });

    expect(outcome).toMatchObject({ is: "incomplete", reason: `${GITHUB}: the answer was lost` });
    expect(world.issuers.valid.size).toBe(4);
    expect(await world.resume(outcome.rotation)).toMatchObject({ is: "done" });
    expect(await world.state()).toEqual(DONE);
  });
});

describe("whoever still needs the old key", () => {
  it.each(["pending", "failed", "cannot-swap"] as const)("keeps it from being revoked: %s", async (state) => {
    const world = new World();
    world.lagging = state;

    const outcome = await world.rotate();

    expect(world.questions).toMatchObject([{ type: "not-acknowledged", members: [{ state }, { state }] }]);
    expect(outcome).toMatchObject({ is: "incomplete", acknowledgements: [{ state }, { state }] });
    expect(outcome.stillValid).toEqual([
      { which: "old", secret: "TOKEN", target: GITHUB },
      { which: "old", secret: "DB", target: DATABASE },
    ]);
    expect(world.issuers.calls.filter((call) => call.startsWith("revoke"))).toEqual([]);
    expect(outcome.next.slice(2)).toEqual([
      "# to make the old value the current one again, tell every supervisor and wait for them and revoke the new key:",
      `mcp-run rotate github --rollback ${outcome.rotation}`,
    ]);
  });

  it.each(["gone", "unknown"] as const)("is nobody who is %s", async (state) => {
    const world = new World();
    world.lagging = state;

    const outcome = await world.rotate();

    expect(outcome.is).toBe("done");
    expect(world.questions).toEqual([]);
    expect(outcome.notes).toEqual(state === "unknown" ? ["nothing is known of github on laptop"] : []);
  });

  it("may be left behind by the operator, and that is written down", async () => {
    const world = new World();
    world.lagging = "failed";
    world.answer = () => "go-on";

    const outcome = await world.rotate();

    expect(outcome).toMatchObject({
      is: "done",
      notes: ["2 of 2 supervisors do not have the new value, and it went on without them"],
    });
    expect(world.journalOf(outcome.rotation)).toContain("2 of 2 supervisors do not have the new value");
  });

  it("is waited for again if the operator wants it, or not at all on hosts that may be missing", async () => {
    const world = new World();
    world.lagging = "pending";
    world.answer = () => {
      world.lagging = undefined;
      return "again";
    };
    expect(await world.rotate()).toMatchObject({ is: "done" });
    expect(world.questions).toHaveLength(1);

    const other = new World();
    other.lagging = "pending";
    other.missingOk = ["laptop"];
    expect(await other.rotate()).toMatchObject({ is: "done" });
    expect(other.questions).toEqual([]);
  });
});

describe("an old key that its issuer can't be asked to end", () => {
  it("is said to be valid still, and retired nowhere", async () => {
    const world = new World();
    world.issuers.canRevoke = false;

    const outcome = await world.rotate();

    expect(outcome).toMatchObject({ is: "incomplete" });
    expect(outcome.reason).toContain("TOKEN may be valid still (nobody has revoked it)");
    expect(outcome.stillValid.map(({ secret }) => secret)).toEqual(["TOKEN", "DB"]);
    expect(world.issuers.calls.filter((call) => call.startsWith("verify"))).toEqual([]);
    expect((await world.state()).documents.map(({ versions }) => versions)).toEqual([
      ["v1", "v2"],
      ["v1", "v2"],
    ]);
    // The way back is open.
    world.answer = () => "go-on";
    expect(await world.rollback(outcome.rotation)).toMatchObject({ is: "rolled-back" });
  });

  it("is ended by the operator, who says so", async () => {
    const world = new World();
    world.issuers.canRevoke = false;
    world.issuers.valid.clear();
    world.answer = () => "go-on";

    const outcome = await world.rotate();

    expect(world.questions).toMatchObject([
      { type: "revoked-by-hand", secret: "TOKEN", target: GITHUB, issuer: "hook" },
      { type: "revoked-by-hand", secret: "DB", target: DATABASE, issuer: "hook" },
    ]);
    expect(outcome).toMatchObject({ is: "done", stillValid: [] });
    expect(world.journalOf(outcome.rotation)).toContain('"result":"by-hand"');
  });

  it("is asked for once only by an operator who has said so", async () => {
    const world = new World();
    world.issuers.canRevoke = false;
    world.issuers.valid.delete("canary-old-token");
    world.answer = (question) =>
      question.type === "revoked-by-hand" && question.secret === "TOKEN" ? "go-on" : "stop";
    const { rotation } = await world.rotate();
    world.questions.length = 0;

    await world.resume(rotation);

    expect(world.questions).toMatchObject([{ type: "revoked-by-hand", secret: "DB" }]);
  });

  it("may be refused a little later: it is looked at again and again", async () => {
    const world = new World();
    world.issuers.slowness = 3;

    expect(await world.rotate()).toMatchObject({ is: "done" });

    expect(world.clock.paused).toEqual([1000, 2000, 4000]);
  });

  it("is not done with if it is accepted after it was revoked", async () => {
    const world = new World();
    world.issuers.slowness = Number.POSITIVE_INFINITY;

    const outcome = await world.rotate();

    expect(outcome).toMatchObject({ is: "incomplete" });
    expect(outcome.stillValid.map(({ which, secret }) => [which, secret])).toEqual([
      ["old", "TOKEN"],
      ["old", "DB"],
    ]);
    expect((await world.state()).documents[0]?.versions).toEqual(["v1", "v2"]);
    expect(outcome.next[2]).toContain("is no way any more");
    await expect(world.rollback(outcome.rotation)).rejects.toThrow("the old key may be revoked");
  });

  it("is revoked again where it is accepted after it was revoked, and no other key is", async () => {
    const world = new World();
    world.issuers.failure = (action, secret) => {
      if (action === "verify" && secret === "TOKEN") world.issuers.valid.add("canary-old-token");
      return undefined;
    };
    const { rotation, next } = await world.rotate();
    expect(next[0]).toBe("# to revoke the old key, see that it is refused and retire it in the store:");
    world.issuers.failure = () => undefined;
    world.issuers.calls.length = 0;

    expect(await world.resume(rotation)).toMatchObject({ is: "done", stillValid: [] });

    expect(world.issuers.calls).toEqual(["revoke TOKEN", "verify TOKEN"]);
    expect(await world.state()).toEqual(DONE);
  });

  it("is asked for again where it is accepted after somebody said that it is revoked", async () => {
    const world = new World();
    world.issuers.canRevoke = false;
    world.answer = () => "go-on";
    const { rotation } = await world.rotate();
    expect(world.questions).toHaveLength(2);

    world.answer = () => "stop";
    expect(await world.resume(rotation)).toMatchObject({ is: "incomplete" });

    expect(world.questions.slice(2)).toMatchObject([{ secret: "TOKEN" }, { secret: "DB" }]);
    // Whoever said so first may have been right.
    await expect(world.rollback(rotation)).rejects.toThrow("the old key may be revoked");
    world.answer = () => "go-on";
    world.issuers.valid.delete("canary-old-token");
    world.issuers.valid.delete("canary-old-db");
    expect(await world.resume(rotation)).toMatchObject({ is: "done", stillValid: [] });
  });
});

describe("under active abuse", () => {
  it("the old key is ended before the new one is tried", async () => {
    const world = new World();

    expect(await world.rotate({ revokeFirst: true })).toMatchObject({ is: "done" });

    expect(await world.state()).toEqual(DONE);
    const steps = world.events.flatMap((event) => (event.type === "step-done" ? [event.step] : []));
    expect([...new Set(steps)]).toEqual([
      "lock",
      "mint",
      "candidate",
      "revoke",
      "verify",
      "canary",
      "promote",
      "spread",
      "retire",
    ]);
    expect(world.issuers.calls.filter((call) => call.startsWith("revoke"))).toHaveLength(2);
  });

  it("a new key that does not work is kept, since there is no other", async () => {
    const world = new World();
    world.canary = () => ({ works: false, wasProbed: true, reason: "it says 503" });

    const outcome = await world.rotate({ revokeFirst: true });

    expect(outcome).toMatchObject({ is: "incomplete", reason: expect.stringContaining("it says 503") });
    const { documents, valid } = await world.state();
    expect(documents.map(({ candidate }) => candidate)).toEqual([outcome.rotation, outcome.rotation]);
    expect(valid).toEqual(DONE.valid);
    world.canary = () => ({ works: true, wasProbed: true });
    expect(await world.resume(outcome.rotation)).toMatchObject({ is: "done" });
    expect(await world.state()).toEqual(DONE);
  });

  it.each([
    { answer: "go-on", is: "incomplete", valid: ["canary-new-TOKEN-1"] },
    { answer: "stop", is: "discarded", valid: UNTOUCHED.valid },
  ] as const)(
    "if there is no new key, the operator decides about the old one: $answer",
    async ({ answer, is, valid }) => {
      const world = new World();
      world.answer = () => answer;
      world.issuers.failure = (action, secret) =>
        action === "mint" && secret === "DB" ? failure("it says 500") : undefined;

      const outcome = await world.rotate({ revokeFirst: true });

      expect(world.questions).toEqual([{ type: "revoke-without-new", reason: "it says 500" }]);
      expect(outcome.is).toBe(is);
      expect(await world.state()).toEqual({ documents: UNTOUCHED.documents, valid });
      if (is === "discarded") return;
      world.issuers.failure = () => undefined;
      expect(await world.resume(outcome.rotation)).toMatchObject({ is: "done" });
      expect(await world.state()).toEqual(DONE);
    },
  );

  it("goes on where nobody can end the old key at once, and asks for it again in the end", async () => {
    const world = new World();
    world.issuers.canRevoke = false;

    const outcome = await world.rotate({ revokeFirst: true });

    expect(outcome).toMatchObject({ is: "incomplete" });
    expect(outcome.stillValid.map(({ secret }) => secret)).toEqual(["TOKEN", "DB"]);
    expect((await world.state()).documents.map(({ current }) => current)).toEqual([
      NEW_TOKEN,
      "canary-new-DB-1",
    ]);
    expect(world.questions).toHaveLength(4);
  });
});

describe("a document that somebody else writes to", () => {
  const writes = (world: World, token: string, user: () => string) => async () => {
    const store = await world.store();
    await store.put(
      { path: "mcp/github" },
      new Secret(`{ "token": "${token}", "user": "${user()}" }`),
      never(),
    );
  };

  it("keeps what was written: the candidate is made anew from it, and tried again", async () => {
    const world = new World();
    let times = 0;
    const write = writes(world, "canary-old-token", () => `bot-${times}`);
    world.beforePromotion = async () => {
      if (times++ < 2) await write();
    };

    expect(await world.rotate()).toMatchObject({ is: "done" });

    const { documents, valid } = await world.state();
    expect(documents[0]).toMatchObject({
      current: '{ "token": "canary-new-TOKEN-1", "user": "bot-2" }',
      // Each of those before had the old key in it.
      versions: ["v4"],
    });
    expect(valid).toEqual(DONE.valid);
    expect(world.tried).toHaveLength(3);
    expect(world.issuers.calls.filter((call) => call === "mint TOKEN")).toHaveLength(1);
  });

  it("is given up where that does not end", async () => {
    const world = new World();
    let times = 0;
    const write = writes(world, "canary-old-token", () => `bot-${times++}`);
    world.beforePromotion = write;

    const outcome = await world.rotate();

    expect(outcome).toMatchObject({
      is: "discarded",
      reason: expect.stringContaining("changed it meanwhile"),
    });
    expect(world.tried).toHaveLength(4);
    expect((await world.state()).documents[0]).toMatchObject({
      current: '{ "token": "canary-old-token", "user": "bot-3" }',
      candidate: undefined,
    });
    expect(world.issuers.valid).toEqual(new Set(UNTOUCHED.valid));
  });

  it("is given up where the very key was changed", async () => {
    const world = new World();
    world.beforePromotion = writes(world, "canary-theirs", () => "bot");

    const outcome = await world.rotate();

    expect(outcome).toMatchObject({
      is: "discarded",
      reason: `somebody has changed TOKEN in ${GITHUB} since the plan was made, and the old key may be valid still`,
    });
    expect((await world.state()).documents[0]?.current).toContain("canary-theirs");
  });

  it("is not put back over what somebody has written since the promotion", async () => {
    const world = new World();
    world.lagging = "failed";
    const { rotation } = await world.rotate();
    await writes(world, "canary-new-TOKEN-1", () => "somebody")();
    world.answer = () => "go-on";

    await expect(world.rollback(rotation)).rejects.toMatchObject({
      message: `Cannot roll back rotation ${rotation}: somebody has changed ${GITHUB} since it was promoted`,
      hint: "putting the old value back by hand first",
    });

    expect((await world.state()).documents[0]?.current).toContain("somebody");
    expect(world.journalOf(rotation)).not.toContain('"turn"');
  });
});

describe("an issuer that can't even be asked what it has made", () => {
  it("has made nothing, so that nothing is left to end", async () => {
    const world = new World();
    world.issuers.failure = () => failure("the issuer is down");

    const outcome = await world.rotate();

    expect(outcome).toMatchObject({ is: "discarded", reason: "the issuer is down", stillValid: [] });
    expect(world.issuers.calls).toEqual(["find TOKEN"]);
  });

  it("may have made something in the process before", async () => {
    const world = new World();
    // Of the plan, two locks and the first key.
    world.lines = 7;
    await expect(world.rotate()).rejects.toBeInstanceOf(Crash);
    const [rotation = ""] = await rotationsIn(world.place.folder);
    world.reborn();
    world.issuers.failure = () => failure("the issuer is down");
    world.behaviour.failure = (operation) =>
      operation === "fetchCandidate" ? new ProviderError("unavailable", "the store is down") : undefined;

    expect(await world.resume(rotation)).toMatchObject({ is: "incomplete" });
  });
});

describe("a rollback", () => {
  it("leaves neither the new value nor the old one in an earlier version", async () => {
    const world = new World();
    world.lagging = "failed";
    const { rotation } = await world.rotate();
    world.lagging = undefined;
    world.answer = () => "go-on";

    expect(await world.rollback(rotation)).toMatchObject({ is: "rolled-back", stillValid: [] });

    const { documents } = await world.state();
    expect(documents[0]?.current).toBe(OLD_TOKEN);
    expect(documents.map(({ versions }) => versions)).toEqual([["v3"], ["v3"]]);
  });

  it("keeps a new value that may be valid still, so that somebody can end it", async () => {
    const world = new World();
    world.lagging = "failed";
    const { rotation } = await world.rotate();
    world.lagging = undefined;
    world.answer = () => "go-on";
    world.issuers.failure = (action) => (action === "revoke" ? failure("the issuer is down") : undefined);

    expect(await world.rollback(rotation)).toMatchObject({ is: "incomplete" });

    const { documents } = await world.state();
    expect(documents.map(({ versions }) => versions)).toEqual([
      ["v2", "v3"],
      ["v2", "v3"],
    ]);
  });

  it("is not begun without the operator's word", async () => {
    const world = new World();
    world.lagging = "failed";
    const { rotation } = await world.rotate();
    const before = [await world.state(), world.journalOf(rotation)];

    await expect(world.rollback(rotation)).rejects.toMatchObject({
      message: expect.stringContaining("the old key was not wanted back"),
      hint: `mcp-run rotate github --resume ${rotation}`,
    });

    expect([await world.state(), world.journalOf(rotation)]).toEqual(before);
    expect(world.questions.at(-1)).toEqual({ type: "put-back", targets: [GITHUB, DATABASE] });
  });

  it("of a rotation that has ended is none", async () => {
    const world = new World();
    const { rotation } = await world.rotate();
    await expect(world.rollback(rotation)).rejects.toThrow(/has ended \(done\)/);
    await expect(world.rollback("20261121-000000-abcdef")).rejects.toThrow("there is no journal of it");
    await expect(world.rollback("../../etc/passwd")).rejects.toThrow("that is no rotation's id");
  });

  it("puts back what was promoted and takes away what was not", async () => {
    const world = new World();
    const plan = await world.plan();
    storeFails(world, "promote", "db");
    const { rotation } = await world.rotatePlanned(plan);
    world.behaviour.failure = () => undefined;
    world.answer = () => "go-on";

    expect(await world.rollback(rotation)).toMatchObject({ is: "rolled-back", stillValid: [] });

    const { documents, valid } = await world.state();
    expect(documents).toMatchObject([
      { current: OLD_TOKEN, candidate: undefined },
      { current: "canary-old-db", candidate: undefined },
    ]);
    expect(valid).toEqual(UNTOUCHED.valid);
  });
});

describe("nothing of a value", () => {
  it("is in the journal, in what is told, asked or thrown, or in what stays in memory", async () => {
    const worlds = await Promise.all(
      ["good", "canary", "revoke", "spread"].map(async (kind) => {
        const world = new World();
        const plan = await world.plan();
        if (kind === "canary")
          world.canary = () => ({ works: false, wasProbed: true, reason: "it says 401" });
        if (kind === "revoke") world.issuers.canRevoke = false;
        if (kind === "spread") world.lagging = "failed";
        const outcome = await world.rotatePlanned(plan);
        return { world, plan, outcome };
      }),
    );

    for (const { world, plan, outcome } of worlds) {
      const printed = inspect([plan, outcome, world.events, world.questions], {
        depth: 12,
        showHidden: true,
      });
      const journal = world.journalOf(outcome.rotation);
      const names = readdirSync(world.place.folder).join();
      for (const text of [printed, JSON.stringify([plan, outcome, world.events]), journal, names]) {
        expect(text).not.toMatch(/canary-(old|new)/);
      }
      expect(journal).toContain(`"rotation":"${outcome.rotation}"`);
    }
  });
});
