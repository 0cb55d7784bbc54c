/** The suites of the contract, on the fake Vault; what is special about Vault is in vault/. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import type { VaultRef } from "../../providers/vault/settings.ts";
import { FakeVault } from "../helpers/fake-vault.ts";
import type { OpenHarness } from "./contract.ts";
import { describeRemoteContract } from "./remote-contract.ts";
import { describeRotationContract } from "./rotation-contract.ts";
import { documentOf, openWithToken, ref } from "./vault/harness.ts";

const ROOT = "canary-root";
const LISTED = { mount: "secret" };

const servers: FakeVault[] = [];
const last = () => servers.at(-1) as FakeVault;

async function openOn(server: FakeVault): Promise<OpenHarness<VaultRef>> {
  servers.push(server);
  const { provider } = await openWithToken(server.url, ROOT, LISTED);
  return { provider, ref: (name) => ref(`secret/mcp/${name}`), dispose: () => server.stop() };
}

describeRotationContract<VaultRef>("vault", {
  emptyIs: "kept",
  documentOf,
  unknownVersion: "999",
  pathOf: (name) => `secret/mcp/${name}`,
  placeOf: (name) => `${last().url}/v1/secret/data/mcp/${name}`,
  async open(entries) {
    const server = await FakeVault.start();
    for (const [name, value] of Object.entries(entries)) server.kv2.put(`mcp/${name}`, { value });
    return openOn(server);
  },
  async hang() {
    const server = await FakeVault.start();
    server.before = () => "never";
    return openOn(server);
  },
  another: async () => (await openWithToken(last().url, ROOT, LISTED)).provider,
  stored: async () => last().kv2.everything,
});

let good: FakeVault;

beforeAll(async () => {
  good = await FakeVault.start();
  for (const name of ["plain", "other"]) good.kv2.put(`mcp/${name}`, { value: "canary-plain" });
});
afterAll(() => good.stop());

describeRemoteContract<VaultRef>("vault", {
  tls: "optional",
  value: documentOf("canary-plain"),
  canaries: [ROOT],
  isRead: ({ path }) => path.startsWith("/v1/secret/"),
  good({ method, path, headers }) {
    const url = new URL(path, "http://fake");
    const { status, body } = good.answer({
      method,
      path: decodeURIComponent(url.pathname.slice("/v1/".length)),
      query: url.searchParams,
      token: headers["x-vault-token"] as string | undefined,
      namespace: undefined,
      body: {},
    });
    return { status, headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  },
  async open({ url, ca }) {
    const folder = await mkdtemp(join(tmpdir(), "vault-"));
    const caCert = join(folder, "ca.pem");
    if (ca !== undefined) await writeFile(caCert, ca);
    const { provider } = await openWithToken(url, ROOT, ca === undefined ? {} : { caCert });
    return {
      provider,
      ref: (name) => ref(`secret/mcp/${name}`),
      dispose: () => rm(folder, { recursive: true }),
    };
  },
});
