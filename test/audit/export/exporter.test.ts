/** What a receiver gets of the audit, and what happens where there is none or a bad one. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { AuditExporter, type ExporterOptions } from "../../../src/audit/export/exporter.ts";
import { ExportFailure } from "../../../src/audit/export/transport.ts";
import { type Clock, systemClock } from "../../../src/clock.ts";
import { refusingUrl } from "../../helpers/hostile-server.ts";
import { OtlpReceiver } from "../../helpers/otlp-receiver.ts";
import { privateCa } from "../../helpers/private-ca.ts";
import { until } from "../../helpers/processes.ts";
import { VirtualClock } from "../../helpers/virtual-clock.ts";
import { CALL, END, LAUNCH, NOON, RESTART, SWAP } from "../audit-room.ts";

/** The second that the end of mcp-run waits is half a minute: what a receiver gets in it does not depend on the machine. */
const patient: Clock = {
  ...systemClock,
  after: (ms, callback, options) => systemClock.after(ms * 30, callback, options),
};

let receiver: OtlpReceiver;
let troubles: ExportFailure[];

beforeEach(async () => {
  receiver = await OtlpReceiver.start();
  troubles = [];
});

afterEach(() => receiver.stop());

function exporter(changes: Partial<ExporterOptions> = {}): AuditExporter {
  return new AuditExporter({
    otlp: receiver.address,
    headers: async () => ({ Authorization: "Bearer canary-key" }),
    clock: patient,
    version: "0.1.0",
    resource: { "service.name": "mcp-run", "process.pid": 7 },
    observe: () => ({ scrubbed: 3, secrets: [{ name: "TOKEN", ageMs: 5_000, maxAgeMs: 9_000 }] }),
    onTrouble: (failure) => troubles.push(failure),
    ...changes,
  });
}

const states = () => troubles.map(({ message }) => message);

describe("a record of the audit", () => {
  it("is a log record with its event, its fields and who sent it, at the time when it happened", async () => {
    const one = exporter();
    one.record(LAUNCH, NOON);
    one.record({ event: "leak", profile: "github", secrets: [{ name: "A" }], isMasked: false }, NOON + 1);

    expect(await one.close()).toBe(0);
    expect(receiver.logs).toEqual([
      {
        eventName: "mcp_run.launch",
        severityText: "INFO",
        severityNumber: 9,
        body: "launch github",
        at: NOON,
        attributes: {
          "mcp_run.profile": "github",
          "mcp_run.mode": "run",
          "mcp_run.program": "npx",
          "mcp_run.server_pid": 4711,
          "mcp_run.generation": 1,
          "mcp_run.ms": 12,
          "mcp_run.secrets": [
            { name: "TOKEN", from: "local:github-token", version: "3", fingerprint: "ab".repeat(16) },
          ],
        },
        resource: { "service.name": "mcp-run", "process.pid": 7 },
      },
      expect.objectContaining({ eventName: "mcp_run.leak", severityText: "ERROR", at: NOON + 1 }),
    ]);
    expect(receiver.headers[0]).toMatchObject({ authorization: "Bearer canary-key" });
    expect(troubles).toEqual([]);
  });

  it("is sent while the program runs, not only at its end", async () => {
    const one = exporter();
    one.record(LAUNCH, NOON);
    await until("it has come", () => receiver.logs.length === 1);

    await one.close();
    expect(receiver.logs).toHaveLength(1);
  });

  it("is counted in figures with names that stay", async () => {
    const one = exporter();
    for (const entry of [LAUNCH, SWAP, SWAP, RESTART, CALL, END]) one.record(entry, NOON);
    one.record({ ...CALL, outcome: "error", code: -32602 } as typeof CALL, NOON);
    one.record({ event: "rotation", profile: "p", rotation: "r", step: "end", state: "done" }, NOON);
    one.record({ event: "rotation", profile: "p", rotation: "r", step: "mint", state: "done" }, NOON);
    await one.close();

    const found = receiver.points.map(({ name, value, attributes, unit }) => [name, value, attributes, unit]);
    const call = { "mcp.method.name": "tools/call", "gen_ai.operation.name": "execute_tool" };
    const secret = { "mcp_run.secret.name": "TOKEN" };
    expect(found).toEqual(
      expect.arrayContaining([
        ["mcp_run.launches", 1, { "mcp_run.mode": "run" }, "{launch}"],
        ["mcp_run.swaps", 2, {}, "{swap}"],
        ["mcp_run.restarts", 1, {}, "{restart}"],
        ["mcp_run.rotations", 1, { "mcp_run.state": "done" }, "{rotation}"],
        ["mcp_run.scrubbed", 3, {}, "{value}"],
        ["mcp_run.secret.age", 5, secret, "s"],
        ["mcp_run.secret.max_age", 9, secret, "s"],
        ["mcp.server.operation.duration", 1, { ...call, "gen_ai.tool.name": "search" }, "s"],
        [
          "mcp.server.operation.duration",
          1,
          {
            ...call,
            "gen_ai.tool.name": "search",
            "error.type": "-32602",
            "rpc.response.status_code": "-32602",
          },
          "s",
        ],
      ]),
    );
    expect(receiver.points.find(({ kind }) => kind === "histogram")?.bounds?.[0]).toBe(0.01);
  });
});

