import { createHmac, randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { EntryWatch, fractionOf } from "../../../src/control/bus/entry-watch.ts";
import type { Entry } from "../../../src/control/bus/messages.ts";
import { writeOldLeases } from "../../../src/control/bus/old-leases.ts";
import { VirtualClock } from "../../helpers/virtual-clock.ts";

const KEY = randomBytes(32);

function fingerprintOf(value: string): string {
  return createHmac("sha256", KEY).update(value).digest("hex");
}

function entryFor(value: string | undefined, more: Partial<Entry> = {}): Entry {
  return {
    v: 1,
    generation: 1,
    rotation: "r1",
    at: "2027-01-03T12:00:00.000Z",
    ref: "vault:a",
    key: KEY.toString("base64url"),
    ...(value !== undefined && { fingerprint: fingerprintOf(value) }),
    upTo: 1,
    overMs: 0,
    ...more,
  };
}

/** A server with a value, a backend that may have another, and an entry-watch between. */
class Machine {
  readonly clock = new VirtualClock();
  value = "canary-old";
  backend = "canary-old";
  mode = "overlap";
  isDraining = false;
  looks = 0;
  failure: string | undefined;
  mayPass = false;
  lastFailure: { at: number; reason: string; mayPass: boolean } | undefined;
  readonly changes: boolean[] = [];
  #look: Promise<void> | undefined;
  readonly watch = new EntryWatch({
    instance: "7-ab",
    clock: this.clock,
    fingerprint: (key) => createHmac("sha256", key).update(this.value).digest("hex"),
    standing: () => ({
      generation: 1,
      era: "handshake",
      mode: this.mode,
      isLooking: false,
      isDraining: this.isDraining,
      lastFailure: this.lastFailure,
    }),
    look: async () => {
      this.looks += 1;
      await this.#look;
      if (this.failure === undefined) this.value = this.backend;
      else this.lastFailure = { at: this.clock.now(), reason: this.failure, mayPass: this.mayPass };
    },
    onChange: (isSettled) => this.changes.push(isSettled),
  });

  /** The next look takes so many ms. */
  lookFor(ms: number): void {
    this.#look = new Promise((resolve) => this.clock.after(ms, resolve));
  }

  get state(): string {
    return this.watch.said.state;
  }
}

describe("an entry", () => {
  it("is not done as long as an old server works with what was before", async () => {
    const machine = new Machine();
    machine.backend = "canary-new";
    machine.isDraining = true;

    machine.watch.hear(entryFor("canary-new"), 1);
    await machine.clock.advance(0);
    // Nor does it say what would prove that it is.
    expect(machine.watch.said).toEqual({
      rotation: "r1",
      state: "looking",
      reason: "its old server finishes its work",
    });

    machine.isDraining = false;
    machine.watch.changed();
    expect(machine.state).toBe("has");
  });

  it("makes a supervisor look that does not have what is wanted", async () => {
    const machine = new Machine();
    machine.backend = "canary-new";

    machine.watch.hear(entryFor("canary-new"), 1);
    await machine.clock.advance(0);

    expect(machine.watch.said).toEqual({
      rotation: "r1",
      fingerprint: fingerprintOf("canary-new"),
      state: "has",
    });
    expect(machine.looks).toBe(1);
    expect(machine.changes).toEqual([false, true]);
  });

  it("costs no look where the server has what is wanted", async () => {
    const machine = new Machine();

    machine.watch.hear(entryFor("canary-old"), 1);
    await machine.clock.advance(60_000);

    expect(machine.state).toBe("has");
    expect(machine.looks).toBe(0);
  });

  it("is listed, and nothing more, by one that can't change its server", async () => {
    const machine = new Machine();
    machine.mode = "never";

    machine.watch.hear(entryFor("canary-new"), 1);
    await machine.clock.advance(60_000);

    expect(machine.watch.said).toMatchObject({
      state: "cannot-swap",
      reason: "its profile has `restart: never`",
    });
    expect(machine.looks).toBe(0);
  });

  it("waits for the wave that it is for", async () => {
    const machine = new Machine();
    machine.backend = "canary-new";
    const fraction = fractionOf("r1", "7-ab");

    machine.watch.hear(entryFor("canary-new", { upTo: fraction }), 1);
    await machine.clock.advance(60_000);
    expect(machine.state).toBe("waiting");
    expect(machine.looks).toBe(0);

    machine.watch.hear(entryFor("canary-new", { upTo: fraction + 0.001, generation: 2 }), 2);
    await machine.clock.advance(0);
    expect(machine.state).toBe("has");
  });

  it("is followed at a moment of one's own within the time that is given", async () => {
    const machine = new Machine();
    machine.backend = "canary-new";

    machine.watch.hear(entryFor("canary-new", { overMs: 10_000 }), 1);
    expect(machine.state).toBe("waiting");
    expect(machine.clock.nextIn).toBeLessThanOrEqual(10_000);
    await machine.clock.advance(10_000);

    expect(machine.state).toBe("has");
  });

  it("is a failure with its reason where the look fails, and is had once a later look of one's own succeeds", async () => {
    const machine = new Machine();
    machine.failure = "permission denied (403)";

    machine.watch.hear(entryFor("canary-new"), 1);
    await machine.clock.advance(60_000);
    expect(machine.watch.said).toMatchObject({ state: "failed", reason: "permission denied (403)" });
    expect(machine.looks).toBe(1);

    machine.value = "canary-new";
    machine.watch.changed();
    expect(machine.state).toBe("has");
  });

  it("is looked for three times where the backend has another value, and then no more", async () => {
    const machine = new Machine();

    machine.watch.hear(entryFor("canary-new"), 1);
    await machine.clock.advance(600_000);

    expect(machine.watch.said).toMatchObject({
      state: "other",
      reason: "it has looked, and found another value",
    });
    expect(machine.looks).toBe(3);
  });

  it("without a wanted value is had by whoever has another than before", async () => {
    const machine = new Machine();
    machine.backend = "canary-lease";

    machine.watch.hear(entryFor(undefined), 1);
    await machine.clock.advance(0);

    expect(machine.state).toBe("has");
    expect(machine.looks).toBe(1);
  });

  it("that is older than the one that is known changes nothing", async () => {
    const machine = new Machine();
    machine.backend = "canary-new";
    machine.watch.hear(entryFor("canary-new", { rotation: "r2" }), 9);
    await machine.clock.advance(0);

    machine.watch.hear(entryFor("canary-older"), 8);
    machine.watch.hear(entryFor("canary-older"), 9);
    await machine.clock.advance(60_000);

    expect(machine.watch.said).toMatchObject({ rotation: "r2", state: "has" });
    expect(machine.looks).toBe(1);
  });

  it("counts from one again when the bucket was made anew", async () => {
    const machine = new Machine();
    machine.backend = "canary-new";
    machine.watch.hear(entryFor("canary-old"), 9);

    machine.watch.hear(entryFor("canary-new", { rotation: "r2", at: "2027-01-04T12:00:00.000Z" }), 1);
    await machine.clock.advance(0);

    expect(machine.watch.said).toMatchObject({ rotation: "r2", state: "has" });
  });

  it("counts from one again when the bucket was made anew by somebody whose clock is behind", async () => {
    const machine = new Machine();
    machine.backend = "canary-new";
    const before = { bucket: "2027-01-01T00:00:00.000000001Z", at: "2028-01-01T00:00:00.000Z" };
    const after = { bucket: "2027-01-03T00:00:00.000000001Z", at: "2027-01-03T00:00:01.000Z" };
    machine.watch.hear(entryFor("canary-old", before), 9);

    machine.watch.hear(entryFor("canary-new", { rotation: "r2", ...after }), 1);
    machine.watch.hear(entryFor("canary-old", { rotation: "r0", ...before }), 10);
    await machine.clock.advance(0);

    expect(machine.watch.said).toMatchObject({ rotation: "r2", state: "has" });
  });

  it("is looked at again where the look fails for what may pass, and is no failure until then", async () => {
    const machine = new Machine();
    machine.failure = "unavailable (503)";
    machine.mayPass = true;
    machine.backend = "canary-new";
    machine.watch.hear(entryFor("canary-new"), 1);
    await machine.clock.advance(0);
    expect(machine.watch.said).toMatchObject({
      state: "waiting",
      reason: "it could not look, and tries again: unavailable (503)",
    });
    expect(machine.changes).toEqual([false, false]);

    machine.lookFor(8_000);
    await machine.clock.advance(4_000);
    expect(machine.watch.said).toMatchObject({ state: "looking", reason: expect.stringContaining("503") });

    machine.failure = undefined;
    await machine.clock.advance(10_000);

    expect(machine.watch.said).toMatchObject({ state: "has" });
  });

  it("is looked at only some times where that fails again and again", async () => {
    const machine = new Machine();
    machine.failure = "unavailable (503)";
    machine.mayPass = true;
    machine.watch.hear(entryFor("canary-new"), 1);

    await machine.clock.advance(3_600_000);

    expect(machine.looks).toBe(6);
    expect(machine.state).toBe("waiting");
  });

  it("that is overtaken by another one while it looks leaves the word to that", async () => {
    const machine = new Machine();
    machine.backend = "canary-old";
    machine.watch.hear(entryFor("canary-first"), 1);
    machine.clock.after(0, () => {
      machine.backend = "canary-second";
      machine.watch.hear(entryFor("canary-second", { rotation: "r2" }), 2);
    });
    await machine.clock.advance(60_000);

    expect(machine.watch.said).toMatchObject({ rotation: "r2", state: "has" });
  });

  it("is forgotten when the secret is no longer used", async () => {
    const machine = new Machine();
    machine.watch.hear(entryFor("canary-new", { overMs: 1_000 }), 1);

    machine.watch.close();
    await machine.clock.advance(60_000);

    expect(machine.looks).toBe(0);
    expect(machine.clock.pending).toBe(0);
  });
});

/** A server whose secret is had by leases, and an engine that lends another to whoever gives one up. */
class Tenant {
  readonly clock = new VirtualClock();
  leases: readonly string[] | undefined = ["lease-a"];
  mode = "overlap";
  isDraining = false;
  /** Each look by what it was to give up. */
  readonly looks: (readonly string[])[] = [];
  lends = "lease-new";
  failure: string | undefined;
  lastFailure: { at: number; reason: string } | undefined;
  readonly watch = new EntryWatch({
    instance: "7-ab",
    clock: this.clock,
    fingerprint: () => undefined,
    leases: () => this.leases,
    standing: () => ({
      ...{ generation: 1, era: "handshake", isLooking: false },
      ...{ mode: this.mode, isDraining: this.isDraining, lastFailure: this.lastFailure },
    }),
    look: async (isOld) => {
      this.looks.push(this.leases?.filter((id) => isOld?.(id)) ?? []);
      if (this.failure === undefined) this.leases = this.leases?.map((id) => (isOld?.(id) ? this.lends : id));
      else this.lastFailure = { at: this.clock.now(), reason: this.failure };
    },
    onChange: () => undefined,
  });

  /** @param old ids of leases that are about to be revoked */
  async hears(old: readonly string[], more: Partial<Entry> = {}, sequence = 1): Promise<void> {
    const oldLeases = writeOldLeases(old.map(fingerprintOf));
    this.watch.hear(entryFor(undefined, { oldLeases, ...more }), sequence);
    await this.clock.advance(0);
  }
}

describe("an entry for leases", () => {
  const OLD = ["lease-a", "lease-b", "lease-leaked"];
  const SAID = { rotation: "r1", under: fingerprintOf("") };

  it("has who has an old one take another, and say which it has", async () => {
    const tenant = new Tenant();
    tenant.leases = ["lease-a", "lease-own"];

    await tenant.hears(OLD);

    expect(tenant.looks).toEqual([["lease-a"]]);
    const leases = ["lease-new", "lease-own"].map(fingerprintOf);
    expect(tenant.watch.said).toEqual({ ...SAID, leases, state: "has" });
  });

  it("costs no lease where it is heard again, and where the one that is there is none of the old", async () => {
    const tenant = new Tenant();
    await tenant.hears(OLD);
    await tenant.hears(OLD, { generation: 2 }, 2);
    const later = new Tenant();
    later.leases = ["lease-later"];
    await later.hears(OLD);
    await later.clock.advance(600_000);

    expect(tenant.looks).toHaveLength(1);
    expect(later.looks).toEqual([]);
    expect(later.watch.said).toEqual({ ...SAID, leases: [fingerprintOf("lease-later")], state: "has" });
  });

  it("costs no second lease where another secret of the document has brought one while it waited", async () => {
    const tenant = new Tenant();
    await tenant.hears(OLD, { overMs: 10_000 });
    tenant.leases = ["lease-along"];

    await tenant.clock.advance(600_000);

    expect(tenant.looks).toEqual([]);
    expect(tenant.watch.said.state).toBe("has");
  });

  it("is nothing to look for where the secret is had by no lease", async () => {
    const tenant = new Tenant();
    tenant.leases = undefined;

    await tenant.hears(OLD);
    await tenant.clock.advance(600_000);

    expect(tenant.looks).toEqual([]);
    const reason = "it has it by no lease that it knows the name of";
    expect(tenant.watch.said).toEqual({ rotation: "r1", state: "failed", reason });
  });

  it.each(["never", "exec"])("is answered with the lease that it has by one under %s", async (mode) => {
    const tenant = new Tenant();
    tenant.mode = mode;

    await tenant.hears(OLD);

    expect(tenant.looks).toEqual([]);
    expect(tenant.watch.said).toMatchObject({
      ...SAID,
      leases: [fingerprintOf("lease-a")],
      state: "cannot-swap",
    });
  });

  it("is answered without leases as long as an old server works with one", async () => {
    const tenant = new Tenant();
    tenant.isDraining = true;
    await tenant.hears(OLD);
    const reason = "its old server finishes its work";
    expect(tenant.watch.said).toEqual({ rotation: "r1", state: "looking", reason });

    tenant.isDraining = false;
    tenant.watch.changed();

    expect(tenant.watch.said).toMatchObject({ state: "has", leases: [fingerprintOf("lease-new")] });
  });

  it("is a failure with its reason where no other lease can be had, and the old one is said", async () => {
    const tenant = new Tenant();
    tenant.failure = "permission denied (403)";

    await tenant.hears(OLD);

    const leases = [fingerprintOf("lease-a")];
    expect(tenant.watch.said).toEqual({ ...SAID, leases, state: "failed", reason: tenant.failure });
  });

  it("is given up after three looks by one that gets an old one each time", async () => {
    const tenant = new Tenant();
    tenant.lends = "lease-b";

    await tenant.hears(OLD);
    await tenant.clock.advance(600_000);

    expect(tenant.looks).toHaveLength(3);
    expect(tenant.watch.said).toMatchObject({
      state: "other",
      reason: "it has looked, and has the old lease still",
    });
  });
});

describe("waves", () => {
  it("take each supervisor at the same place for one rotation, and spread them evenly", () => {
    const fractions = Array.from({ length: 1_000 }, (_, pid) => fractionOf("r1", `${pid}-ab`));

    expect(fractionOf("r1", "5-ab")).toBe(fractions[5]);
    expect(fractions.filter((fraction) => fraction < 0.1).length).toBeGreaterThan(60);
    expect(fractions.filter((fraction) => fraction < 0.1).length).toBeLessThan(140);
    expect(fractions.every((fraction) => fraction >= 0 && fraction < 1)).toBe(true);
  });
});
