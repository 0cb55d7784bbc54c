/** The Azure provider against lowkey-vault: the same contracts as on the fake vault, and what only a server shows. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { AzureRef } from "../../providers/azure/settings.ts";
import { azureKind } from "../../providers/azure.ts";
import type { RotatableStore } from "../../src/secrets/provider.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { describeBackend } from "../helpers/backends.ts";
import { LowkeyVaultServer } from "../helpers/lowkey-vault-server.ts";
import { testContext } from "../helpers/provider-context.ts";
import { config } from "../providers/azure/open.ts";
import { never, read, revealed } from "../providers/contract.ts";
import { describeRotationContract } from "../providers/rotation-contract.ts";

describeBackend("Azure Key Vault, by lowkey-vault", ["lowkey-vault", "java"], () => {
  let server: LowkeyVaultServer;

  beforeAll(async () => {
    server = await LowkeyVaultServer.start();
  });

  afterAll(() => server?.stop());

  const provider = (settings: object = {}): Promise<RotatableStore<AzureRef>> =>
    azureKind.open(
      config({
        vault: server.url,
        credential: { type: "token", token: "env:TOKEN" },
        caCert: server.caFile,
        verifyChallenge: false,
        ...settings,
      }),
      testContext({ name: "azure", refs: { "env:TOKEN": "canary-token" } }),
    );

  describeRotationContract("azure-key-vault, on lowkey-vault", {
    // It takes no empty value.
    emptyIs: "missing",
    maxValueBytes: 25 * 1024,
    looksInsteadOfLocking: true,
    rounds: 5,
    placeOf: (name) => `${server.url}/secrets/${name}`,
    async open(entries) {
      await server.empty();
      for (const [name, value] of Object.entries(entries)) {
        if (value === "") continue;
        const { status, text } = await server.api("PUT", `/secrets/${name}?api-version=2025-07-01`, {
          value,
        });
        if (status !== 200) throw new Error(`${name} could not be put: ${status} ${text}`);
      }
      return {
        provider: await provider(),
        ref: (name) => ({ path: name }),
        dispose: async () => undefined,
      };
    },
    another: () => provider(),
  });

  describe("a secret of lowkey-vault", () => {
    it("keeps its content type and its tags when it is rotated", async () => {
      await server.empty();
      const store = await provider();
      await server.api("PUT", "/secrets/key?api-version=2025-07-01", {
        value: "canary-old",
        contentType: "text/plain",
        tags: { team: "platform" },
      });
      const mark = { rotationId: "r-1", operator: "alice@laptop", createdAt: new Date() };
      const planned = await store.currentVersion({ path: "key" }, never());

      await store.putCandidate({ path: "key" }, new Secret("canary-new"), mark, never());
      await store.promote({ path: "key" }, "r-1", planned, never());

      const { text } = await server.api("GET", "/secrets/key?api-version=2025-07-01");
      expect(JSON.parse(text)).toMatchObject({
        value: "canary-new",
        contentType: "text/plain",
        tags: { team: "platform", "mcp-run-rotation": "r-1" },
      });
      await store.close();
    });

    it("is not read after its expiry, unless the profile says so", async () => {
      await server.empty();
      await server.api("PUT", "/secrets/old?api-version=2025-07-01", {
        value: "canary-old",
        attributes: { exp: 1_700_000_000 },
      });
      const [strict, lenient] = [await provider(), await provider({ ignoreDates: true })];

      expect(await read(strict, { path: "old" })).toMatchObject({ failure: "invalid" });
      expect(revealed(await read(lenient, { path: "old" }))).toBe("canary-old");

      await strict.close();
      await lenient.close();
    });
  });
});
