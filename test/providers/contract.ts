/**
 * What every provider promises, whatever its backend is: see src/secrets/provider.ts. A provider's own test
 * file calls describeProviderContract with a harness; what is special about the backend is tested beside it.
 */
import { inspect } from "node:util";
import { afterEach, describe, expect, it } from "vitest";
import { ProviderError } from "../../src/errors.ts";
import {
  type FetchedSecret,
  isSecretStore,
  type Provider,
  type SecretStore,
} from "../../src/secrets/provider.ts";
import { Secret } from "../../src/secrets/secret.ts";

export interface ProviderHarness<Ref extends object> {
  /** Opens a provider that has these entries and no others. */
  open(entries: Readonly<Record<string, string>>): Promise<OpenHarness<Ref>>;
  /** What comes of an entry without a character: an empty secret, or a failure of that kind. */
  readonly emptyIs: "kept" | "missing";
  /** A provider whose answer never comes, where the backend can be made to do that. */
  hang?(): Promise<OpenHarness<Ref>>;
  /** What comes back of a plain entry, and what `put` is given for it: a KV store has `{"value":"…"}`. Default: itself. */
  documentOf?(value: string): string;
  /** Where the entry of that name lies, or a pattern of it; without it the backend does not say that. */
  placeOf?(name: string): string | RegExp;
  /** Bytes of UTF-8 of the largest value that the backend takes, where that is less than 64 KiB. */
  readonly maxValueBytes?: number;
}

export interface OpenHarness<Ref extends object> {
  readonly provider: Provider<Ref>;
  /** A new ref to the entry of that name, whether it is there or not. Names are letters, digits and dashes. */
  ref(name: string): Ref;
  /** Takes away what the harness has made. */
  dispose(): Promise<void>;
}

export const never = () => new AbortController().signal;

const VALUES: Readonly<Record<string, string>> = {
  plain: "canary-1b7e3f",
  unicode: "canary-ünï-🔑-\u4e2d\u6587",
  lines: "-----BEGIN canary-----\nMIIE\r\n\ttab and \"quotes\" 'n' \\backslashes\n-----END-----\n",
  blanks: "  canary with blanks around  ",
  large: `canary-${"0123456789abcdef".repeat(4096)}`,
};

const doesFit = (value: string, maxBytes = Number.POSITIVE_INFINITY) => Buffer.byteLength(value) <= maxBytes;

