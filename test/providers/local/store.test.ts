import { realpathSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { inspect } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  emptyDocument,
  newVersion,
  type StoreDocument,
  serializeDocument,
  withVersion,
} from "../../../providers/local/document.ts";
import { localKind } from "../../../providers/local.ts";
import { ProviderError } from "../../../src/errors.ts";
import type { FetchedSecret } from "../../../src/secrets/provider.ts";
import { Secret } from "../../../src/secrets/secret.ts";
import { VirtualClock } from "../../helpers/virtual-clock.ts";
import { get, openStore, put, read, refusalOf, signal, temporaryDirectory } from "./open-store.ts";

describe("the store", () => {
  test("gives back what was put, in one answer for many refs", async () => {
    const { store } = await openStore();
    await put(store, "github/token", "canary-a1");
    await put(store, "slack", "canary-b2");
    const refs = [{ path: "slack" }, { path: "github/token" }, { path: "slack" }];

    const answer = await store.fetch(refs, signal);

    expect([...answer.keys()]).toEqual(refs);
    expect(refs.map((ref) => (answer.get(ref) as { value: Secret }).value.reveal())).toEqual([
      "canary-b2",
      "canary-a1",
      "canary-b2",
    ]);
  });

  test.each([
    ["newlines and blanks", "canary\n\r\n\t line \u2028 end \n"],
    ["emoji and combining marks", "canary-👩‍👩‍👧‍👦-e\u0301-\u{10ffff}"],
    ["NUL and other control characters", "canary-\u0000\u0001\u007f\u0085"],
    ["JSON", '{"canary":"\\u0000","a":[1]}'],
    ["nothing", ""],
    ["64 KiB", "canary-".padEnd(65_536, "€")],
  ])("keeps %s exactly", async (_, value) => {
    const { store } = await openStore();

    await put(store, "entry", value);

    expect(await read(store, "entry")).toBe(value);
  });

  test("keeps any well-formed text exactly", async () => {
    const { store } = await openStore();
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: "binary", maxLength: 300 }), async (value) => {
        await put(store, "entry", value);
        expect(await read(store, "entry")).toBe(value);
      }),
      { numRuns: 15 },
    );
  });

  test("says of one file that it is one place, also behind a link", async () => {
    const home = join(await temporaryDirectory(), "100% #1? ü");
    const { store, places } = await openStore({ home });
    await put(store, "team/key", "canary-a");
    const link = join(home, "link with a blank.age");
    symlinkSync(places.store, link);
    const linked = await openStore({ home, settings: { file: link, recipients: places.recipientsFile } });

    const [one, other] = [await get(store, "team/key"), await get(linked.store, "team/key")];

    expect(one).toMatchObject({ place: `${pathToFileURL(realpathSync(places.store)).href}#team/key` });
    expect(other).toMatchObject({ place: (one as FetchedSecret).place });
  });

  test("says when a value was written", async () => {
    const clock = new VirtualClock(Date.parse("2026-03-04T05:06:07.890Z"));
    const { store } = await openStore({ clock });

    await put(store, "entry", "canary-1");

    expect(await get(store, "entry")).toMatchObject({ createdAt: new Date("2026-03-04T05:06:07.890Z") });
    expect(await store.list(signal)).toMatchObject([{ updatedAt: new Date("2026-03-04T05:06:07.890Z") }]);
  });

  test("lists its entries by name, without their values", async () => {
    const { store } = await openStore();
    const b = await put(store, "b/second", "canary-b");
    const a = await put(store, "a", "canary-a");

    const entries = await store.list(signal);

    expect(entries.map(({ path, version }) => [path, version])).toEqual([
      ["a", a],
      ["b/second", b],
    ]);
    expect(inspect(entries, { depth: 9 })).not.toContain("canary");
  });

  test("treats __proto__ and constructor as names like any other", async () => {
    const { store } = await openStore();

    await put(store, "__proto__", "canary-p");
    await put(store, "constructor", "canary-c");

    expect(await read(store, "__proto__")).toBe("canary-p");
    expect(await read(store, "constructor")).toBe("canary-c");
    expect((await get(store, "toString")) as ProviderError).toMatchObject({ failure: "missing" });
    expect((await store.list(signal)).map(({ path }) => path)).toEqual(["__proto__", "constructor"]);
    expect(await store.remove({ path: "__proto__" }, signal)).toBe(true);
    expect((await store.list(signal)).map(({ path }) => path)).toEqual(["constructor"]);
  });

  test("is read by another process of the same home", async () => {
    const { store, home } = await openStore();
    await put(store, "entry", "canary-1");

    const { store: other } = await openStore({ home });

    expect(await read(other, "entry")).toBe("canary-1");
  });
});

