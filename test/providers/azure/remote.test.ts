/** The provider against a server that misbehaves. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { azureKind } from "../../../providers/azure.ts";
import { FAKE_TOKEN } from "../../helpers/fake-key-vault.ts";
import { json } from "../../helpers/hostile-server.ts";
import { testContext } from "../../helpers/provider-context.ts";
import { describeRemoteContract } from "../remote-contract.ts";
import { config } from "./open.ts";

const VERSION = "0123456789abcdef0123456789abcdef";

describeRemoteContract("azure-key-vault", {
  async open({ url, ca }) {
    const folder = mkdtempSync(join(tmpdir(), "mcp-run-azure-"));
    const caCert = join(folder, "ca.pem");
    if (ca !== undefined) writeFileSync(caCert, ca);
    const settings = {
      vault: url,
      credential: { type: "token", token: "env:TOKEN" },
      verifyChallenge: false,
      ...(ca !== undefined && { caCert }),
    };
    const context = testContext({ name: "azure", refs: { "env:TOKEN": FAKE_TOKEN } });
    return {
      provider: await azureKind.open(config(settings), context),
      ref: (name) => ({ path: name }),
      dispose: async () => rmSync(folder, { recursive: true }),
    };
  },
  good({ headers, path }, url) {
    if (headers.authorization === undefined) {
      const challenge =
        'Bearer authorization="https://login.microsoftonline.com/t", resource="https://vault.azure.net"';
      const answer = json({ error: { code: "Unauthorized", message: "AKV10000" } }, 401);
      return { ...answer, headers: { ...answer.headers, "www-authenticate": challenge } };
    }
    const [, , name] = new URL(path, url).pathname.split("/");
    const attributes = { enabled: true, created: 1_700_000_000, updated: 1_700_000_000 };
    return json({ value: "canary-value", id: `${url}/secrets/${name}/${VERSION}`, attributes });
  },
  value: "canary-value",
  isRead: ({ headers }) => headers.authorization !== undefined,
  canaries: [FAKE_TOKEN],
  tls: "required",
});