describe("a receiver that fails", () => {
  it.each([
    ["refuses the key", { status: 401, body: "canary-body" }, "HTTP 401"],
    ["is another server", { status: 404 }, "HTTP 404"],
    ["points elsewhere", { status: 302, headers: { location: "http://127.0.0.1:1/" } }, "HTTP 302"],
  ])(
    "because it %s is told once, in our words, and what it did not get is counted",
    async (_how, answer, state) => {
      receiver.answerWith(() => answer);
      const one = exporter();
      one.record(LAUNCH, NOON);
      one.record(END, NOON);

      expect(await one.close()).toBe(2);
      expect(states()).toEqual([state]);
    },
  );

  it("is tried again when it is busy, as long as it asks for", async () => {
    receiver.answerWith(() =>
      receiver.requests === 1
        ? { status: 503, headers: { "retry-after": "0" } }
        : { status: 200, body: "{}" },
    );
    const one = exporter();
    one.record(LAUNCH, NOON);
    await until("it has come", () => receiver.logs.length === 1);

    expect(await one.close()).toBe(0);
    expect(troubles).toEqual([]);
  });

  it("because nobody listens is told once", async () => {
    const clock = new VirtualClock();
    const one = exporter({ otlp: await refusingUrl("http"), clock });
    one.record(LAUNCH, NOON);
    const closed = one.close();
    let isOver = false;
    void closed.finally(() => {
      isOver = true;
    });
    // Its end waits for 900 ms; what is waited for less is another try.
    await until("it will be tried again", () => (clock.nextIn ?? 900) < 900);
    await until("its end", () => {
      void clock.advance(100);
      return isOver;
    });

    expect(await closed).toBe(1);
    expect(states()).toEqual(["ECONNREFUSED"]);
  });

  it("because it never answers holds nothing up, and is told", async () => {
    receiver.answerWith(() => "never");
    const one = exporter({ clock: systemClock });
    one.record(LAUNCH, NOON);
    const before = performance.now();

    expect(await one.close()).toBe(1);
    // A second is what is promised; the rest is this machine's, and less than one try may take.
    expect(performance.now() - before).toBeLessThan(9_500);
    expect(states()).toEqual(["it did not answer before the end of mcp-run"]);
  });

  it.each([
    ["a number", 1],
    ["a text", '"1"'],
  ])("because it takes only a part is told in our words, and the rest is counted: %s", async (_as, count) => {
    receiver.answerWith(() => ({
      status: 200,
      body: `{"partialSuccess":{"rejectedLogRecords":${count},"errorMessage":"canary-words"}}`,
    }));
    const one = exporter();
    one.record(LAUNCH, NOON);
    one.record(END, NOON);

    expect(await one.close()).toBe(1);
    expect(states()).toEqual(["it has refused a part"]);
  });

  it.each([
    ["a page", "<html>canary-page</html>"],
    ["no object", "7"],
  ])("because it is none, and answers 200 to everything, is told in our words: %s", async (_what, body) => {
    receiver.answerWith(() => ({ status: 200, body }));
    const one = exporter();
    one.record(LAUNCH, NOON);
    await one.close();

    expect(states()).toEqual(["its answer is not one of OTLP"]);
  });

  it("is not called one that fails if it says nothing, or warns of nothing that it refused", async () => {
    const bodies = ["", '{"partialSuccess":{"errorMessage":"canary-words"}}'];
    receiver.answerWith(() => ({ status: 200, body: bodies[receiver.requests % 2] ?? "" }));
    const one = exporter();
    one.record(LAUNCH, NOON);

    expect(await one.close()).toBe(0);
    expect(states()).toEqual([]);
  });

  it("gets no more than fits the queue, and the rest is counted", async () => {
    const one = exporter();
    for (let count = 0; count < 10_000; count++) one.record(RESTART, NOON);
    const lost = await one.close();

    expect(receiver.logs.length).toBeGreaterThan(0);
    // A batch that is under way, and a queue.
    expect(receiver.logs.length).toBeLessThanOrEqual(512 + 2_048);
    expect(lost).toBe(10_000 - receiver.logs.length);
  });

  it("is believed only behind a certificate that is trusted, whatever the environment of mcp-run says", async () => {
    const secure = await OtlpReceiver.start(await privateCa());
    vi.stubEnv("NODE_TLS_REJECT_UNAUTHORIZED", "0");
    try {
      const one = exporter({ otlp: secure.address });
      one.record(LAUNCH, NOON);

      expect(await one.close()).toBe(1);
      expect([states(), secure.requests]).toEqual([["SELF_SIGNED_CERT_IN_CHAIN"], 0]);
    } finally {
      vi.unstubAllEnvs();
      await secure.stop();
    }
  });

  it("is not needed for a secret that is absent: that is told", async () => {
    const one = exporter({
      headers: async () => {
        throw new ExportFailure("the secret TOKEN for its headers is absent");
      },
    });
    one.record(LAUNCH, NOON);

    expect(await one.close()).toBe(1);
    expect(states()).toEqual(["the secret TOKEN for its headers is absent"]);
    expect(receiver.requests).toBe(0);
  });
});

describe("the environment of mcp-run", () => {
  it("has no say: nothing that is meant for the server is obeyed", async () => {
    const other = await OtlpReceiver.start();
    const meant = {
      OTEL_EXPORTER_OTLP_ENDPOINT: other.address,
      OTEL_EXPORTER_OTLP_HEADERS: "x-canary=canary-env",
      OTEL_RESOURCE_ATTRIBUTES: "a=canary-env",
      OTEL_SERVICE_NAME: "canary-env",
      OTEL_SDK_DISABLED: "true",
      OTEL_LOG_LEVEL: "debug",
    };
    const before = { ...process.env };
    Object.assign(process.env, meant);
    try {
      const one = exporter();
      one.record(LAUNCH, NOON);
      await one.close();
    } finally {
      for (const name of Object.keys(meant)) delete process.env[name];
      Object.assign(process.env, before);
      await other.stop();
    }

    expect([receiver.logs.length, other.requests]).toEqual([1, 0]);
    expect(receiver.raw).not.toContain("canary-env");
  });
});
