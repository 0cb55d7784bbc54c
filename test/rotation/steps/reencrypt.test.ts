/** Keys that data is encrypted with: the old one is not ended before its data is encrypted anew. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Issuer, Target } from "../../../src/rotation/contract.ts";
import { failure, World } from "../world.ts";

/** What is encrypted with which key: the first is the old one's. */
class EncryptedWorld extends World {
  readonly asked: Parameters<NonNullable<Issuer["reencrypt"]>>[1][] = [];
  data = "canary-old-db";
  outcome: () => boolean = () => true;

  /** Of the two targets DB encrypts something. */
  async encrypting(): Promise<readonly Target[]> {
    const reencrypt: NonNullable<Issuer["reencrypt"]> = async (_request, keys) => {
      this.touch("reencrypt");
      this.asked.push(keys);
      const isDone = this.outcome();
      if (isDone) this.data = keys.after.value?.reveal() ?? "";
      return isDone;
    };
    return (await this.targets()).map((target) => ({
      ...target,
      parts: target.parts.map((part) =>
        part.name === "DB" ? { ...part, issuer: { ...this.plain, reencrypt } } : part,
      ),
    }));
  }

  get plain(): Issuer {
    return this.issuers.issuer();
  }
}

function steps(world: World): readonly string[] {
  return world.events.flatMap((event) =>
    event.type === "step-done" ? [`${event.step} ${event.target ?? ""}`.trim()] : [],
  );
}

describe("a key that data is encrypted with", () => {
  it("is ended when everybody has the new one, and its data is encrypted with that", async () => {
    const world = new EncryptedWorld();

    const outcome = await world.rotate({ targets: await world.encrypting() });

    expect(outcome).toMatchObject({ is: "done", stillValid: [] });
    const order = steps(world);
    expect(order.filter((step) => step.startsWith("reencrypt"))).toEqual(["reencrypt memory:db"]);
    expect(order.indexOf("spread")).toBeLessThan(order.indexOf("reencrypt memory:db"));
    expect(order.indexOf("reencrypt memory:db")).toBeLessThan(order.indexOf("revoke memory:db"));
    const [{ before, after } = { before: {}, after: {} }] = world.asked;
    expect(before.value?.reveal()).toBe("canary-old-db");
    expect(after).toMatchObject({ keyId: expect.stringMatching(/^id-of-/) });
    expect(world.data).toBe(after.value?.reveal());
    expect(world.issuers.valid).toContain(world.data);
    expect(world.issuers.valid).not.toContain("canary-old-db");
  });

  it.each([
    [
      "fails",
      () => {
        throw failure("the hook failed");
      },
      "the hook failed",
    ],
    ["has not done all", () => false, "not everything that the old DB has encrypted is encrypted anew"],
  ])(
    "is not ended where its hook %s, and the rotation goes on when that is mended",
    async (_, outcome, reason) => {
      const world = new EncryptedWorld();
      const targets = await world.encrypting();
      world.outcome = outcome;

      const stuck = await world.rotate({ targets });

      expect(stuck).toMatchObject({ is: "incomplete" });
      expect(stuck.reason).toContain(reason);
      expect(stuck.next.join()).toContain("encrypt anew what the old key has encrypted");
      expect(stuck.next.join()).toContain("data may be encrypted with the new key already");
      expect(world.issuers.calls).not.toContain("revoke DB");
      expect(world.issuers.valid).toContain("canary-old-db");
      await expect(world.rollback(stuck.rotation, targets)).rejects.toThrow(
        "data may be encrypted with the new key",
      );
      world.outcome = () => true;
      const ended = await world.resume(stuck.rotation, targets);
      expect(ended).toMatchObject({ is: "done", stillValid: [] });
      expect(world.issuers.valid).toContain(world.data);
    },
  );

  it.each([false, true])(
    "keeps no other key from being ended (the first to be asked: %s)",
    async (isFirst) => {
      const world = new EncryptedWorld();
      world.outcome = () => false;
      const targets = await world.encrypting();

      const outcome = await world.rotate({ targets: isFirst ? [...targets].reverse() : targets });

      expect(outcome).toMatchObject({ is: "incomplete", stillValid: [{ which: "old", secret: "DB" }] });
      expect(world.issuers.valid).not.toContain("canary-old-token");
      expect(world.issuers.valid).toContain("canary-old-db");
    },
  );

  it("is not put back once a server may have the new one, which may have encrypted something", async () => {
    const world = new EncryptedWorld();
    const targets = await world.encrypting();
    world.lagging = "pending";
    const stuck = await world.rotate({ targets });

    await expect(world.rollback(stuck.rotation, targets)).rejects.toThrow(
      "data may be encrypted with the new key already",
    );

    expect(stuck.next.join()).toContain("is no way any more");
    expect(world.asked).toEqual([]);
    expect(world.issuers.calls.join()).not.toContain("revoke");
  });

  it("is gone on with by no profile that says nothing of the data", async () => {
    const world = new EncryptedWorld();
    world.outcome = () => false;
    const stuck = await world.rotate({ targets: await world.encrypting() });
    const { rotation } = stuck;

    await expect(world.resume(rotation)).rejects.toMatchObject({
      code: "profile-invalid",
      message: `Cannot go on with rotation ${rotation}: the profile no longer has DB as a key that data is encrypted with`,
      hint: "the profile as it was when the rotation began",
    });

    expect(world.issuers.valid).toContain("canary-old-db");
  });

  it("is gone on with also where the journal is older than the note of it", async () => {
    const world = new EncryptedWorld();
    const targets = await world.encrypting();
    world.outcome = () => false;
    const { rotation } = await world.rotate({ targets });
    const file = join(world.place.folder, `${rotation}.jsonl`);
    const journal = readFileSync(file, "utf8");
    expect(journal).toContain(',"reencrypts":true');
    writeFileSync(file, journal.replace(',"reencrypts":true', ""));
    world.outcome = () => true;

    expect(await world.resume(rotation, targets)).toMatchObject({ is: "done", stillValid: [] });
  });

  it("is not ended before that under active abuse either, and other keys are", async () => {
    const world = new EncryptedWorld();

    const outcome = await world.rotate({ targets: await world.encrypting(), revokeFirst: true });

    expect(outcome).toMatchObject({ is: "done", stillValid: [] });
    const order = steps(world);
    expect(order.indexOf("revoke memory:mcp/github")).toBeLessThan(order.indexOf("canary"));
    expect(order.indexOf("reencrypt memory:db")).toBeLessThan(order.indexOf("revoke memory:db"));
  });
});
