/** What a client was told of a server once, and what of it another server may change. */
import { afterEach, describe, expect, it } from "vitest";
import { type SwapOptions, swapSession } from "../helpers/swap-session.ts";

const LISTS_TELL = '{"tools":{"listChanged":true},"resources":{},"logging":{}}';
const TOOLS_CHANGED = "notifications/tools/list_changed";

const close: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of close.splice(0)) await end();
});

async function start(options: Pick<SwapOptions, "changes" | "env"> = {}) {
  const session = await swapSession({ era: "legacy", server: "load.mjs", ...options });
  close.push(session.close);
  return session;
}

describe("the lists of a server that takes another's place", () => {
  it("are not spoken of if they are the same", async () => {
    const { call, swapTo, traffic } = await start({ env: { CAPABILITIES: LISTS_TELL } });

    await swapTo("s2");
    await call("who");

    expect(traffic.notifications(TOOLS_CHANGED)).toEqual([]);
  });

  it("are announced once if they differ, and the client then gets the new one", async () => {
    const { client, call, swapTo, traffic } = await start({ env: { CAPABILITIES: LISTS_TELL } });

    await swapTo("s2", { MORE_TOOLS: "yes" });
    await call("who");

    expect(traffic.notifications(TOOLS_CHANGED)).toHaveLength(1);
    expect((await client.listTools()).tools.map(({ name }) => name)).toContain("more");
  });

  it("are not spoken of by a server that never promised to", async () => {
    const { call, swapTo, traffic } = await start();

    await swapTo("s2", { MORE_TOOLS: "yes" });
    await call("who");

    expect(traffic.notifications(TOOLS_CHANGED)).toEqual([]);
  });
});

describe.each(["overlap", "sequential"] as const)("a server that shows itself otherwise: %s", (mode) => {
  it.each([
    ["another protocol version", { PROTOCOL: "2025-06-18" }],
    ["a capability less", { CAPABILITIES: '{"tools":{},"logging":{}}' }],
    ["a capability more", { CAPABILITIES: `${LISTS_TELL.slice(0, -1)},"prompts":{}}` }],
  ])("%s: does not get the place, and it is said why", async (_what, env) => {
    const { call, swapTo, traffic, served } = await start({ changes: { swap: { mode, drainMs: 60_000 } } });

    await expect(swapTo("s2", env)).rejects.toThrow(
      "it has another protocol version or other capabilities than the client was told",
    );

    const { secret } = (await call("who")) as { secret: string };
    expect(secret).toBe(mode === "overlap" ? "s1" : "restarted 2");
    expect(traffic.faults()).toEqual([]);
    expect(served.err()).toBe("");
  });
});