describe("versions", () => {
  test("the last five are kept, each under an id of its own", async () => {
    const { store } = await openStore();
    const versions: string[] = [];
    for (let round = 1; round <= 7; round++) versions.push(await put(store, "entry", `canary-${round}`));

    const values = await Promise.all(versions.slice(2).map((version) => read(store, "entry", version)));

    expect(new Set(versions).size).toBe(7);
    expect(values).toEqual(["canary-3", "canary-4", "canary-5", "canary-6", "canary-7"]);
    expect(await read(store, "entry")).toBe("canary-7");
    expect(await get(store, "entry")).toMatchObject({ version: versions[6] });
    expect(await get(store, "entry", versions[1])).toMatchObject({ failure: "missing" });
  });

  test("an id is not given again after the entry was removed", async () => {
    const { store } = await openStore();
    const before = await put(store, "entry", "canary-1");
    await store.remove({ path: "entry" }, signal);

    const after = await put(store, "entry", "canary-1");

    expect(after).not.toBe(before);
    expect(await get(store, "entry", before)).toMatchObject({ failure: "missing" });
  });

  test("an id never reads as a number in YAML", async () => {
    const { store } = await openStore();

    expect(await put(store, "entry", "canary-1")).toMatch(/^v[0-9a-f]{16}$/);
  });

  test("an unknown one is missing, and the kept ones are named", async () => {
    const { store } = await openStore();
    const version = await put(store, "entry", "canary-1");

    expect(await get(store, "entry", "v0")).toMatchObject({
      failure: "missing",
      hint: `one of the versions that are kept: ${version}`,
    });
  });

  test("can't be written or removed by themselves", async () => {
    const { store } = await openStore();
    const version = await put(store, "entry", "canary-1");

    const written = await refusalOf(store.put({ path: "entry", version }, new Secret("canary-2"), signal));
    const removed = await refusalOf(store.remove({ path: "entry", version }, signal));

    expect([written.failure, removed.failure]).toEqual(["invalid", "invalid"]);
    expect(await read(store, "entry")).toBe("canary-1");
  });
});

describe("what is not there", () => {
  test("a store that does not exist yet is missing every entry, and says how to begin", async () => {
    const { store, places } = await openStore();

    expect(await get(store, "github/token")).toMatchObject({
      failure: "missing",
      reason: `there is no store yet at ${places.store}`,
      hint: "mcp-run secrets set local:github/token",
    });
    expect(await store.list(signal)).toEqual([]);
    expect(await store.remove({ path: "github/token" }, signal)).toBe(false);
  });

  test("a missing entry suggests a near name", async () => {
    const { store } = await openStore();
    await put(store, "github/token", "canary-1");
    await put(store, "slack", "canary-2");

    expect(await get(store, "githb/token")).toMatchObject({
      failure: "missing",
      hint: "local:github/token, which is there, or mcp-run secrets set local:githb/token",
    });
    expect(await get(store, "postgres")).toMatchObject({ hint: "mcp-run secrets set local:postgres" });
  });

  test("one missing entry leaves the others alone", async () => {
    const { store } = await openStore();
    await put(store, "here", "canary-1");
    const [here, absent] = [{ path: "here" }, { path: "absent" }];

    const answer = await store.fetch([here, absent], signal);

    expect(answer.get(here)).toMatchObject({ value: new Secret("canary-1") });
    expect(answer.get(absent)).toBeInstanceOf(ProviderError);
  });

  test("removing tells whether there was something", async () => {
    const { store } = await openStore();
    await put(store, "entry", "canary-1");

    expect(await store.remove({ path: "other" }, signal)).toBe(false);
    expect(await store.remove({ path: "entry" }, signal)).toBe(true);
    expect(await get(store, "entry")).toMatchObject({ failure: "missing" });
  });
});

