import { describe, expect, it } from "vitest";
import { isAlive, until } from "../helpers/processes.ts";
import { planFor, serving } from "../helpers/serving.ts";

const HELLO = '{"jsonrpc":"2.0","id":1,"method":"initialize"}\n';

describe("the end of a served server", () => {
  it.each([0, 1, 7, 255])("gives exit code %i", async (code) => {
    const { served } = serving(planFor([`exit:${code}`]));

    expect((await served).exitCode).toBe(code);
  });
  it.each([
    ["SIGTERM", 143],
    ["SIGKILL", 137],
    ["SIGINT", 130],
  ])("by %s gives %i", async (signal, code) => {
    const { served } = serving(planFor([`die:${signal}`, "stay:forever"]));

    expect((await served).exitCode).toBe(code);
  });
});
describe("x", () => {
  it("relays", async () => {
    const s = serving(planFor(["answer", "complain:hello canary-123456789 x\\n", "stay"], { TOK: "canary-123456789" }));
    s.stdin.write(HELLO);
    await until("answer", () => s.out().includes("result"));
    s.stdin.end();
    const served = await s.served;
    expect(served.exitCode).toBe(0);
    expect(s.err()).toBe("hello [mcp-run:TOK] x\n");
    expect(served.flushed).toBe(true);
  });
});
