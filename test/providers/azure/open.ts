/** A provider on a fake vault, with a context of the test's own. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AzureRef } from "../../../providers/azure/settings.ts";
import { azureKind } from "../../../providers/azure.ts";
import type { RotatableStore } from "../../../src/secrets/provider.ts";
import { FAKE_TOKEN, FakeKeyVault } from "../../helpers/fake-key-vault.ts";
import { type TestContext, type TestContextOverrides, testContext } from "../../helpers/provider-context.ts";

/** Settings as a profile has them, read by the provider's own schema. */
export function config(settings: Readonly<Record<string, unknown>>) {
  return azureKind.configSchema.parse(settings);
}

export class AzureRoom {
  readonly vault: FakeKeyVault;
  readonly folder: string;
  readonly #opened: RotatableStore<AzureRef>[] = [];

  private constructor(vault: FakeKeyVault, folder: string) {
    this.vault = vault;
    this.folder = folder;
    writeFileSync(this.caFile, vault.tls.ca);
  }

  static async start(): Promise<AzureRoom> {
    return new AzureRoom(await FakeKeyVault.start(), mkdtempSync(join(tmpdir(), "mcp-run-azure-")));
  }

  get caFile(): string {
    return join(this.folder, "ca.pem");
  }

  /** Another provider on the vault, by default with a token that it accepts. */
  async open(
    settings: Readonly<Record<string, unknown>> = {},
    overrides: TestContextOverrides = {},
  ): Promise<RotatableStore<AzureRef>> {
    return (await this.openWith(settings, overrides)).provider;
  }

  async openWith(
    settings: Readonly<Record<string, unknown>> = {},
    overrides: TestContextOverrides = {},
  ): Promise<{ provider: RotatableStore<AzureRef>; context: TestContext }> {
    const context = testContext({ name: "azure", refs: { "env:TOKEN": FAKE_TOKEN }, ...overrides });
    const all = {
      vault: this.vault.url,
      credential: { type: "token", token: "env:TOKEN" },
      caCert: this.caFile,
      verifyChallenge: false,
      ...settings,
    };
    const provider = await azureKind.open(config(all), context);
    this.#opened.push(provider);
    return { provider, context };
  }

  async stop(): Promise<void> {
    for (const provider of this.#opened) await provider.close();
    await this.vault.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export const never = () => new AbortController().signal;
