/** Servers that people use, each with another process behind the same session of a client. */
import { createRequire } from "node:module";
import { ListRootsRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { afterEach, describe, expect, it } from "vitest";
import { until } from "../helpers/processes.ts";
import { type Era, type Program, startProgram } from "./mcp-run-session.ts";

const ROOT = createRequire(import.meta.url);
const EVERYTHING = [ROOT.resolve("@modelcontextprotocol/server-everything/dist/index.js")];
const CONTEXT7 = [ROOT.resolve("@upstash/context7-mcp/dist/index.js")];
const GITHUB = [ROOT.resolve("@modelcontextprotocol/server-github/dist/index.js")];

const close: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of close.splice(0)) await end();
});

async function start<Given extends Era>(options: Parameters<typeof startProgram<Given>>[0]) {
  const program = await startProgram(options);
  close.push(program.close);
  return program;
}

/** The one server that lives, when the one before it has gone. */
async function serverOf({ home }: Pick<Program<unknown>, "home">): Promise<number> {
  await until("one server lives", () => home.servers().length === 1);
  return home.servers()[0] as number;
}

describe("server-everything", () => {
  it("has the new value in the same session, and its tools and what it was told are as before", async () => {
    const program = await start({ era: "legacy", args: EVERYTHING });
    const { client, call, home, traffic, swap } = program;
    const before = await client.listTools();
    const [server, value] = [await serverOf(program), home.value];
    expect(await call("get-env")).toMatchObject({ SECRET: value });

    const next = await swap();

    expect(await call("get-env")).toMatchObject({ SECRET: next });
    expect(await client.listTools()).toEqual(before);
    expect(before.tools.length).toBeGreaterThan(12);
    expect(await serverOf(program)).not.toBe(server);
    expect(traffic.sent.filter(({ method }) => method === "initialize")).toHaveLength(1);
    expect(traffic.faults()).toEqual([]);
  });

  it("asks for the client's roots again, and gets them", async () => {
    const { client, call, traffic, swap } = await start({ era: "legacy", args: EVERYTHING });
    client.setRequestHandler(ListRootsRequestSchema, async () => ({
      roots: [{ uri: "file:///home/canary" }],
    }));
    await call("get-roots-list");
    const toldOfTools = () => traffic.notifications("notifications/tools/list_changed").length;
    const [before, toldBefore] = [traffic.questions.length, toldOfTools()];

    await swap();

    expect(await call("get-roots-list")).toContain("file:///home/canary");
    expect(traffic.questions.length).toBeGreaterThan(before);
    expect(new Set(traffic.questions.map(({ id }) => id)).size).toBe(traffic.questions.length);
    expect(toldOfTools()).toBe(toldBefore);
  });

  it("goes on with updates of a resource that the client subscribed to", async () => {
    const { client, call, traffic, swap } = await start({ era: "legacy", args: EVERYTHING });
    const uri = "demo://resource/dynamic/text/1";
    await client.subscribeResource({ uri });
    await swap();

    // Tells at once, and only a server that has the subscription.
    await call("toggle-subscriber-updates");

    const updates = () => traffic.notifications("notifications/resources/updated");
    await until("it is told", () => updates().some(({ params }) => params?.uri === uri));
  });

  it("is reported by secret, method and id when it tells the client its value, before and after", async () => {
    const { call, err, home, swap, traffic } = await start({ era: "legacy", args: EVERYTHING });

    await call("get-env");
    const { id } = traffic.sent.find(({ method }) => method === "tools/call") as { id: number };
    const old = home.value;
    const next = await swap();
    await call("get-env");

    expect(err()).toMatch(
      new RegExp(`the server tells the client the value of SECRET.*tools/call.*\\b${id}\\b`),
    );
    expect(err()).not.toContain(old);
    expect(err()).not.toContain(next);
  });

  it("is masked under redact, the old value and the new, and the message stays JSON", async () => {
    const profile = { scrub: { stdout: "redact" } };
    const { call, home, swap, traffic } = await start({ era: "legacy", args: EVERYTHING, profile });
    expect(await call("get-env")).toMatchObject({ SECRET: "[mcp-run:SECRET]" });
    const old = home.value;

    const next = await swap();

    expect(await call("get-env")).toMatchObject({ SECRET: "[mcp-run:SECRET]", SOAK_MARK: home.mark });
    expect(await call("echo", { message: `${old} ${next}` })).toBe("Echo: [mcp-run:SECRET] [mcp-run:SECRET]");
    const received = JSON.stringify(traffic.received);
    expect(received).not.toContain(old);
    expect(received).not.toContain(next);
    expect(traffic.faults()).toEqual([]);
  });
});

describe("@upstash/context7-mcp", () => {
  it.each(["legacy", "modern"] as const)("gets another process behind the same session: %s", async (era) => {
    const program = await start({ era, args: CONTEXT7, variable: "CONTEXT7_API_KEY" });
    const { client, traffic, swap } = program;
    const before = await client.listTools();
    const server = await serverOf(program);

    await swap();

    const after = await client.listTools(undefined, { cacheMode: "bypass" } as object);
    expect(after.tools).toEqual(before.tools);
    expect(before.tools.length).toBeGreaterThan(0);
    expect(await serverOf(program)).not.toBe(server);
    const handshakes = traffic.sent.filter(({ method }) =>
      /^(initialize|server\/discover)$/.test(String(method)),
    );
    expect(handshakes).toHaveLength(1);
    expect(traffic.faults()).toEqual([]);
  });
});

describe("@modelcontextprotocol/server-github", () => {
  it("gets another process behind the same session, in protocol revision 2024-11-05", async () => {
    const program = await start({ era: "legacy", args: GITHUB, variable: "GITHUB_PERSONAL_ACCESS_TOKEN" });
    const { client, traffic, swap } = program;
    const before = await client.listTools();
    const server = await serverOf(program);

    await swap();

    expect(await client.listTools()).toEqual(before);
    expect(before.tools.length).toBeGreaterThan(20);
    expect(await serverOf(program)).not.toBe(server);
    const [handshake] = traffic.received.filter(({ id }) => id === 0);
    expect(handshake).toMatchObject({ result: { protocolVersion: "2024-11-05" } });
    expect(traffic.faults()).toEqual([]);
  });
});
