/** From what is said of a program to what is written down of it. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Auditing } from "../../../src/commands/audit/auditing.ts";
import type { CommandContext } from "../../../src/commands/context.ts";
import type { SecretsInUse } from "../../../src/commands/start/secrets-in-use.ts";
import { McpRunError } from "../../../src/errors.ts";
import type { McpRunEvent } from "../../../src/events.ts";
import { mcpRunPaths } from "../../../src/paths.ts";
import type { Profile } from "../../../src/profile/profile.ts";
import type { EndedCall } from "../../../src/relay/calls.ts";
import { NeedleSet } from "../../../src/scrub/needle-set.ts";
import { Secret } from "../../../src/secrets/secret.ts";
import { createPrinter } from "../../../src/ui/printer.ts";
import { Installation } from "../../helpers/installation.ts";
import { testContext } from "../../helpers/provider-context.ts";

const VALUE = "canary-value";
const SERVER = { profile: "p", generation: 2, pid: 4711 };
const STARTED: McpRunEvent = { type: "started", ...SERVER, secrets: [{ name: "A", from: "x:a" }], ms: 1.4 };

const PROFILE = { name: "p", audit: { calls: "metadata", keptDays: 30 } } as Profile;

let home: Installation;
let context: CommandContext;

beforeEach(() => {
  home = new Installation();
  const env = { MCP_RUN_HOME: home.home };
  context = {
    ...testContext(),
    env,
    home: home.home,
    paths: mcpRunPaths(env, "linux", home.home),
    printer: createPrinter({ write: () => undefined, level: "error", format: "text" }),
  } as unknown as CommandContext;
});

afterEach(() => home.remove());

/** What is written of a program with the secret A that says all this and ends. */
async function written(...events: readonly McpRunEvent[]): Promise<readonly Record<string, unknown>[]> {
  const needles = new NeedleSet();
  needles.add("A", new Secret(VALUE));
  const auditing = new Auditing(context, "run", "typed", needles);
  const secrets = [
    { name: "A", from: "x:a", version: "7", value: new Secret(VALUE), deliver: "env", scrub: true },
  ];
  auditing.follow(PROFILE, {
    command: "/opt/servers/one",
    current: { possession: { secrets } },
  } as unknown as SecretsInUse);
  for (const event of events) context.printer.emit(event);
  auditing.ended(3);
  await auditing.close();
  return lines();
}

function lines(): readonly Record<string, unknown>[] {
  const folder = join(home.home, "state/audit");
  return readdirSync(folder)
    .sort()
    .flatMap((name) => readFileSync(join(folder, name), "utf8").trimEnd().split("\n"))
    .map((line) => JSON.parse(line))
    .filter(({ event }) => event !== "open");
}

describe("what happens to a program", () => {
  it("is written down with what is known of its secrets", async () => {
    const fingerprint = expect.stringMatching(/^[0-9a-f]{32}$/);
    const known = { name: "A", from: "x:a", version: "7", fingerprint };

    const found = await written(
      STARTED,
      { type: "not-swapped", ...SERVER, changed: [{ name: "A", from: "x:a", version: "8" }] },
      { type: "holding", ...SERVER, rotation: "r1", secrets: ["A"], longestMs: 45_000 },
      { type: "swapped", ...SERVER, changed: [{ name: "GONE" }], ms: 2 },
      { type: "let-go", ...SERVER, rotation: "r1", reason: "a server with other values serves", ms: 3.4 },
      { type: "leak", profile: "p", secrets: ["A"], method: "tools/call", id: "1", isMasked: true },
      { type: "warning", message: "only for people" },
    );

    expect(found).toMatchObject([
      {
        event: "launch",
        mode: "run",
        program: "one",
        serverPid: 4711,
        generation: 2,
        secrets: [known],
        ms: 1,
      },
      { event: "not-swapped" },
      { event: "hold", rotation: "r1", generation: 2, serverPid: 4711, secrets: [known] },
      { event: "swap", secrets: [{ name: "GONE" }] },
      { event: "let-go", rotation: "r1", reason: "a server with other values serves", ms: 3 },
      { event: "leak", secrets: [known], method: "tools/call", isMasked: true },
      { event: "end", profile: "p", exitCode: 3 },
    ]);
    expect(found[1]?.secrets).toEqual([{ name: "A", from: "x:a", version: "8" }]);
  });

  it("never holds a value, whoever says it, and only so much of what others say", async () => {
    const found = await written(
      { ...STARTED, secrets: [{ name: "A", from: "x:a" }] },
      { type: "swapped", ...SERVER, changed: [{ name: "A", from: "x:a", version: `v-${VALUE}` }], ms: 2 },
      { type: "refresh-failed", profile: "p", reason: `no ${VALUE} here`, retryMs: 1 },
      {
        type: "leak",
        profile: "p",
        secrets: ["A"],
        method: `${VALUE}/${"x".repeat(5_000)}`,
        isMasked: false,
      },
    );

    expect(found.map(({ event }) => event)).toEqual(["launch", "swap", "refresh-failed", "leak", "end"]);
    expect(found[2]?.reason).toBe("no [mcp-run:A] here");
    expect(String(found[3]?.method)).toHaveLength(1_000);
    expect(home.filesWith("canary")).toEqual([]);
  });

  it("is a denied access too, where a look was refused", async () => {
    const reason = "Cannot read secret A from x:a: permission denied (403)";
    const found = await written(STARTED, {
      type: "refresh-failed",
      profile: "p",
      code: "access-denied",
      reason,
      retryMs: 1_000,
    });

    expect(found.slice(1, 3)).toMatchObject([
      { event: "denied", during: "refresh", reason },
      { event: "refresh-failed", reason, retryMs: 1_000 },
    ]);
  });
});

