import { describe, expect, it } from "vitest";
import {
  busKey,
  hostInbox,
  hostToken,
  isBusKey,
  isOfOneMachine,
  OPERATOR_INBOX,
  reportSource,
  subjects,
} from "../../../src/control/bus/names.ts";

describe("the key of a secret", () => {
  it("is the same whatever a profile calls the backend, and another for another field", () => {
    const place = "https://vault.example.com:8200/v1/mcp/github";
    const key = busKey({ from: "vault:mcp/github#token", place });

    expect(busKey({ from: "prod-vault:mcp/github#token", place })).toBe(key);
    expect(busKey({ from: "vault:mcp/github#other", place })).not.toBe(key);
    expect(busKey({ from: "vault:mcp/github", place })).not.toBe(key);
  });

  it("is made of the ref where no place is known, and tells nothing of it", () => {
    const key = busKey({ from: "vault:mcp/github#token" });

    expect(key).toBe("kF_5O6RuFVJM752Ns1LeWu4fnCv");
    expect(isBusKey(key)).toBe(true);
    expect(isBusKey("kfyUQ7lc3OMmQOd29QxlsnaMK.*")).toBe(false);
  });

  it("is not made for what no other machine has", () => {
    expect(["local", "keychain", "file", "env", "command", "memory"].every(isOfOneMachine)).toBe(true);
    expect(["vault", "aws-secrets-manager", "azure-key-vault"].some(isOfOneMachine)).toBe(false);
  });
});

describe("a host's name in a subject", () => {
  it.each([
    ["web-1_a", "web-1_a"],
    ["web.example", "web=2Eexample"],
    ["a=b", "a=3Db"],
    ["*.>", "=2A=2E=3E"],
    ["büro 🖥", "b=C3=BCro=20=F0=9F=96=A5"],
    ["", "="],
  ])("%j is the one token %s", (host, token) => {
    expect(hostToken(host)).toBe(token);
    expect(reportSource(subjects.report(host, "1-ab"))).toEqual({ host, instance: "1-ab" });
  });

  it("can't be made so that it is the operator's", () => {
    expect(["operator", "=operator", "%3Doperator"].map(hostInbox)).not.toContain(OPERATOR_INBOX);
  });

  it("is not looked for in the subject of anything else", () => {
    for (const subject of [
      "mcp-run.host.a=2D.b",
      "mcp-run.host.=FF.b",
      "mcp-run.host.a",
      "mcp-run.host.a.b.c",
      "mcp-run.call.a.b",
      "$KV.mcp-run.a.b",
      "",
    ])
      expect(reportSource(subject)).toBeUndefined();
  });
});
