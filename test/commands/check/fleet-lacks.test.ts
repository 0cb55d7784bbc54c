/** What a trial of the bus has found out, in words for who has to mend it. */
import { describe, expect, it } from "vitest";
import { failuresOf } from "../../../src/commands/check/fleet.ts";
import { lacksOf } from "../../../src/commands/check/fleet-lacks.ts";
import { sharedSecrets } from "../../../src/commands/fleet/shared-secrets.ts";
import { subjects } from "../../../src/control/bus/names.ts";
import type { RefusedSubject } from "../../../src/control/bus/trial.ts";
import { Secret } from "../../../src/secrets/secret.ts";

function secret(name: string, from: string) {
  return { name, from, value: new Secret("canary-value"), deliver: "env" as const, scrub: true };
}

const shared = sharedSecrets(
  [secret("A", "vault:mcp/a#key"), secret("B", "vault:mcp/b#key"), secret("OWN", "local:own")],
  new Map(),
);
const [A = "", B = ""] = shared.keys();
const WHO = { host: "web-1", profile: "git hub", shared };
const refused = (operation: RefusedSubject["operation"], subject: string): RefusedSubject => ({
  operation,
  subject,
});
const down = { type: "unreachable", reason: "a:4222: ECONNREFUSED" } as const;
const denied = { type: "refused", reason: "b:4222 does not accept the credentials", hint: "others" } as const;

describe("what a host may not do in its fleet", () => {
  it("is said once for each secret, with all of its subjects, and of no other secret", () => {
    const trial = {
      server: "a:4222",
      failures: [],
      refused: [
        refused("subscribe", subjects.entry(A)),
        refused("publish", subjects.stored(A)),
        refused("subscribe", subjects.call(A)),
      ],
    };

    expect(shared.size).toBe(2);
    expect(lacksOf(trial, WHO)).toEqual([
      {
        severity: "error",
        code: "access-denied",
        message: `new values of vault:mcp/a#key can't be told to this host in the fleet: the server does not let web-1 subscribe to ${subjects.entry(A)}, ${subjects.call(A)} or publish to ${subjects.stored(A)}`,
        hint: expect.stringContaining("mcp-run fleet permissions 'git hub' --host web-1 "),
      },
    ]);
  });

  it("is another host's user where it may not speak for itself", () => {
    const trial = {
      server: "a:4222",
      failures: [],
      refused: [refused("publish", "mcp-run.host.web-1.1-x"), refused("subscribe", "_INBOX.web-1.check")],
    };

    const found = lacksOf(trial, WHO);

    expect(found.map(({ message }) => message.split(" in the fleet")[0])).toEqual([
      "this host can't report",
      "this host can't be answered",
    ]);
    for (const { hint } of found) expect(hint).toContain("`fleet.credentials` of the user of web-1");
  });

  it("is apart from what the server has not", () => {
    const unanswered = { reason: "the server has no bucket", hint: "mcp-run fleet setup" };
    const trial = { server: "a:4222", failures: [], refused: [refused("subscribe", subjects.call(B))] };

    const codes = lacksOf({ ...trial, unanswered }, WHO).map(({ code }) => code);

    expect(codes).toEqual(["access-denied", "backend-unavailable"]);
    expect(lacksOf({ ...trial, refused: [] }, WHO)).toEqual([]);
  });
});

describe("servers of the bus that do not let a host in", () => {
  it("are a failure of their own kind if there is no other", () => {
    expect(failuresOf({ failures: [down], refused: [] })).toMatchObject([
      {
        severity: "error",
        code: "backend-unavailable",
        message: "Cannot reach the fleet's bus: a:4222: ECONNREFUSED",
        hint: expect.stringContaining("`fleet.servers`"),
      },
    ]);
  });

  it("are a refusal as soon as one refuses, since that is to be mended", () => {
    expect(
      failuresOf({ failures: [down, denied], refused: [] }).map(({ severity, code }) => [severity, code]),
    ).toEqual([
      ["warning", undefined],
      ["error", "access-denied"],
    ]);
  });

  it("are worth a warning if another one does", () => {
    const found = failuresOf({ server: "c:4222", failures: [down, denied], refused: [] });

    expect(found.map(({ severity }) => severity)).toEqual(["warning", "warning"]);
    expect(found.map(({ code }) => code)).toEqual([undefined, undefined]);
  });
});
