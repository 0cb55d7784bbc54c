/** Who tries a new key that lies in a real Vault: a supervisor that may read it, or else the rotation itself. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { describeBackend } from "../helpers/backends.ts";
import { closings, DOCUMENT, Drill, hash, OLD, PATH } from "../helpers/drill.ts";
import { VaultServer } from "../helpers/vault-server.ts";

const EVERYTHING = 'path "secret/*" { capabilities = ["create", "read", "update", "delete", "list"] }';
const ONLY_THE_SECRET = `path "${PATH}" { capabilities = ["read"] }`;

/** Supervisors whose token may do this, and one who rotates, who may do all. */
async function drillWith(policy: string) {
  const vault = await VaultServer.start();
  closings.push(() => vault.stop());
  await vault.must("POST", PATH, { data: DOCUMENT });
  const drill = new Drill({
    providers: `vault: { type: vault, address: "${vault.url}" }`,
    ref: "vault:secret/mcp/app",
    env: { VAULT_TOKEN: await vault.tokenWith(policy) },
  });
  const operator = { VAULT_TOKEN: await vault.tokenWith(EVERYTHING) };
  return { drill, rotate: () => drill.rotate([], operator) };
}

describeBackend("a new key in Vault", ["vault"], () => {
  it("is tried by a supervisor that may read it", async () => {
    const { drill, rotate } = await drillWith(EVERYTHING);
    await drill.serve("p", 2);

    const { status, out } = await rotate();

    expect(status, out).toBe(0);
    const pids = drill.sessions.map(({ pid }) => pid).join("|");
    expect(out).toMatch(new RegExp(`✔ canary: tried by the supervisor with pid (${pids}) `));
    expect(out).not.toContain("could not try");
    expect(out).not.toContain("canary-");
  });

  it.each(["--dry-run", "--yes"])("is not asked for where it could not be kept: %s", async (flag) => {
    const { drill } = await drillWith('path "secret/data/*" { capabilities = ["read"] }');

    const { status, out } = await drill.rotate([flag]);

    expect(status, out).toBe(77);
    expect(out).toContain(
      "Cannot rotate vault:secret/mcp/app: the policies of this token do not let it create secret/data/mcp/app-mcp-run-pending",
    );
    expect(out).toContain(
      'path "secret/data/mcp/app-mcp-run-pending" { capabilities = ["create", "read", "update"] }',
    );
    expect(drill.valid).toEqual([OLD]);
    // Its hook was asked nothing.
    expect(existsSync(join(drill.issuer, "calls"))).toBe(false);
  });

  it("is tried by the rotation itself where no supervisor may read it, which is said", async () => {
    const { drill, rotate } = await drillWith(ONLY_THE_SECRET);
    await drill.serve("p", 2);
    for (const { key } of await drill.told()) expect(key).toBe(hash(OLD));

    const { status, out } = await rotate();

    expect(status, out).toBe(0);
    for (const { pid } of drill.sessions) {
      expect(out).toMatch(
        new RegExp(
          `- the supervisor with pid ${pid} could not try the new key: Cannot fetch the candidate .*403`,
        ),
      );
    }
    expect(out).toContain("✔ canary: tried by mcp-run rotate ");
    expect(out).toContain("2 acknowledged");
    for (const { key } of await drill.told()) expect(key).not.toBe(hash(OLD));
    expect(out).not.toContain("canary-");
  });
});
