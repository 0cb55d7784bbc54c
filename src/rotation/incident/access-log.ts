/** Where a platform says who has read a secret, as something to run there. */
import * as querystring from "node:querystring";
import { shellWord } from "../../shell-word.ts";

export interface StoredAt {
  /** The provider's type: `vault`, `aws-secrets-manager`, `azure-key-vault`. */
  readonly type: string;
  /** As the ref has it, without the field. */
  readonly path: string;
}

export interface AccessQuery {
  /** Says where it is to be run. */
  readonly where: string;
  readonly language: string;
  readonly text: string;
}

/** What Vault's log has as the path of a request: `secret/data/mcp/github`, without the namespace. */
const VAULT_FILTER =
  'select(.type == "request" and .time >= $since and (("/" + .request.path) as $asked | $path | endswith($asked))) | [.time, .auth.display_name, .request.remote_address, .request.path]';

/**
 * Undefined for a store that keeps no such record. Sources: Vault documentation, «Audit devices»; AWS Secrets
 * Manager user guide, «Log with CloudTrail»; Azure Key Vault documentation, «Key Vault logging».
 *
 * @param since ISO 8601
 * @param place where the backend says that it lies; Vault's has the path of its API, which a ref does not
 */
export function accessQuery(
  { type, path }: StoredAt,
  since: string,
  place?: string,
): AccessQuery | undefined {
  switch (type) {
    case "vault": {
      const asked = place === undefined ? path : querystring.unescape(place.replace(/^.*?\/v1\//, ""));
      const args = `--arg since ${shellWord(since)} --arg path ${shellWord(`/${asked}`)}`;
      return {
        where: "with the audit file of Vault",
        language: "sh",
        text: `jq -c ${args} '${VAULT_FILTER}' audit.log`,
      };
    }
    case "aws-secrets-manager": {
      const lookup = `aws cloudtrail lookup-events --lookup-attributes AttributeKey=EventName,AttributeValue=GetSecretValue --start-time ${shellWord(since)} --output json`;
      const filter =
        '.Events[].CloudTrailEvent | fromjson | select(.requestParameters.secretId // "" | contains($id)) | [.eventTime, .userIdentity.arn, .sourceIPAddress]';
      return {
        where: "in the account and region of the secret",
        language: "sh",
        text: `${lookup} | jq -c --arg id ${shellWord(path)} '${filter}'`,
      };
    }
    case "azure-key-vault":
      return {
        where: "in the Log Analytics workspace of the vault",
        language: "kusto",
        text: `AzureDiagnostics | where ResourceProvider == "MICROSOFT.KEYVAULT" and OperationName == "SecretGet" and TimeGenerated >= datetime(${JSON.stringify(since).slice(1, -1)}) and requestUri_s contains ${JSON.stringify(`/secrets/${path}`)} | project TimeGenerated, identity_claim_upn_s, identity_claim_appid_g, CallerIPAddress`,
      };
    default:
      return undefined;
  }
}
