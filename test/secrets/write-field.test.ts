import { describe, expect, it } from "vitest";
import { createMemoryKind } from "../../providers/memory.ts";
import { ProviderError } from "../../src/errors.ts";
import type { SecretStore } from "../../src/secrets/provider.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { writeField } from "../../src/secrets/write-field.ts";
import { testContext } from "../helpers/provider-context.ts";

const signal = new AbortController().signal;
const ref = { path: "db" };
type Store = SecretStore<{ path: string; version?: string | undefined }>;

const storeWith = (entries: Record<string, string>) => createMemoryKind(entries).open({}, testContext());

async function documentIn(store: Store): Promise<string> {
  const answer = (await store.fetch([ref], signal)).get(ref);
  return answer && !(answer instanceof ProviderError) ? answer.value.reveal() : "none";
}

/** A store in which somebody else writes right before each of our writes, as often as there are documents. */
function disturbed(store: Store, documents: string[]): Store {
  return {
    ...store,
    async put(...args) {
      const document = documents.shift();
      if (document !== undefined) await store.put(ref, new Secret(document), signal);
      return store.put(...args);
    },
  };
}

describe("writeField", () => {
  it("replaces one field and keeps the others", async () => {
    const store = await storeWith({ db: '{"user":"app","password":"canary-old","n":12345678901234567890}' });

    const { version } = await writeField(store, ref, ["password"], new Secret("canary-new"), signal);

    expect(version).toBe("v2");
    expect(await documentIn(store)).toBe('{"user":"app","password":"canary-new","n":12345678901234567890}');
  });

  it("makes a document that was not there", async () => {
    const store = await storeWith({});

    await writeField(store, ref, ["password"], new Secret("canary-new"), signal);

    expect(await documentIn(store)).toBe('{"password":"canary-new"}');
  });

  it("begins once more from the document of somebody who was faster", async () => {
    const store = await storeWith({ db: '{"user":"app","password":"canary-old"}' });

    await writeField(
      disturbed(store, ['{"user":"app-2","password":"canary-old"}']),
      ref,
      ["password"],
      new Secret("canary-new"),
      signal,
    );

    expect(await documentIn(store)).toBe('{"user":"app-2","password":"canary-new"}');
  });

  it("gives up where somebody else writes all the time, and leaves what they wrote", async () => {
    const store = await storeWith({ db: '{"n":"0"}' });
    const write = writeField(
      disturbed(store, ['{"n":"1"}', '{"n":"2"}']),
      ref,
      ["password"],
      new Secret("canary-new"),
      signal,
    );

    await expect(write).rejects.toMatchObject({ failure: "conflict" });
    expect(await documentIn(store)).toBe('{"n":"2"}');
  });

  it("does not overwrite a document that somebody else has made meanwhile", async () => {
    const store = await storeWith({});

    await writeField(
      disturbed(store, ['{"user":"app"}']),
      ref,
      ["password"],
      new Secret("canary-new"),
      signal,
    );

    expect(await documentIn(store)).toBe('{"user":"app","password":"canary-new"}');
  });

  it("asks before each try, and writes nothing when it is stopped", async () => {
    const store = await storeWith({ db: '{"a":"1"}' });
    const seen: (string | undefined)[] = [];
    const stop = new Error("there is one already");

    const write = writeField(
      disturbed(store, ['{"a":"2"}']),
      ref,
      ["password"],
      new Secret("canary-new"),
      signal,
      (document) => {
        seen.push(document?.reveal());
        if (seen.length === 2) throw stop;
      },
    );

    await expect(write).rejects.toBe(stop);
    expect(seen).toEqual(['{"a":"1"}', '{"a":"2"}']);
    expect(await documentIn(store)).toBe('{"a":"2"}');
  });

  it("asks a store for its version where the value came without one", async () => {
    const inner = await storeWith({ db: '{"a":"1"}' });
    let isNamed = false;
    const store: Store = {
      ...inner,
      async fetch(refs, aborted) {
        const answers = await inner.fetch(refs, aborted);
        if (isNamed) return answers;
        return new Map(
          [...answers].map(([asked, answer]) => [
            asked,
            answer instanceof ProviderError ? answer : { value: answer.value },
          ]),
        );
      },
      async currentVersion(asked, aborted) {
        isNamed = true;
        return inner.currentVersion(asked, aborted);
      },
    };

    await writeField(store, ref, ["b"], new Secret("canary-new"), signal);

    expect(await documentIn(inner)).toBe('{"a":"1","b":"canary-new"}');
  });

  it.each([
    ["plain text", "canary-plain", "the value is not JSON, so it has no fields"],
    ["a field that is no object", '{"a":"canary"}', '"a" is not an object, so it has no field "b"'],
  ])("writes nothing into %s", async (_what, text, reason) => {
    const store = await storeWith({ db: text });

    const write = writeField(store, ref, ["a", "b"], new Secret("canary-new"), signal);

    await expect(write).rejects.toMatchObject({ reason });
    expect(await documentIn(store)).toBe(text);
  });

  it("passes on why the document can't be read", async () => {
    const kind = createMemoryKind(
      {},
      {
        failure: (operation) => (operation === "fetch" ? new ProviderError("denied", "not you") : undefined),
      },
    );
    const store = await kind.open({}, testContext());

    await expect(writeField(store, ref, ["a"], new Secret("canary"), signal)).rejects.toMatchObject({
      failure: "denied",
      reason: "not you",
    });
  });
});
