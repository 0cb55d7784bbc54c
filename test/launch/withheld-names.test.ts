import { describe, expect, it } from "vitest";
import { isCredentialName } from "../../src/launch/withheld-names.ts";

describe("what is withheld from every program", () => {
  it.each(
    `VAULT_TOKEN VAULT_ADDR VAULT_NAMESPACE BAO_TOKEN AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN
    AWS_SECURITY_TOKEN AWS_BEARER_TOKEN_BEDROCK AWS_CONTAINER_CREDENTIALS_FULL_URI AWS_CONTAINER_AUTHORIZATION_TOKEN
    AWS_WEB_IDENTITY_TOKEN_FILE AZURE_CLIENT_SECRET AZURE_CLIENT_CERTIFICATE_PATH AZURE_CLIENT_CERTIFICATE_PASSWORD
    AZURE_USERNAME AZURE_PASSWORD AZURE_FEDERATED_TOKEN AZURE_FEDERATED_TOKEN_FILE IDENTITY_HEADER MSI_SECRET
    ACTIONS_ID_TOKEN_REQUEST_TOKEN ACTIONS_ID_TOKEN_REQUEST_URL CI_JOB_JWT CI_JOB_JWT_V2 OP_SERVICE_ACCOUNT_TOKEN
    OP_SESSION_abc OP_CONNECT_TOKEN MCP_RUN_AGE_KEY MCP_RUN_HOME MCP_RUN_CONFIG`.split(/\s+/),
  )("includes %s", (name) => {
    expect(isCredentialName(name, "linux")).toBe(true);
  });

  it.each(
    "AWS_PROFILE AWS_REGION AZURE_TENANT_ID AZURE_CLIENT_ID GITHUB_TOKEN CI_JOB_ID OPENAI_API_KEY VAULT vault_token HOME".split(
      " ",
    ),
  )("does not include %s", (name) => {
    expect(isCredentialName(name, "linux")).toBe(false);
  });

  it("includes other spellings on Windows, where they are the same variable", () => {
    expect(isCredentialName("Vault_Token", "win32")).toBe(true);
  });
});
