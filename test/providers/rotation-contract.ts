/**
 * What a store promises in which a key can be replaced in steps: see RotatableStore in src/secrets/provider.ts.
 * Two providers on one backend are the two machines that may rotate, or write, at the same time. It is long because
 * it is one interface's whole promise, line by line.
 */
import { afterEach, describe, expect, it } from "vitest";
import { ProviderError } from "../../src/errors.ts";
import { type CandidateMark, isRotatableStore, type RotatableStore } from "../../src/secrets/provider.ts";
import { Secret } from "../../src/secrets/secret.ts";
import {
  describeStoreContract,
  expectConflict,
  never,
  type OpenHarness,
  placeIn,
  printed,
  read,
  revealed,
  type StoreHarness,
  settled,
} from "./contract.ts";

export interface RotationHarness<Ref extends object> extends StoreHarness<Ref> {
  /** A second provider on the backend of `open`: somebody else who writes. The suite closes it. */
  another(open: OpenHarness<Ref>): Promise<RotatableStore<Ref>>;
  /** The ref to that version; without it, `{ ...ref, version }`. */
  versioned?(ref: Ref, version: string): Ref;
  /** A well-formed name of a version that no secret has; without it, 32 hex digits. */
  readonly unknownVersion?: string;
  /** Everything that the backend keeps, side entries and old versions too, as text; where the harness can get at it. */
  stored?(open: OpenHarness<Ref>): Promise<string>;
  /** Of a race; 20 unless a round is slow. */
  readonly rounds?: number;
  /** The backend can't compare and set in one step, so that of two racers both may have to step back. */
  readonly looksInsteadOfLocking?: true;
}

const MINE: CandidateMark = {
  rotationId: "rotation-mine",
  operator: "alice@laptop",
  createdAt: new Date("2026-03-04T05:06:07Z"),
};
const THEIRS: CandidateMark = {
  rotationId: "rotation-theirs",
  operator: "bob@desk",
  createdAt: new Date("2026-03-04T05:06:08Z"),
};

