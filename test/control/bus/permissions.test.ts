/** A security surface, pinned: what a host and an operator may do, and not a subject more. */
import { describe, expect, it } from "vitest";
import { busKey } from "../../../src/control/bus/names.ts";
import {
  hostPermissions,
  hostUser,
  nscArguments,
  operatorPermissions,
  permissionsBlock,
} from "../../../src/control/bus/permissions.ts";

const KEY = busKey({ from: "vault:mcp/github#token" });

describe("what a host may do", () => {
  it("is to hear of its own secrets, and to report for itself", () => {
    expect(hostPermissions("web.example", [KEY, KEY])).toEqual({
      publish: {
        allow: ["mcp-run.host.web=2Eexample.*", `$JS.API.DIRECT.GET.KV_mcp-run.$KV.mcp-run.${KEY}`],
      },
      subscribe: {
        allow: [`mcp-run.entry.${KEY}`, `mcp-run.call.${KEY}`, "mcp-run.call.all", "_INBOX.web=2Eexample.>"],
      },
    });
  });

  it("is written as lines of a nats-server's configuration", () => {
    expect(permissionsBlock(hostPermissions("web", [KEY]))).toBe(`permissions: {
  publish: {
    allow: [
      "mcp-run.host.web.*"
      "$JS.API.DIRECT.GET.KV_mcp-run.$KV.mcp-run.${KEY}"
    ]
  }
  subscribe: {
    allow: [
      "mcp-run.entry.${KEY}"
      "mcp-run.call.${KEY}"
      "mcp-run.call.all"
      "_INBOX.web.>"
    ]
  }
}`);
  });

  it("is written as arguments of nsc", () => {
    expect(nscArguments(hostUser("web.a"), hostPermissions("web.a", [KEY]))).toEqual([
      "--name",
      "mcp-run-web=2Ea",
      "--allow-pub",
      `mcp-run.host.web=2Ea.*,$JS.API.DIRECT.GET.KV_mcp-run.$KV.mcp-run.${KEY}`,
      "--allow-sub",
      `mcp-run.entry.${KEY},mcp-run.call.${KEY},mcp-run.call.all,_INBOX.web=2Ea.>`,
    ]);
  });
});

describe("what an operator may do", () => {
  it("is to put entries, to call, to read reports, and to make what they are kept in", () => {
    expect(operatorPermissions()).toEqual({
      publish: {
        allow: [
          "$KV.mcp-run.*",
          "$JS.API.DIRECT.GET.KV_mcp-run.$KV.mcp-run.*",
          "mcp-run.call.all",
          "mcp-run.call.*",
          "$JS.API.STREAM.INFO.KV_mcp-run",
          "$JS.API.STREAM.INFO.mcp-run-hosts",
          "$JS.API.STREAM.CREATE.KV_mcp-run",
          "$JS.API.STREAM.CREATE.mcp-run-hosts",
          "$JS.API.STREAM.UPDATE.KV_mcp-run",
          "$JS.API.STREAM.UPDATE.mcp-run-hosts",
          "$JS.API.CONSUMER.CREATE.mcp-run-hosts.>",
          "$JS.API.CONSUMER.INFO.mcp-run-hosts.*",
          "$JS.API.CONSUMER.DELETE.mcp-run-hosts.*",
          "$JS.API.CONSUMER.MSG.NEXT.mcp-run-hosts.*",
        ],
      },
      subscribe: { allow: ["mcp-run.host.*.*", "_INBOX.=operator.>"] },
    });
  });
});
