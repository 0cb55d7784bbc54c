import { describe, expect, it } from "vitest";
import type { AuditPlan } from "../../src/profile/profile.ts";
import { diagnosticsOf, fileOf, loadBody, messagesOf } from "./room.ts";

const KEY = "secrets: { OTEL_KEY: { from: local:otel, deliver: none } }";
const OTLP = "https://otel.example.com:4318";

async function auditOf(lines: string): Promise<AuditPlan> {
  return (await loadBody(`command: npx\n${lines}`)).audit;
}

const exportTo = (rest: string) => `${KEY}\naudit: { export: { otlp: "${OTLP}", headers: { ${rest} } } }`;

describe("the key `audit`", () => {
  it.each<[lines: string, expected: AuditPlan]>([
    ["", { calls: "off", keptDays: 90 }],
    ["audit: {}", { calls: "off", keptDays: 90 }],
    ["environment: production", { calls: "off", keptDays: 90 }],
    ["environment: development", { calls: "off", keptDays: 30 }],
    ["environment: development\naudit: { retention: 365d }", { calls: "off", keptDays: 365 }],
    ["audit: { calls: metadata, retention: 36h }", { calls: "metadata", keptDays: 2 }],
    ["audit: { export: off }", { calls: "off", keptDays: 90 }],
    [
      `audit: { export: { otlp: "${OTLP}/base/" } }`,
      { calls: "off", keptDays: 90, export: { otlp: `${OTLP}/base`, headers: [] } },
    ],
  ])("as %j is read", async (lines, expected) => {
    expect(await auditOf(lines)).toEqual(expected);
  });

  it("takes secrets of the profile into headers, and names without them", async () => {
    const plan = await auditOf(exportTo('Authorization: "Bearer {{OTEL_KEY}}", X-Scope-OrgID: team-a'));

    expect(plan.export?.headers).toEqual([
      { name: "Authorization", template: "Bearer {{OTEL_KEY}}", needs: ["OTEL_KEY"] },
      { name: "X-Scope-OrgID", template: "team-a", needs: [] },
    ]);
  });

  it.each(["http://localhost:4318", "http://127.0.0.1:4318", "http://[::1]:4318"])(
    "takes plain http to this machine: %s",
    async (otlp) => {
      expect((await auditOf(`audit: { export: { otlp: "${otlp}" } }`)).export?.otlp).toBe(otlp);
    },
  );

  it("takes the address from a variable that it names", async () => {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a profile's own grammar
    const lines = 'audit: { export: { otlp: "${OTEL_EXPORTER_OTLP_ENDPOINT:-http://localhost:4318}" } }';

    expect((await auditOf(lines)).export?.otlp).toBe("http://localhost:4318");
  });

  it.each([" https://otel.example.com:4318/base\\n", "HTTPS://OTEL.example.com:4318\\\\base//"])(
    "takes the address as it is understood, however it is written: %j",
    async (otlp) => {
      const plan = await auditOf(`audit: { export: { otlp: "${otlp}" } }`);

      expect(plan.export?.otlp).toBe(`${OTLP}/base`);
    },
  );

  it("is merged with that of `defaults`, key by key", async () => {
    const { main, request } = (await import("./room.ts")).room();
    main(
      `version: 1\ndefaults: { audit: { calls: metadata, retention: 7d } }\nprofiles: { p: { command: npx, audit: { calls: off } } }`,
    );
    const { profile } = await (await import("../../src/profile/load.ts")).loadProfile("p", request);

    expect(profile.audit).toEqual({ calls: "off", keptDays: 7 });
  });

  it.each([
    ["audit: { calls: all }", "2:17: `calls` must be one of `off`, `metadata`"],
    ["audit: { retention: 30 }", "2:21: `retention` must be a duration with its unit"],
    ["audit: { retention: 1h }", "2:21: `retention` is out of its range"],
    ["audit: { retention: 3651d }", "2:21: `retention` is out of its range"],
    ["audit: { exports: {} }", "2:10: unknown key `exports`, did you mean `export`?"],
    ["audit: { export: {} }", "2:10: `otlp` is missing"],
    ["audit: { export: { otlp: x } }", "2:26: `otlp` is no address"],
    ["audit: { export: { otlp: 'ftp://a' } }", "2:26: `otlp` would be sent in plain text"],
    ["audit: { export: { otlp: 'http://otel.example.com' } }", "2:26: `otlp` would be sent in plain text"],
    ["audit: { export: { otlp: 'http://127.0.0.1.example.com' } }", "2:26: `otlp` would be sent in plain"],
    ["audit: { export: { otlp: 'https://a:b@example.com' } }", "2:26: `otlp` has a login in it"],
    ["audit: { export: { otlp: 'https://example.com/?key=1' } }", "2:26: `otlp` must end with its path"],
    ["audit: { export: { otlp: 'https://example.com/v1/logs' } }", "2:26: `otlp` is that of one kind"],
    [
      "environment: prod",
      "2:14: `environment` must be one of `development`, `test`, `staging`, `production`",
    ],
    ["environment: { A: b }", "2:14: `environment` must be one of"],
  ])("%j is refused where it is wrong", async (line, expected) => {
    const messages = await messagesOf(`command: npx\n${line}`);

    expect(messages).toHaveLength(1);
    expect(messages[0]).toContain(expected);
  });

  it.each([
    ['Authorization: "Bearer abc"', "`Authorization` is plain text in a header for credentials"],
    [
      'Authorization: "Basic YWxpY2U6{{OTEL_KEY}}"',
      "`Authorization` is plain text in a header for credentials",
    ],
    ["api-key: short", "`api-key` is plain text in a header for credentials"],
    ["x-honeycomb-team: abc", "`x-honeycomb-team` is plain text in a header for credentials"],
    ["X-Any: ghp_0123456789abcdefghijABCDEFGHIJ012345", "`X-Any` looks like a GitHub token"],
    ['Authorization: "local:otel"', "`Authorization` is a ref, which is not read here"],
    ['Authorization: "Bearer {{OTEL_KY}}"', "there is no secret `OTEL_KY`, did you mean `OTEL_KEY`?"],
    ['Authorization: "Bearer {{OTEL_KEY"', "`Authorization` can't be used: a {{ is not closed by }}"],
    ['"X Y": a', "`X Y` is no name of a header"],
    ["Content-Type: a", "`Content-Type` is set by mcp-run itself"],
    ['X-Any: "a\\nb"', "`X-Any` can't be used: a header is plain ASCII"],
  ])("the header %s is refused", async (header, expected) => {
    const messages = await messagesOf(`command: npx\n${exportTo(header)}`);

    expect(messages).toHaveLength(1);
    expect(messages[0]).toContain(expected);
  });

  it("hides a key that was written into a header, and says where it belongs", async () => {
    const text = await diagnosticsOf(
      fileOf(`command: npx\n${exportTo('Authorization: "Bearer canary-abc"')}`),
    );

    expect(text).not.toContain("canary");
    expect(text).toContain("deliver: none");
  });

  it("stands in a profile or in defaults, and not at the top of a file with profiles", async () => {
    const text = await diagnosticsOf("version: 1\naudit: {}\nprofiles: {p: {command: npx}}");

    expect(text).toContain("unknown key `audit`");
    expect(text).toContain("`audit` inside a profile");
  });
});
