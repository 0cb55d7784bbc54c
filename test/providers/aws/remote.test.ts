/** The contract of a provider across a network, and what is special about this one's way to leave the machine. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Answer, json, type Received } from "../../helpers/hostile-server.ts";
import { describeRemoteContract } from "../remote-contract.ts";
import { CANARY_KEYS, openAws, refTo } from "./harness.ts";

const VALUE = "canary-remote-value";

describeRemoteContract("aws-secrets-manager", {
  async open({ url, ca }) {
    const folder = mkdtempSync(join(tmpdir(), "mcp-run-aws-"));
    const caCert = join(folder, "ca.pem");
    if (ca !== undefined) writeFileSync(caCert, ca);
    return {
      provider: await openAws({ endpoint: url, ...(ca !== undefined && { caCert }) }),
      ref: refTo,
      dispose: async () => rmSync(folder, { recursive: true }),
    };
  },
  good,
  value: VALUE,
  canaries: Object.values(CANARY_KEYS),
  tls: "optional",
  forbidden: json(
    { __type: "AccessDeniedException", Message: "canary-message, User: x is not authorized" },
    403,
  ),
});

function good({ headers, body }: Received): Answer {
  const value = (name: string) => ({
    Name: name,
    SecretString: VALUE,
    VersionId: "v1",
    VersionStages: ["AWSCURRENT"],
  });
  const input = JSON.parse(body);
  return headers["x-amz-target"] === "secretsmanager.BatchGetSecretValue"
    ? json({ SecretValues: input.SecretIdList.map(value), Errors: [] })
    : json(value(input.SecretId));
}