export function describeProviderContract<Ref extends object>(
  name: string,
  harness: ProviderHarness<Ref>,
): void {
  const documentOf = (value: string) => harness.documentOf?.(value) ?? value;
  const fitting = Object.fromEntries(
    Object.entries(VALUES).filter(([, value]) => doesFit(value, harness.maxValueBytes)),
  );
  let open: OpenHarness<Ref> | undefined;
  const start = async (entries: Readonly<Record<string, string>>) => {
    open = await harness.open(entries);
    return open;
  };

  afterEach(async () => {
    await open?.provider.close();
    await open?.dispose();
    open = undefined;
  });

  describe(`the contract of a provider: ${name}`, () => {
    it.each(Object.keys(fitting))("gives the value as it is: %s", async (key) => {
      const { provider, ref } = await start(fitting);
      const asked = ref(key);

      const answer = await provider.fetch([asked], never());

      expect(revealed(answer.get(asked))).toBe(documentOf(fitting[key] as string));
    });

    it("answers every ref once, by the object that was asked with", async () => {
      const { provider, ref } = await start(fitting);
      const asked = [ref("plain"), ref("unicode"), ref("absent"), ref("lines")];

      const answer = await provider.fetch(asked, never());

      expect(new Set(answer.keys())).toEqual(new Set(asked));
      expect([...answer.keys()].every((key) => asked.includes(key))).toBe(true);
    });

    it("answers two refs to one entry each", async () => {
      const { provider, ref } = await start({ twice: "canary-twice" });
      const asked = [ref("twice"), ref("twice")] as const;

      const answer = await provider.fetch(asked, never());

      expect(asked.map((one) => revealed(answer.get(one)))).toEqual([
        documentOf("canary-twice"),
        documentOf("canary-twice"),
      ]);
      expect(answer.size).toBe(2);
    });

    it("answers nothing when it is asked for nothing", async () => {
      const { provider } = await start({ plain: "canary-plain" });

      const answer = await provider.fetch([], never());

      expect(answer.size).toBe(0);
    });

    it("reports what is missing, and gives what is there", async () => {
      const { provider, ref } = await start({ there: "canary-there" });
      const [absent, there] = [ref("absent"), ref("there")];

      const answer = await provider.fetch([absent, there], never());

      expect(answer.get(absent)).toBeInstanceOf(ProviderError);
      expect(answer.get(absent)).toMatchObject({ failure: "missing" });
      expect(revealed(answer.get(there))).toBe(documentOf("canary-there"));
    });

    it("says of an empty entry what it has promised", async () => {
      const { provider, ref } = await start({ empty: "" });
      const asked = ref("empty");

      const answer = (await provider.fetch([asked], never())).get(asked);

      if (harness.emptyIs === "kept") expect(revealed(answer)).toBe(documentOf(""));
      else expect(answer).toMatchObject({ failure: harness.emptyIs });
    });

    it("names the live version in its change check as in a fetch", async ({ skip }) => {
      const { provider, ref } = await start({ there: "canary-there" });
      skip(!provider.currentVersion, "it has no change check");

      const answer = (await provider.fetch([ref("there")], never())).values().next().value;

      expect((answer as FetchedSecret).version).toEqual(expect.any(String));
      expect(await provider.currentVersion?.(ref("there"), never())).toBe((answer as FetchedSecret).version);
      expect(await provider.currentVersion?.(ref("absent"), never())).toBeUndefined();
    });

    it("names the same version where it can be had for less than the value", async ({ skip }) => {
      const { provider, ref } = await start({ there: "canary-there" });
      skip(!provider.peekVersion, "it has no cheap change check");

      const answer = (await provider.fetch([ref("there")], never())).values().next().value;

      expect(await provider.peekVersion?.(ref("there"), never())).toBe((answer as FetchedSecret).version);
      expect(await provider.peekVersion?.(ref("absent"), never())).toBeUndefined();
    });

    it("says where a secret lies, the same for every ref to it, or never", async () => {
      const { provider, ref } = await start({ one: "canary-one", two: "canary-two" });
      const asked = [ref("one"), ref("one"), ref("two")];

      const answer = await provider.fetch(asked, never());

      const [place, again, other] = asked.map((one) => placeIn(answer.get(one)));
      if (harness.placeOf) {
        expect(place).toMatch(wholly(harness.placeOf("one")));
        expect(other).toMatch(wholly(harness.placeOf("two")));
        expect(place).not.toBe(other);
      } else expect([place, other]).toEqual([undefined, undefined]);
      expect(again).toBe(place);
      expect(place ?? "").not.toMatch(/canary|\p{Cc}/u);
    });

    it("answers 200 refs at once", async () => {
      const names = Array.from({ length: 200 }, (_, index) => `entry-${index}`);
      const { provider, ref } = await start(
        Object.fromEntries(names.map((entry) => [entry, `canary-${entry}`])),
      );
      const asked = names.map((entry) => ref(entry));

      const answer = await provider.fetch(asked, never());

      expect(asked.map((one) => revealed(answer.get(one)))).toEqual(
        names.map((entry) => documentOf(`canary-${entry}`)),
      );
    });

    it("rejects with the reason when it was aborted before", async () => {
      const { provider, ref } = await start({ plain: "canary-plain" });
      const reason = new Error("no longer wanted");

      await expect(provider.fetch([ref("plain")], AbortSignal.abort(reason))).rejects.toBe(reason);
    });

    it.runIf(harness.hang)("rejects with the reason when it is aborted while it waits", async () => {
      open = await harness.hang?.();
      const { provider, ref } = open as OpenHarness<Ref>;
      const abort = new AbortController();
      const reason = new Error("no longer wanted");
      const answer = provider.fetch([ref("plain"), ref("other")], abort.signal);

      setImmediate(() => abort.abort(reason));

      await expect(answer).rejects.toBe(reason);
    });

    it("may be closed twice", async () => {
      const { provider } = await start({ plain: "canary-plain" });

      await expect(provider.close()).resolves.toBeUndefined();
      await expect(provider.close()).resolves.toBeUndefined();
    });

    it("shows a secret in nothing that is printed", async () => {
      const { provider, ref } = await start(fitting);
      const answer = await provider.fetch([...Object.keys(fitting), "absent"].map(ref), never());

      for (const thing of [provider, answer, ...answer.values()]) {
        expect(printed(thing)).not.toContain("canary");
      }
    });
  });
}