/** describeStoreContract, and what the writable side of a rotation promises besides. */
export function describeRotationContract<Ref extends object>(
  name: string,
  harness: RotationHarness<Ref>,
): void {
  describeStoreContract(name, harness);

  const rounds = harness.rounds ?? 20;
  const documentOf = (value: string) => harness.documentOf?.(value) ?? value;
  const secret = (value: string) => new Secret(documentOf(value));
  const versioned = (ref: Ref, version: string) =>
    harness.versioned?.(ref, version) ?? ({ ...ref, version } as Ref);

  let open: OpenHarness<Ref> | undefined;
  let other: RotatableStore<Ref> | undefined;

  /** A store whose secret `key` has the value canary-old, and a second writer. */
  const start = async () => {
    open = await harness.open({});
    if (!isRotatableStore(open.provider))
      throw new Error(`${name} is no store in which a key can be rotated`);
    const store = open.provider as RotatableStore<Ref>;
    other = await harness.another(open);
    const key = open.ref("key");
    const { version: old } = await store.put(key, secret("canary-old"), never());
    if (old === undefined) throw new Error("a store without versions can't be rotated");
    return { open, store, other, ref: open.ref, key, old };
  };
  const expectValue = async (store: RotatableStore<Ref>, ref: Ref, value: string) =>
    expect(revealed(await read(store, ref))).toBe(documentOf(value));
  const expectNowhere = async (opened: OpenHarness<Ref>, ...values: string[]) => {
    const everything = await harness.stored?.(opened);
    for (const value of values) expect(everything ?? "").not.toContain(value);
  };

  afterEach(async () => {
    await other?.close();
    await open?.provider.close();
    await open?.dispose();
    [open, other] = [undefined, undefined];
  });

  describe(`the contract of a candidate: ${name}`, () => {
    it("leaves the secret where it lies, for everybody and in each version", async () => {
      const { store, other, key, old } = await start();
      const place = placeIn(await read(store, key));

      await store.putCandidate(key, secret("canary-new"), MINE, never());
      await store.promote(key, MINE.rotationId, old, never());

      expect(placeIn(await read(store, key))).toBe(place);
      expect(placeIn(await read(store, versioned(key, old)))).toBe(place);
      expect(placeIn(await read(other, key))).toBe(place);
    });

    it("has none before one was put", async () => {
      const { store, ref, key } = await start();

      expect(await store.findCandidate(key, never())).toBeUndefined();
      expect(await store.findCandidate(ref("absent"), never())).toBeUndefined();
      expect(await settled(store.fetchCandidate(key, MINE.rotationId, never()))).toMatchObject({
        failure: "missing",
      });
      expect(await store.discard(key, MINE.rotationId, never())).toBe(false);
    });

    it("shows a candidate to nobody who reads or lists the secret", async () => {
      const { store, other, key, old } = await start();
      const listed = (await store.list(never())).map(({ path }) => path);

      await store.putCandidate(key, secret("canary-new"), MINE, never());

      for (const reader of [store, other]) {
        await expectValue(reader, key, "canary-old");
        expect(await reader.currentVersion(key, never())).toBe(old);
        expect((await reader.list(never())).map(({ path }) => path)).toEqual(listed);
      }
    });

    it("gives back whose it is, to everybody", async () => {
      const { store, other, key } = await start();

      expect(await store.putCandidate(key, secret("canary-new"), MINE, never())).toMatchObject(MINE);

      expect(await store.findCandidate(key, never())).toMatchObject(MINE);
      expect(await other.findCandidate(key, never())).toMatchObject(MINE);
    });

    it("gives the candidate's value to its rotation only", async () => {
      const { store, other, key } = await start();
      await store.putCandidate(key, secret("canary-new"), MINE, never());

      const { value } = await other.fetchCandidate(key, MINE.rotationId, never());

      expect(value.reveal()).toBe(documentOf("canary-new"));
      expectConflict(await settled(store.fetchCandidate(key, THEIRS.rotationId, never())));
    });

    it("refuses a second rotation, and says whose the first one is", async () => {
      const { open, store, other, key } = await start();
      await store.putCandidate(key, secret("canary-new"), MINE, never());

      const refused = await settled(other.putCandidate(key, secret("canary-theirs"), THEIRS, never()));

      expectConflict(refused);
      const { reason, hint } = refused as ProviderError;
      expect(`${reason} ${hint}`).toContain(MINE.rotationId);
      expect(`${reason} ${hint}`).toContain(MINE.operator);
      expect(await store.findCandidate(key, never())).toMatchObject(MINE);
      expect((await store.fetchCandidate(key, MINE.rotationId, never())).value.reveal()).toBe(
        documentOf("canary-new"),
      );
      await expectNowhere(open, "canary-theirs");
    });

    it("takes the same value from the same rotation again, and no other value", async () => {
      const { store, other, key } = await start();
      await store.putCandidate(key, secret("canary-new"), MINE, never());

      expect(await other.putCandidate(key, secret("canary-new"), MINE, never())).toMatchObject(MINE);
      expectConflict(await settled(other.putCandidate(key, secret("canary-changed"), MINE, never())));

      const { value } = await store.fetchCandidate(key, MINE.rotationId, never());
      expect(value.reveal()).toBe(documentOf("canary-new"));
    });

    it("keeps candidates of two secrets apart", async () => {
      const { store, other, ref, key } = await start();
      await store.put(ref("key-2"), secret("canary-old-2"), never());

      await Promise.all([
        store.putCandidate(key, secret("canary-mine"), MINE, never()),
        other.putCandidate(ref("key-2"), secret("canary-theirs"), THEIRS, never()),
      ]);

      expect(await store.findCandidate(key, never())).toMatchObject(MINE);
      expect(await store.findCandidate(ref("key-2"), never())).toMatchObject(THEIRS);
    });

    it("lets one of two rotations that begin at once win, and keeps nothing of the other", async () => {
      const { open, store, other, ref } = await start();
      for (let round = 0; round < rounds; round++) {
        const raced = ref(`raced-${round}`);
        const racers = [
          { racer: store, mark: MINE, value: "canary-mine" },
          { racer: other, mark: THEIRS, value: "canary-theirs" },
        ];
        if (round % 2) racers.reverse();

        const outcomes = await Promise.all(
          racers.map(({ racer, mark, value }) =>
            settled(racer.putCandidate(raced, secret(value), mark, never())),
          ),
        );

        const losers = outcomes.filter((outcome) => outcome instanceof Error);
        for (const loser of losers) expectConflict(loser);
        const winner = racers.find((_racer, index) => !losers.includes(outcomes[index] as Error));
        const loser = racers.find((racer) => racer !== winner);
        if (harness.looksInsteadOfLocking) expect(losers.length).toBeGreaterThanOrEqual(1);
        else expect(losers).toHaveLength(1);
        if (winner && loser) {
          expect(await store.findCandidate(raced, never())).toMatchObject(winner.mark);
          const found = await store.fetchCandidate(raced, winner.mark.rotationId, never());
          expect(found.value.reveal()).toBe(documentOf(winner.value));
          await expectNowhere(open, loser.value);
          await winner.racer.discard(raced, winner.mark.rotationId, never());
        }
        expect(await other.findCandidate(raced, never())).toBeUndefined();
      }
    });

    it("takes a candidate away with its value, once", async () => {
      const { open, store, other, key } = await start();
      await store.putCandidate(key, secret("canary-new"), MINE, never());

      expect(await other.discard(key, MINE.rotationId, never())).toBe(true);
      expect(await store.discard(key, MINE.rotationId, never())).toBe(false);

      expect(await store.findCandidate(key, never())).toBeUndefined();
      await expectValue(store, key, "canary-old");
      await expectNowhere(open, "canary-new");
      // The place is free again.
      expect(await other.putCandidate(key, secret("canary-theirs"), THEIRS, never())).toMatchObject(THEIRS);
    });

    it("lets nobody discard the candidate of another", async () => {
      const { store, other, key } = await start();
      await store.putCandidate(key, secret("canary-new"), MINE, never());

      expectConflict(await settled(other.discard(key, THEIRS.rotationId, never())));

      expect(await store.findCandidate(key, never())).toMatchObject(MINE);
    });

    it("shows a secret in nothing that is printed", async () => {
      const { store, key } = await start();
      const candidate = await store.putCandidate(key, secret("canary-new"), MINE, never());
      const fetched = await store.fetchCandidate(key, MINE.rotationId, never());

      for (const thing of [store, candidate, fetched, await store.findCandidate(key, never())]) {
        expect(printed(thing)).not.toContain("canary");
      }
    });
  });

  describe(`the contract of a promotion: ${name}`, () => {
    it("makes the candidate current, takes it away, and keeps the version before it", async () => {
      const { store, other, key, old } = await start();
      await store.putCandidate(key, secret("canary-new"), MINE, never());

      const { version } = await store.promote(key, MINE.rotationId, old, never());

      for (const reader of [store, other]) {
        await expectValue(reader, key, "canary-new");
        expect(await read(reader, key)).toMatchObject({ version });
        expect(await reader.currentVersion(key, never())).toBe(version);
        expect(await reader.findCandidate(key, never())).toBeUndefined();
        await expectValue(reader, versioned(key, old), "canary-old");
      }
      expect(version).not.toBe(old);
    });

    it("creates a secret that there was not", async () => {
      const { store, ref } = await start();
      const fresh = ref("fresh");
      await store.putCandidate(fresh, secret("canary-new"), MINE, never());
      expect(await read(store, fresh)).toMatchObject({ failure: "missing" });
      expect(await store.currentVersion(fresh, never())).toBeUndefined();

      const { version } = await store.promote(fresh, MINE.rotationId, undefined, never());

      await expectValue(store, fresh, "canary-new");
      expect(await store.currentVersion(fresh, never())).toBe(version);
    });

    it("changes nothing when somebody has written since the plan was made", async () => {
      const { store, other, key, old } = await start();
      await store.putCandidate(key, secret("canary-new"), MINE, never());
      const { version } = await other.put(key, secret("canary-meanwhile"), never());

      for (const planned of [old, undefined]) {
        expectConflict(await settled(store.promote(key, MINE.rotationId, planned, never())));
      }

      await expectValue(store, key, "canary-meanwhile");
      expect(await store.currentVersion(key, never())).toBe(version);
      expect(await store.findCandidate(key, never())).toMatchObject(MINE);
      await store.discard(key, MINE.rotationId, never());
    });

    it("promotes another candidate of the same rotation over what was written meanwhile, again and again", async () => {
      const { store, other, key } = await start();
      await store.putCandidate(key, secret("canary-new"), MINE, never());
      let planned = "";
      for (const number of [1, 2]) {
        planned = (await other.put(key, secret(`canary-meanwhile-${number}`), never())).version ?? "";
        await store.discard(key, MINE.rotationId, never());
        await store.putCandidate(key, secret(`canary-new-${number}`), MINE, never());
      }

      const { version } = await store.promote(key, MINE.rotationId, planned, never());

      expect(await other.promote(key, MINE.rotationId, planned, never())).toEqual({ version });
      await expectValue(other, key, "canary-new-2");
      expect(await store.findCandidate(key, never())).toBeUndefined();
      await store.restore(key, planned, version, never());
      await expectValue(other, key, "canary-meanwhile-2");
    });

    it("changes nothing when the secret has gone since the plan was made", async () => {
      const { store, other, ref } = await start();
      const gone = ref("gone");
      const { version } = await store.put(gone, secret("canary-old"), never());
      await other.remove(gone, never());
      await store.putCandidate(gone, secret("canary-new"), MINE, never());

      expectConflict(await settled(store.promote(gone, MINE.rotationId, version, never())));

      expect(await read(store, gone)).toMatchObject({ failure: "missing" });
    });

    it("says the same when it is done again, and no longer when another value is current", async () => {
      const { store, other, key, old } = await start();
      await store.putCandidate(key, secret("canary-new"), MINE, never());
      const first = await store.promote(key, MINE.rotationId, old, never());

      expect(await other.promote(key, MINE.rotationId, old, never())).toEqual(first);
      await expectValue(store, key, "canary-new");
      expect(await store.currentVersion(key, never())).toBe(first.version);
      expect(await store.discard(key, MINE.rotationId, never())).toBe(false);

      await other.put(key, secret("canary-later"), never());
      const late = await settled(store.promote(key, MINE.rotationId, old, never()));
      expect(late).toBeInstanceOf(ProviderError);
      await expectValue(store, key, "canary-later");
    });

    it("promotes nothing of another, and nothing where there is no candidate", async () => {
      const { store, other, key, old } = await start();
      expect(await settled(store.promote(key, MINE.rotationId, old, never()))).toMatchObject({
        failure: "missing",
      });
      await store.putCandidate(key, secret("canary-new"), MINE, never());

      expectConflict(await settled(other.promote(key, THEIRS.rotationId, old, never())));

      await expectValue(store, key, "canary-old");
      expect(await store.findCandidate(key, never())).toMatchObject(MINE);
    });

    it.skipIf(harness.looksInsteadOfLocking)(
      "lets either the promotion or an ordinary write win",
      async () => {
        const { store, other, ref } = await start();
        for (let round = 0; round < rounds; round++) {
          const raced = ref(`raced-${round}`);
          const { version } = await store.put(raced, secret("canary-old"), never());
          await store.putCandidate(raced, secret("canary-new"), MINE, never());
          const race = [
            () => store.promote(raced, MINE.rotationId, version, never()),
            () => other.put(raced, secret("canary-meanwhile"), never(), { version }),
          ];
          if (round % 2) race.reverse();

          const outcomes = await Promise.all(race.map((work) => settled(work())));

          const lost = outcomes.filter((outcome) => outcome instanceof Error);
          expect(lost).toHaveLength(1);
          expectConflict(lost[0]);
          const isPromoted = outcomes[round % 2] !== lost[0];
          await expectValue(store, raced, isPromoted ? "canary-new" : "canary-meanwhile");
        }
      },
    );
  });

  describe(`the contract of a way back: ${name}`, () => {
    /** A key that was rotated from canary-old to canary-new. */
    const rotated = async () => {
      const started = await start();
      const { store, key, old } = started;
      await store.putCandidate(key, secret("canary-new"), MINE, never());
      return { ...started, now: (await store.promote(key, MINE.rotationId, old, never())).version };
    };

    it("makes an earlier value current again", async () => {
      const { store, other, key, old, now } = await rotated();

      const { version } = await store.restore(key, old, now, never());

      await expectValue(other, key, "canary-old");
      expect(await other.currentVersion(key, never())).toBe(version);
      expect(version).not.toBe(now);
    });

    it("leaves the value of somebody who has written since", async () => {
      const { store, other, key, old, now } = await rotated();
      const { version } = await other.put(key, secret("canary-later"), never());

      expectConflict(await settled(store.restore(key, old, now, never())));

      await expectValue(store, key, "canary-later");
      expect(await store.currentVersion(key, never())).toBe(version);
    });

    it("does not know a version that never was", async () => {
      const { store, key, now } = await rotated();
      const unknown = harness.unknownVersion ?? "0123456789abcdef0123456789abcdef";

      expect(await settled(store.restore(key, unknown, now, never()))).toMatchObject({ failure: "missing" });

      await expectValue(store, key, "canary-new");
    });

    it("gives a retired version to nobody any more", async () => {
      const { open, store, other, key, old, now } = await rotated();

      expect(await store.retire(key, old, never())).toBe(true);
      expect(await other.retire(key, old, never())).toBe(false);

      for (const reader of [store, other]) {
        expect(await read(reader, versioned(key, old))).toBeInstanceOf(ProviderError);
        await expectValue(reader, key, "canary-new");
      }
      expect(await settled(store.restore(key, old, now, never()))).toBeInstanceOf(ProviderError);
      await expectValue(store, key, "canary-new");
      await expectNowhere(open, "canary-old");
    });

    it("never retires the current version", async () => {
      const { store, key, now } = await rotated();

      expect(await settled(store.retire(key, now, never()))).toMatchObject({ failure: "invalid" });

      await expectValue(store, key, "canary-new");
    });
  });

  describe(`the contract of a rotation that is broken off: ${name}`, () => {
    it("does nothing when it was aborted before", async () => {
      const { store, key, old } = await start();
      const reason = new Error("no longer wanted");
      const aborted = AbortSignal.abort(reason);
      const put = () => store.putCandidate(key, secret("canary-new"), MINE, aborted);

      await expect(put()).rejects.toBe(reason);
      expect(await store.findCandidate(key, never())).toBeUndefined();

      await store.putCandidate(key, secret("canary-new"), MINE, never());
      await expect(store.currentVersion(key, aborted)).rejects.toBe(reason);
      await expect(store.findCandidate(key, aborted)).rejects.toBe(reason);
      await expect(store.fetchCandidate(key, MINE.rotationId, aborted)).rejects.toBe(reason);
      await expect(store.promote(key, MINE.rotationId, old, aborted)).rejects.toBe(reason);
      await expect(store.discard(key, MINE.rotationId, aborted)).rejects.toBe(reason);
      await expectValue(store, key, "canary-old");

      const { version } = await store.promote(key, MINE.rotationId, old, never());
      await expect(store.restore(key, old, version, aborted)).rejects.toBe(reason);
      await expect(store.retire(key, old, aborted)).rejects.toBe(reason);
      await expectValue(store, key, "canary-new");
      await expectValue(store, versioned(key, old), "canary-old");
    });
  });
}
