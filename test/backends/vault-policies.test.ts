/** The policies of the guide allow what they are for, on a real Vault (or OpenBao), and no more. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { Secret } from "../../src/secrets/secret.ts";
import { describeBackend } from "../helpers/backends.ts";
import { VaultServer } from "../helpers/vault-server.ts";
import { never, read, revealed, settled } from "../providers/contract.ts";
import { documentOf, openWithToken, ref } from "../providers/vault/harness.ts";

const GUIDE = readFileSync(join(import.meta.dirname, "../../docs/providers/vault.md"), "utf8");
const KEY = ref("secret/mcp/key");
const MINE = { rotationId: "rotation-1", operator: "alice@laptop", createdAt: new Date() };

function policyOfGuide(name: string): string {
  const policy = new RegExp(`\`\`\`hcl\\n# ${name}\\n([^\`]+)\`\`\``).exec(GUIDE)?.[1];
  if (policy === undefined) throw new Error(`the guide has no policy ${name}`);
  return policy;
}

describeBackend("the policies of the guide", ["vault"], () => {
  let server: VaultServer;

  beforeAll(async () => {
    server = await VaultServer.start();
  });
  beforeEach(async () => {
    await server.must("DELETE", "secret/metadata/mcp/key");
    await server.must("POST", "secret/data/mcp/key", { data: { value: "canary-key" } });
  });
  afterAll(() => server.stop());

  const openWith = async (policy: string) =>
    (await openWithToken(server.url, await server.tokenWith(policy), { mount: "secret/mcp" })).provider;

  it("mcp-read lets a profile read and look for changes, and write nothing", async () => {
    const provider = await openWith(policyOfGuide("mcp-read"));

    expect(revealed(await read(provider, KEY))).toBe(documentOf("canary-key"));
    expect(await provider.currentVersion(KEY, never())).toBe("1");
    const forbidden = [
      provider.put(KEY, new Secret('{"value":"x"}'), never()),
      provider.remove(KEY, never()),
      provider.list(never()),
      provider.putCandidate(KEY, new Secret('{"value":"x"}'), MINE, never()),
    ];
    for (const refusal of await Promise.all(forbidden.map(settled))) {
      expect(refusal).toMatchObject({
        failure: "denied",
        reason: expect.stringContaining("403"),
      });
    }
    await provider.close();
  });

  it("the part for data alone is enough to read and to look for changes", async () => {
    const provider = await openWith('path "secret/data/mcp/*" { capabilities = ["read"] }');

    expect(revealed(await read(provider, KEY))).toBe(documentOf("canary-key"));
    expect(await provider.currentVersion(KEY, never())).toBe("1");
    expect(await read(provider, ref("secret/mcp/absent"))).toMatchObject({ failure: "missing" });
    await provider.close();
  });

  it.each<[what: string, policy: string, may: string, line: string]>([
    [
      "the candidate and the secret",
      'path "secret/data/mcp/*" { capabilities = ["read"] } path "secret/metadata/mcp/*" { capabilities = ["read", "delete"] }',
      "create secret/data/mcp/key-mcp-run-pending or update secret/data/mcp/key",
      'path "secret/data/mcp/key-mcp-run-pending" { capabilities = ["create", "read", "update"] } and path "secret/data/mcp/key" { capabilities = ["create", "read", "update"] }',
    ],
    [
      "taking the candidate away",
      'path "secret/data/mcp/*" { capabilities = ["create", "read", "update"] }',
      "delete secret/metadata/mcp/key-mcp-run-pending",
      'path "secret/metadata/mcp/key-mcp-run-pending" { capabilities = ["read", "delete"] }',
    ],
    [
      "what is there already",
      'path "secret/data/mcp/*" { capabilities = ["create", "read"] } path "secret/metadata/mcp/*" { capabilities = ["delete"] }',
      "update secret/data/mcp/key",
      'path "secret/data/mcp/key" { capabilities = ["create", "read", "update"] }',
    ],
  ])("what a policy lacks for a rotation is known before it begins: %s", async (_what, policy, may, line) => {
    const provider = await openWith(policy);

    expect(await settled(provider.mustBeWritable(KEY, never()))).toMatchObject({
      failure: "denied",
      reason: `the policies of this token do not let it ${may}`,
      hint: `a policy with ${line}`,
    });
    await provider.close();

    // What the hint says is all that was missing.
    const mended = await openWith(`${policy} ${line.replaceAll(" and path", " path")}`);
    await mended.mustBeWritable(KEY, never());
    await mended.putCandidate(KEY, new Secret(documentOf("canary-new")), MINE, never());
    expect(await mended.promote(KEY, MINE.rotationId, "1", never())).toEqual({ version: "2" });
    await mended.close();
  });

  it("a token that may not ask what it may do is let try", async () => {
    const mute = 'path "sys/capabilities-self" { capabilities = ["deny"] }';
    const provider = await openWith(`${mute} path "secret/data/mcp/*" { capabilities = ["read"] }`);

    await provider.mustBeWritable(KEY, never());
    await provider.close();
  });

  it("mcp-rotate lets a rotation do all its steps, and a person keep secrets", async () => {
    const provider = await openWith(policyOfGuide("mcp-rotate"));
    const value = new Secret(documentOf("canary-new"));

    await provider.mustBeWritable(KEY, never());
    await provider.mustBeWritable(ref("secret/mcp/absent"), never());
    await provider.putCandidate(KEY, value, MINE, never());
    expect(await provider.promote(KEY, MINE.rotationId, "1", never())).toEqual({ version: "2" });
    expect(await provider.promote(KEY, MINE.rotationId, "1", never())).toEqual({ version: "2" });
    expect(await provider.restore(KEY, "1", "2", never())).toEqual({ version: "3" });
    expect(await provider.retire(KEY, "2", never())).toBe(true);
    await provider.putCandidate(KEY, value, MINE, never());
    expect(await provider.discard(KEY, MINE.rotationId, never())).toBe(true);
    expect(await provider.list(never())).toEqual([{ path: "secret/mcp/key" }]);
    expect(await provider.remove(KEY, never())).toBe(true);
    await provider.close();
  });
});
