/** The emergency, rehearsed: a leaked key in a real backend, twenty running servers whose clients go on asking. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { describeBackend } from "../helpers/backends.ts";
import { type Drill, hash, idIn, motoStore, OLD, PATH, SIBLING, vaultStore } from "../helpers/drill.ts";

const SUPERVISORS = 20;

/** The whole of it: everybody has the new key, nobody has noticed, and it is written down without a value. */
async function rehearse(drill: Drill, what: string): Promise<{ readonly key: string; readonly id: string }> {
  await drill.serve("p", SUPERVISORS);
  for (const { key } of await drill.told()) expect(key).toBe(hash(OLD));
  const report = join(drill.home.home, "incident.md");

  const { result, traffic, shown } = await drill.underLoad(() => drill.rotate(["--report", report]));
  process.stdout.write(
    `${what}: ${SUPERVISORS} supervisors, ${(result.ms / 1000).toFixed(1)} s, ${traffic.count} requests, slowest ${traffic.slowest.toFixed(0)} ms\n`,
  );

  expect(result, result.out).toMatchObject({ status: 0 });
  expect(traffic.wrong).toEqual([]);
  expect(traffic.count).toBeGreaterThan(SUPERVISORS);
  expect(drill.sessions.flatMap((session) => session.traffic.faults())).toEqual([]);
  const [key = "", ...others] = drill.valid;
  expect(others).toEqual([]);
  expect(key).not.toBe(OLD);
  for (const told of await drill.told())
    expect(told).toMatchObject({ key: hash(key), sibling: hash(SIBLING) });
  expect(drill.asked()).toEqual(["find", "mint", "revoke", "verify"]);
  expect(result.out).toContain(`${SUPERVISORS} acknowledged`);

  expect(drill.home.run(["audit", "verify"])).toMatchObject({ status: 0 });
  const text = readFileSync(report, "utf8");
  expect(text).toContain("leaked in build log");
  expect(text.match(/has the new value/g)?.length).toBeGreaterThanOrEqual(SUPERVISORS);
  expect(result.out).not.toContain("canary-");
  expect(drill.placesWithValues()).toEqual([]);
  expect(shown).toEqual([]);
  return { key, id: idIn(result) };
}

describeBackend("a leaked key in Vault", ["vault"], () => {
  it("is replaced under twenty servers whose clients notice nothing, and is dead", async () => {
    const { vault, drill, now } = await vaultStore();

    const { key } = await rehearse(drill, "Vault");

    expect(await now()).toEqual({ key, sibling: SIBLING });
    const { json, status } = await vault.api("GET", `${PATH}?version=1`);
    expect(status).toBe(404);
    expect(json.data.metadata.destroyed).toBe(true);
    expect((await vault.api("GET", "secret/data/mcp/app-mcp-run-pending")).status).toBe(404);
  }, 120_000);
});

describeBackend("a leaked key in AWS Secrets Manager", ["moto"], () => {
  it("is replaced under twenty servers whose clients notice nothing, and bears no label", async () => {
    const { moto, drill } = await motoStore();
    const { VersionId: old } = await moto.must("GetSecretValue", { SecretId: "mcp/app" });

    const { key } = await rehearse(drill, "AWS");

    const now = await moto.must("GetSecretValue", { SecretId: "mcp/app" });
    expect(JSON.parse(now.SecretString)).toEqual({ key, sibling: SIBLING });
    const { VersionIdsToStages: stages } = await moto.must("DescribeSecret", { SecretId: "mcp/app" });
    expect(stages[now.VersionId]).toContain("AWSCURRENT");
    expect(stages[old] ?? []).toEqual([]);
    expect(Object.values(stages).flat()).not.toContain("AWSPENDING");
  }, 120_000);
});
