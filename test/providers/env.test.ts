import { describe, expect, it } from "vitest";
import { envKind } from "../../providers/env.ts";
import { testContext } from "../helpers/provider-context.ts";
import { describeProviderContract } from "./contract.ts";

describeProviderContract("env", {
  emptyIs: "missing",
  async open(entries) {
    const env = Object.fromEntries(Object.entries(entries).map(([name, value]) => [variable(name), value]));
    return {
      provider: await envKind.open({}, testContext({ env })),
      ref: (name) => ({ path: variable(name) }),
      dispose: async () => undefined,
    };
  },
});

function variable(name: string): string {
  return name.toUpperCase().replaceAll("-", "_");
}

describe("the env provider", () => {
  it("leaves the name behind, so that the server does not inherit it, whether it was there or not", async () => {
    const context = testContext({ env: { TOKEN: "canary", OTHER: "canary" } });
    const provider = await envKind.open({}, context);

    await provider.fetch([{ path: "TOKEN" }, { path: "ABSENT" }], new AbortController().signal);

    expect([...context.env.namesRead]).toEqual(["TOKEN", "ABSENT"]);
  });

  it.each([
    ["ABSENT", "ABSENT is not set here"],
    ["EMPTY", "EMPTY is empty here"],
  ])("says whether a variable is absent or empty: %s", async (path, reason) => {
    const provider = await envKind.open({}, testContext({ env: { EMPTY: "" } }));
    const ref = { path };

    const answer = (await provider.fetch([ref], new AbortController().signal)).get(ref);

    expect(answer).toMatchObject({ failure: "missing", reason });
    expect(answer).toHaveProperty(
      "hint",
      expect.stringContaining(`setting ${path} where mcp-run is started`),
    );
  });

  it.each([[{ path: "A=B" }], [{ path: "" }], [{ path: "TOKEN", version: "2" }]])(
    "refuses a ref that no variable can answer: %j",
    (request) => {
      expect(envKind.refSchema.safeParse(request).success).toBe(false);
    },
  );
});