describe("bounds", () => {
  test("half a surrogate pair is refused", async () => {
    const { store } = await openStore();

    const refusal = await refusalOf(put(store, "entry", "canary-\ud800-x"));

    expect(refusal).toMatchObject({ failure: "invalid" });
    expect(refusal.message).toBe("the value holds half of a surrogate pair, which is not valid Unicode");
  });

  test("a value may have a mebibyte in UTF-8, and no byte more", async () => {
    const { store } = await openStore();
    const largest = "é".repeat(2 ** 19);

    await put(store, "entry", largest);
    const refusal = await refusalOf(put(store, "entry", `${largest}x`));

    expect(refusal.message).toBe("the value has 1048577 bytes, more than the 1048576 that an entry may have");
    expect(await read(store, "entry")).toBe(largest);
  });

  test("a document may have 16 MiB, and no byte more", () => {
    const value = "x".repeat(2 ** 20 - 200);
    let document = emptyDocument();
    for (let entry = 0; entry < 16; entry++)
      document = withVersion(document, `e${entry}`, newVersion(value, 0));
    const room = 16 * 2 ** 20 - serializeDocument(document).length;
    const filled = { ...document, filler: "y".repeat(room - '"filler":"",'.length) };

    expect(serializeDocument(filled)).toHaveLength(16 * 2 ** 20);
    expect(() => serializeDocument({ ...filled, x: 1 } as StoreDocument)).toThrow(
      "the store would have 16777222 bytes, more than the 16777216 that it may have",
    );
  });

  test.each(["a", "github/token", "a.b_c-d@e:f+g=h,i~j", "x".repeat(256)])("%s is a name", (path) => {
    expect(localKind.refSchema.safeParse({ path }).success).toBe(true);
  });

  test.each(["", "/a", "a/", "a//b", "a b", "a\n", "é", "a\u0000", "a#b", "x".repeat(257)])(
    "%j is no name",
    (path) => {
      expect(localKind.refSchema.safeParse({ path }).success).toBe(false);
    },
  );

  test("a ref has no other keys", () => {
    expect(localKind.refSchema.safeParse({ path: "a", attributes: {} }).success).toBe(false);
  });
});

describe("settings", () => {
  test.each([
    [{}],
    [{ file: "~/team/secrets.age", recipients: "/srv/team/recipients" }],
    [{ identity: "env:TEAM_AGE_KEY" }],
    [{ passphrase: "keychain:team-store" }],
  ])("%j are accepted", (settings) => {
    expect(localKind.configSchema.safeParse(settings).success).toBe(true);
  });

  test.each([
    [{ file: "secrets.age" }],
    [{ identity: "AGE-SECRET-KEY" }],
    [{ passphrase: "hunter2" }],
    [{ passphrase: "env:P", identity: "file" }],
    [{ passphrase: "env:P", recipients: "/r" }],
    [{ path: "/x" }],
  ])("%j are refused", (settings) => {
    expect(localKind.configSchema.safeParse(settings).success).toBe(false);
  });
});

test("an aborted signal ends a fetch with its reason", async () => {
  const { store } = await openStore();
  const reason = new Error("stopped");

  await expect(store.fetch([{ path: "a" }], AbortSignal.abort(reason))).rejects.toBe(reason);
  await expect(store.put({ path: "a" }, new Secret("canary"), AbortSignal.abort(reason))).rejects.toBe(
    reason,
  );
});