export interface StoreHarness<Ref extends object> extends ProviderHarness<Ref> {
  /** The path under which `list` shows the entry of that name; without it, the name. */
  pathOf?(name: string): string;
}

/** describeProviderContract, and what a store promises besides. */
export function describeStoreContract<Ref extends object>(name: string, harness: StoreHarness<Ref>): void {
  describeProviderContract(name, harness);

  const documentOf = (value: string) => harness.documentOf?.(value) ?? value;
  const secret = (value: string) => new Secret(documentOf(value));
  let open: OpenHarness<Ref> | undefined;
  const start = async (entries: Readonly<Record<string, string>>) => {
    open = await harness.open(entries);
    if (!isSecretStore(open.provider)) throw new Error(`${name} is no store`);
    return { store: open.provider as SecretStore<Ref>, ref: open.ref };
  };
  const pathOf = (entry: string) => harness.pathOf?.(entry) ?? entry;
  afterEach(async () => {
    await open?.provider.close();
    await open?.dispose();
    open = undefined;
  });

  describe(`the contract of a store: ${name}`, () => {
    it.each(Object.entries(VALUES))(
      "gives back what was put, or says that it is too large: %s",
      async (_name, value) => {
        const { store, ref } = await start({});

        const outcome = await settled(store.put(ref("new"), secret(value), never()));

        if (doesFit(value, harness.maxValueBytes)) {
          expect(revealed(await read(store, ref("new")))).toBe(documentOf(value));
        } else {
          expect(outcome).toMatchObject({ failure: "invalid", reason: expect.stringMatching(/\d/) });
          expect(printed(outcome)).not.toContain("canary");
          expect(await read(store, ref("new"))).toMatchObject({ failure: "missing" });
        }
      },
    );

    it("gives the new value after it was overwritten, under another version if it has versions", async () => {
      const { store, ref } = await start({});

      const first = await store.put(ref("key"), secret("canary-old"), never());
      const second = await store.put(ref("key"), secret("canary-new"), never());

      const found = await read(store, ref("key"));
      expect(revealed(found)).toBe(documentOf("canary-new"));
      if (first.version !== undefined) expect(second.version).not.toBe(first.version);
      expect((found as FetchedSecret).version).toBe(second.version);
    });

    it("removes once, and only what was asked", async () => {
      const { store, ref } = await start({});
      await store.put(ref("gone"), secret("canary-gone"), never());
      await store.put(ref("stays"), secret("canary-stays"), never());

      expect(await store.remove(ref("gone"), never())).toBe(true);
      expect(await store.remove(ref("gone"), never())).toBe(false);

      expect(await read(store, ref("gone"))).toMatchObject({ failure: "missing" });
      expect(revealed(await read(store, ref("stays")))).toBe(documentOf("canary-stays"));
    });

    it("lists what was put and not removed, by its path", async () => {
      const { store, ref } = await start({});
      for (const entry of ["b-two", "a-one", "c-three"]) {
        await store.put(ref(entry), secret(`canary-${entry}`), never());
      }
      await store.remove(ref("c-three"), never());

      const listed = await store.list(never());

      expect(listed.map(({ path }) => path).sort()).toEqual([pathOf("a-one"), pathOf("b-two")].sort());
      expect(printed(listed)).not.toContain("canary");
    });

    it("loses nothing when much is put at once", async () => {
      const { store, ref } = await start({});
      const names = Array.from({ length: 10 }, (_, index) => `entry-${index}`);

      await Promise.all(names.map((entry) => store.put(ref(entry), secret(`canary-${entry}`), never())));

      const asked = names.map((entry) => ref(entry));
      const answer = await store.fetch(asked, never());
      expect(asked.map((one) => revealed(answer.get(one)))).toEqual(
        names.map((entry) => documentOf(`canary-${entry}`)),
      );
      expect(await store.list(never())).toHaveLength(names.length);
    });

    it("ends with one of the values when one entry is put by several at once", async () => {
      const { store, ref } = await start({});
      const values = ["canary-a", "canary-b", "canary-c", "canary-d"];

      await Promise.all(values.map((value) => store.put(ref("key"), secret(value), never())));

      expect(values.map(documentOf)).toContain(revealed(await read(store, ref("key"))));
      expect(await store.list(never())).toHaveLength(1);
    });

    it("writes nothing when it was aborted before", async () => {
      const { store, ref } = await start({});
      await store.put(ref("key"), secret("canary-old"), never());
      const reason = new Error("no longer wanted");
      const aborted = AbortSignal.abort(reason);

      await expect(store.put(ref("key"), secret("canary-new"), aborted)).rejects.toBe(reason);
      await expect(store.remove(ref("key"), aborted)).rejects.toBe(reason);
      await expect(store.list(aborted)).rejects.toBe(reason);

      expect(revealed(await read(store, ref("key")))).toBe(documentOf("canary-old"));
    });

    it("names the live version in its change check before and after it was overwritten", async ({ skip }) => {
      const { store, ref } = await start({});
      skip(!store.currentVersion, "it has no change check");

      const seen: unknown[] = [await store.currentVersion?.(ref("key"), never())];
      const put: unknown[] = [undefined];
      for (const value of ["canary-old", "canary-new"]) {
        put.push((await store.put(ref("key"), secret(value), never())).version);
        seen.push(await store.currentVersion?.(ref("key"), never()));
      }

      expect(seen).toEqual(put);
    });

    it("writes over the version that was named, and over no other", async () => {
      const { store, ref } = await start({});
      const { version: first } = await store.put(ref("key"), secret("canary-1"), never());
      const second = await store.put(ref("key"), secret("canary-2"), never(), { version: first });

      const stale = await settled(store.put(ref("key"), secret("canary-3"), never(), { version: first }));

      expectConflict(stale);
      expect(await read(store, ref("key"))).toMatchObject({ version: second.version });
      expect(revealed(await read(store, ref("key")))).toBe(documentOf("canary-2"));
    });

    it("creates an entry where none was expected, and overwrites none", async () => {
      const { store, ref } = await start({});
      const onlyIfNone = { version: undefined };
      await store.put(ref("key"), secret("canary-1"), never(), onlyIfNone);

      const again = await settled(store.put(ref("key"), secret("canary-2"), never(), onlyIfNone));

      expectConflict(again);
      expect(revealed(await read(store, ref("key")))).toBe(documentOf("canary-1"));
    });

    it("creates no entry where a version was expected", async () => {
      const { store, ref } = await start({});
      const { version } = await store.put(ref("key"), secret("canary-1"), never());
      await store.remove(ref("key"), never());

      expectConflict(await settled(store.put(ref("key"), secret("canary-2"), never(), { version })));

      expect(await read(store, ref("key"))).toMatchObject({ failure: "missing" });
    });
  });
}

