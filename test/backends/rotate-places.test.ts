/** Who is told of a new key: everybody who has the secret, whatever his profile calls the backend, and nobody else. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { describeBackend } from "../helpers/backends.ts";
import {
  closings,
  DOCUMENT,
  type Drill,
  hash,
  motoStore,
  OLD,
  PATH,
  type Store,
  vaultStore,
} from "../helpers/drill.ts";
import { MOTO_REGION, MotoServer } from "../helpers/moto-server.ts";
import { until } from "../helpers/processes.ts";
import { ROOT_TOKEN, VaultServer } from "../helpers/vault-server.ts";

/** What lies by the same words somewhere else: who had the leaked key there would be told. */
const OTHER = "canary-key-of-somebody-else";
const OTHER_DOCUMENT = { ...DOCUMENT, key: OTHER };

type Names = Pick<Store, "providers" | "ref">;

/**
 * Rotates the key of `p`, beside a server that calls the backend by another name, and one that has the same words for
 * a secret somewhere else. Gives back where `p` and the third one say that their keys lie.
 */
async function rehearse(drill: Drill, byAnotherName: Names, elsewhere: Names) {
  const otherIssuer = mkdtempSync(join(tmpdir(), "mcp-run-issuer-"));
  closings.push(() => rmSync(otherIssuer, { recursive: true, force: true }));
  writeFileSync(join(otherIssuer, "valid"), `${OTHER}\n`);
  drill.profile("q", drill.issuer, "", byAnotherName);
  drill.profile("r", otherIssuer, "", elsewhere);
  for (const profile of ["p", "q", "r"]) await drill.serve(profile, 1);
  expect((await drill.told()).map(({ key }) => key)).toEqual([OLD, OLD, OTHER].map(hash));
  const report = join(drill.home.home, "incident.md");

  const ended = await drill.rotate(["--report", report]);

  expect(ended, ended.out).toMatchObject({ status: 0 });
  const [key = ""] = drill.valid;
  expect(key).not.toBe(OLD);
  expect((await drill.told()).map((told) => told.key)).toEqual([key, key, OTHER].map(hash));
  const supervisors = readFileSync(report, "utf8")
    .split(/^## /m)
    .find((part) => part.startsWith("Supervisors"));
  const told = supervisors?.match(/^\|.*has the new value.*$/gm) ?? [];
  expect(told.map((row) => row.split("|")[3]?.trim()).sort()).toEqual(["p", "q"]);
  expect(supervisors).toContain("2 in all: 2 acknowledged");

  const [p, q, r] = await placesOf(drill);
  expect(q).toBe(p);
  expect(ended.out).toContain(` at ${p}, version `);
  return { there: p, elsewhere: r };
}

/** Of the keys of `p`, `q` and `r`, as their supervisors say. */
async function placesOf(drill: Drill): Promise<readonly (string | undefined)[]> {
  const places = new Map<string, string | undefined>();
  // On a machine with much to do, one may not answer in time.
  for (const profile of ["p", "q", "r"])
    await until(`${profile} says its place`, () => {
      const { supervisors } = JSON.parse(drill.home.run(["status", profile, "--json"]).stdout);
      if (supervisors.length === 0) return false;
      const [{ secrets }] = supervisors;
      places.set(profile, secrets.find(({ name }: { name: string }) => name === "KEY").place);
      return true;
    });
  return [...places.values()];
}

describeBackend("a secret in Vault that profiles call by several names", ["vault"], () => {
  it("is new to all of them, and to nobody who has the same words for another server", async () => {
    const { gateway, drill } = await vaultStore();
    const other = await VaultServer.start();
    closings.push(() => other.stop());
    await other.must("POST", PATH, { data: OTHER_DOCUMENT });
    const token = drill.home.write("other-token", ROOT_TOKEN);

    const places = await rehearse(
      drill,
      {
        providers: `prod-vault: { type: vault, address: "${gateway.url}/" }`,
        ref: "prod-vault:secret/mcp/app",
      },
      {
        providers: `vault: { type: vault, address: "${other.url}", auth: { method: token, token: "file:${token}" } }`,
        ref: "vault:secret/mcp/app",
      },
    );

    expect(places).toEqual({ there: `${gateway.url}/v1/${PATH}`, elsewhere: `${other.url}/v1/${PATH}` });
  });
});

describeBackend("a secret in AWS that profiles call by several names", ["moto"], () => {
  it("is new to all of them, and to nobody who has the same words for another account", async () => {
    const { moto, drill } = await motoStore();
    const other = await MotoServer.start({ mended: true });
    closings.push(() => other.stop());
    await other.must("CreateSecret", { Name: "mcp/app", SecretString: JSON.stringify(OTHER_DOCUMENT) });
    const [{ ARN }, { ARN: otherArn }] = await Promise.all(
      [moto, other].map((server) => server.must("DescribeSecret", { SecretId: "mcp/app" })),
    );
    const at = (url: string) => `{ type: aws-secrets-manager, region: ${MOTO_REGION}, endpoint: "${url}" }`;

    const places = await rehearse(
      drill,
      { providers: `prod: ${at(moto.url)}`, ref: `prod:${ARN}` },
      { providers: `aws: ${at(other.url)}`, ref: "aws:mcp/app" },
    );

    expect(places).toEqual({ there: ARN, elsewhere: otherArn });
  });
});