describe("a start that fails", () => {
  it.each([
    ["access-denied", [{ event: "denied", profile: "typed", during: "start", reason: "Cannot; A; B" }]],
    [
      "backend-unavailable",
      [{ event: "start-failed", profile: "typed", code: "backend-unavailable", reason: "Cannot; A; B" }],
    ],
    ["profile-invalid", [{ event: "start-failed", code: "profile-invalid", reason: "Cannot" }]],
    ["profile-not-found", undefined],
    ["usage", undefined],
  ] as const)("with %s leaves %j", async (code, expected) => {
    const auditing = new Auditing(context, "exec", "typed", new NeedleSet());
    auditing.failed(new McpRunError(code, "Cannot", { details: ["A", "B"] }));
    await auditing.close();

    if (expected) expect(lines()).toMatchObject(expected);
    else expect(home.has("state/audit")).toBe(false);
  });
});

describe("a tool call", () => {
  const call: EndedCall = { tool: "search", outcome: "ok", ms: 12.34, generation: 2 };

  function auditing(profile: Profile): Auditing {
    const needles = new NeedleSet();
    needles.add("A", new Secret(VALUE));
    const one = new Auditing(context, "run", "typed", needles);
    one.follow(profile, { command: "x", current: undefined } as unknown as SecretsInUse);
    return one;
  }

  it("is looked at only where the profile asks for it", () => {
    const off = { ...PROFILE, audit: { ...PROFILE.audit, calls: "off" } } as const;

    expect(auditing(off).onCall).toBeUndefined();
    expect(auditing(PROFILE).onCall).toBeTypeOf("function");
  });

  it("is one record, with who the client says that it is, and no value", async () => {
    const one = auditing(PROFILE);
    one.serves({ client: () => ({ era: "legacy", name: { name: `desk ${VALUE}` } }) });
    one.onCall?.(call);
    one.onCall?.({ ...call, tool: `${VALUE}${"x".repeat(1_000)}`, outcome: "error", code: -32602 });
    await one.close();

    const [first, second] = lines();
    const client = "desk [mcp-run:A]";
    expect(first).toMatchObject({
      event: "call",
      profile: "p",
      tool: "search",
      outcome: "ok",
      ms: 12.3,
      client,
    });
    expect(second).toMatchObject({ outcome: "error", code: -32602, generation: 2 });
    expect(String(second?.tool)).toMatch(/^\[mcp-run:A\]x+$/);
    expect(String(second?.tool)).toHaveLength(200);
    expect(home.filesWith("canary")).toEqual([]);
  });

  it("is in a file that is kept for as long as the profile says", async () => {
    const one = auditing(PROFILE);
    one.onCall?.(call);
    await one.close();

    expect(readdirSync(join(home.home, "state/audit"))).toEqual([expect.stringMatching(/\.30d\.jsonl$/)]);
  });

  it("is cut between characters", async () => {
    const one = auditing(PROFILE);
    one.onCall?.({ ...call, tool: `${"x".repeat(199)}\u{1F600}` });
    await one.close();

    expect(lines()).toMatchObject([{ tool: "x".repeat(199) }]);
  });

  it("is in the files also where the export can't be made, which is said", async () => {
    const said: string[] = [];
    context.printer.listen((event) => {
      if (event.type === "warning") said.push(event.message);
    });
    const one = auditing({
      ...PROFILE,
      audit: { ...PROFILE.audit, export: { otlp: "canary-no-address", headers: [] } },
    });
    one.onCall?.(call);
    await one.close();

    expect(lines()).toMatchObject([{ event: "call", tool: "search" }]);
    expect(said).toEqual(["the audit is not sent: ERR_INVALID_URL"]);
  });

  it("is nowhere where there is no home, which is said to a profile that asks for it", () => {
    const said: McpRunEvent[] = [];
    context.printer.listen((event) => said.push(event));
    context = { ...context, env: {}, home: join(home.home, "none") };
    auditing({ ...PROFILE, audit: { calls: "off", keptDays: 90 } });
    auditing(PROFILE);

    expect(said).toEqual([
      {
        type: "warning",
        message: "there is no audit of this program: there is no home to write it to",
        hint: "MCP_RUN_HOME",
      },
    ]);
  });
});
