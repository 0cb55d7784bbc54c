/** What the plan of a rotation asks supervisors for. */
import { expect, it } from "vitest";
import { LONGEST_LINE, readRequest } from "../../src/control/protocol.ts";
import type { SecretInUse, Target } from "../../src/rotation/contract.ts";
import { rotate } from "../../src/rotation/engine.ts";
import { questionOf } from "../../src/rotation/fleet/follower.ts";
import { targetStore } from "../../src/rotation/target.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { never, World } from "./world.ts";

const FIELDS = Array.from({ length: 100 }, (_, number) => `f${number}`);

/** A document that is replaced as a whole, with as many fields as are looked at. */
async function wholeDocument(world: World, path: string, fields = FIELDS): Promise<Target> {
  const store = await world.store();
  const document = Object.fromEntries(fields.map((field) => [field, `canary-${path}-${field}`]));
  await store.put({ path }, new Secret(JSON.stringify(document)), never());
  const from = `memory:${path}`;
  const issuer = world.issuers.issuer();
  return { ref: from, parts: [{ name: path, from, issuer }], store: targetStore(store, { path }) };
}

it("names all documents, and of their fields as many as supervisors take in one message", async () => {
  const world = new World();
  const paths = ["one", "two", "three"];
  const targets = await Promise.all(paths.map((path) => wholeDocument(world, path)));
  let named: readonly SecretInUse[] = [];
  let key = "";
  const list = async (secrets: readonly SecretInUse[], _signal: AbortSignal, under: Buffer) => {
    [named, key] = [secrets, under.toString("base64url")];
    return [];
  };

  const { record } = await world.plan({ targets }, { fleet: { ...world.fleet, list } });

  const refs = named.map(({ from }) => from);
  const question = JSON.stringify({ v: 1, type: "acknowledge", refs, key });
  expect(readRequest(question)).toMatchObject({ request: { type: "acknowledge" } });
  expect(refs.slice(0, paths.length)).toEqual(paths.map((path) => `memory:${path}`));
  expect(refs.slice(paths.length)).toEqual(
    paths.flatMap((path) => FIELDS.map((field) => `memory:${path}#${field}`)).slice(0, 250 - paths.length),
  );
  // What is not asked for is planned all the same.
  expect(record.targets.map(({ parts }) => parts[0]?.fields?.length)).toEqual([100, 100, 100]);
});

it("asks for no more than a message to a supervisor has room for, however long the names are", async () => {
  const world = new World();
  const fields = FIELDS.map((field) => `${field}-${"ä".repeat(150)}`);
  const targets = await Promise.all(
    ["one", "two", "three"].map((path) => wholeDocument(world, path, fields)),
  );
  const asked: { secrets: readonly SecretInUse[]; values: (string | undefined)[] }[] = [];
  const fleet: typeof world.fleet = {
    ...world.fleet,
    list: async (secrets) => {
      asked.push({ secrets, values: secrets.map(({ fingerprint }) => fingerprint) });
      return [];
    },
    spread: (wanted, ...more) => {
      asked.push({ secrets: wanted, values: wanted.map(({ replaces }) => replaces) });
      return world.fleet.spread(wanted, ...more);
    },
  };

  await rotate(await world.plan({ targets }, { fleet }), world.place, { ...world.deps, fleet }, never());

  const rotation = "x".repeat(64);
  const lengths = asked.map(({ secrets, values }) => {
    const question = { v: 1, type: "refresh", rotation, ...questionOf(secrets), values, key: "k".repeat(43) };
    return Buffer.byteLength(`${JSON.stringify(question)}\n`);
  });
  expect(asked.length).toBeGreaterThan(1);
  expect(Math.max(...lengths)).toBeLessThanOrEqual(LONGEST_LINE);
  expect(Math.min(...lengths)).toBeGreaterThan(LONGEST_LINE / 2);
});

it("refuses secrets whose names are too long for one message together", async () => {
  const world = new World();
  const paths = Array.from({ length: 90 }, (_, number) => `${"p".repeat(800)}${number}`);
  const targets = await Promise.all(paths.map((path) => wholeDocument(world, path, ["token"])));

  await expect(world.plan({ targets })).rejects.toMatchObject({
    code: "usage",
    message: expect.stringContaining("their names are too long for it"),
    hint: expect.stringContaining("--secret"),
  });
});