/** Where an answer says that it lies; throws where there is no value. */
export function placeIn(answer: FetchedSecret | ProviderError | undefined): string | undefined {
  if (!answer || answer instanceof ProviderError) throw new Error(revealed(answer));
  return answer.place;
}

function wholly(pattern: string | RegExp): RegExp {
  const source =
    typeof pattern === "string" ? pattern.replace(/[$()*+.?[\\\]^{|}]/g, "\\$&") : pattern.source;
  return new RegExp(`^(?:${source})$`);
}

/** What the store answers for one ref. */
export async function read<Ref>(store: Provider<Ref>, ref: Ref): Promise<FetchedSecret | ProviderError> {
  const answer = (await store.fetch([ref], never())).get(ref);
  if (!answer) throw new Error("the store did not answer for the ref");
  return answer;
}

/** What `work` resolves or rejects with. */
export function settled(work: Promise<unknown>): Promise<unknown> {
  return work.catch((error: unknown) => error);
}

/** A refusal for somebody else's sake, with no value in it. */
export function expectConflict(outcome: unknown): void {
  expect(outcome).toBeInstanceOf(ProviderError);
  expect(outcome).toMatchObject({ failure: "conflict" });
  expect(printed(outcome)).not.toContain("canary");
}

/** The value, or why there is none: an assertion that fails then says it. */
export function revealed(answer: FetchedSecret | ProviderError | undefined): string {
  if (answer instanceof ProviderError) return `${answer.failure}: ${answer.reason}`;
  return answer ? answer.value.reveal() : "no answer";
}

/** Everything that a careless log line could make of it. */
export function printed(thing: unknown): string {
  const json = JSON.stringify(thing instanceof Map ? [...thing] : thing);
  const stack = thing instanceof Error ? `${thing.stack} ${inspect({ ...thing })}` : "";
  return `${String(thing)} ${inspect(thing, { depth: 10, showHidden: true, getters: true })} ${json} ${stack}`;
}
