import { describe, expect, it } from "vitest";
import { createMemoryKind, type MemoryBehaviour } from "../../providers/memory.ts";
import { ProviderError } from "../../src/errors.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { testContext } from "../helpers/provider-context.ts";
import { VirtualClock } from "../helpers/virtual-clock.ts";
import { describeRotationContract } from "./rotation-contract.ts";

const never = () => new AbortController().signal;
const context = testContext();

let kind = createMemoryKind();

describeRotationContract("memory", {
  emptyIs: "kept",
  async open(entries) {
    kind = createMemoryKind(entries);
    return {
      provider: await kind.open({}, context),
      ref: (path) => ({ path }),
      dispose: async () => undefined,
    };
  },
  another: () => kind.open({}, context),
  async hang() {
    const kind = createMemoryKind({}, { delayMs: 1 });
    return {
      provider: await kind.open({}, testContext({ clock: new VirtualClock() })),
      ref: (path) => ({ path }),
      dispose: async () => undefined,
    };
  },
});

describe("the memory provider", () => {
  it("keeps every version, and gives the one that is asked for", async () => {
    const store = await createMemoryKind({ key: "canary-1" }).open({}, context);
    await store.put({ path: "key" }, new Secret("canary-2"), never());
    const [first, second, third] = ["v1", "v2", "v3"].map((version) => ({ path: "key", version }));

    const answer = await store.fetch([first!, second!, third!], never());

    expect(answer.get(first!)).toMatchObject({ version: "v1" });
    expect((answer.get(second!) as { value: Secret }).value.reveal()).toBe("canary-2");
    expect(answer.get(third!)).toMatchObject({ failure: "missing", reason: "key has no version v3" });
  });

  it("shares its entries among the providers of one kind, and with no other kind", async () => {
    const kind = createMemoryKind();
    await (await kind.open({}, context)).put({ path: "key" }, new Secret("canary"), never());

    expect(await (await kind.open({}, context)).list(never())).toHaveLength(1);
    expect(await (await createMemoryKind().open({}, context)).list(never())).toHaveLength(0);
  });

  it("is as slow as it was told, by the clock it was given", async () => {
    const clock = new VirtualClock();
    const store = await createMemoryKind({ key: "canary" }, { delayMs: 300 }).open(
      {},
      testContext({ clock }),
    );
    let answered = false;
    const answer = store.fetch([{ path: "key" }], never()).then(() => {
      answered = true;
    });

    await clock.advance(299);
    expect(answered).toBe(false);
    await clock.advance(1);
    await answer;
    expect(answered).toBe(true);
  });

  it("fails as it was told, until it is told otherwise", async () => {
    const behaviour: MemoryBehaviour = {
      failure: (operation) => new ProviderError("unavailable", `no ${operation} today`),
    };
    const store = await createMemoryKind({ key: "canary" }, behaviour).open({}, context);
    const ref = { path: "key" };

    expect((await store.fetch([ref], never())).get(ref)).toMatchObject({ reason: "no fetch today" });
    await expect(store.put(ref, new Secret("canary"), never())).rejects.toThrow("no put today");
    await expect(store.remove(ref, never())).rejects.toThrow("no remove today");
    await expect(store.list(never())).rejects.toThrow("no list today");

    delete behaviour.failure;
    expect((await store.fetch([ref], never())).get(ref)).toMatchObject({ version: "v1" });
  });
});
