/** The embedded store keeps the contract of every store; what is special about it is tested in local/. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { localKind } from "../../providers/local.ts";
import { isSecretStore } from "../../src/secrets/provider.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { testContext } from "../helpers/provider-context.ts";
import { describeStoreContract } from "./contract.ts";

describeStoreContract("local", {
  emptyIs: "kept",
  async open(entries) {
    const home = await mkdtemp(join(tmpdir(), "mcp-run-local-"));
    const provider = await localKind.open({}, testContext({ home }));
    if (!isSecretStore(provider)) throw new Error("the local provider is no store");
    for (const [path, value] of Object.entries(entries)) {
      await provider.put({ path }, new Secret(value), new AbortController().signal);
    }
    return {
      provider,
      ref: (path) => ({ path }),
      dispose: () => rm(home, { recursive: true, force: true }),
    };
  },
});
