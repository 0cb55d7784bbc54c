import { randomBytes } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { findCredential, findCredentials } from "../../src/profile/credential-literals.ts";
import { looksRandom } from "../../src/profile/looks-random.ts";
import { cpuTime } from "../helpers/cpu-time.ts";

describe("a credential in plain text", () => {
  it.each([
    ["a GitHub token", "ghp_abcdefABCDEF0123456789"],
    ["a GitHub token", "github_pat_11ABCDEFG0abcdefghij"],
    ["a GitHub token", "gho_16C7e42F292c6912E7710c838347Ae178B4a"],
    ["a GitHub token", "https://ghs_abcdefABCDEF0123456789@github.com/o/r.git"],
    ["a GitLab token", "glpat-abcdefghij1234567890"],
    ["a Slack token", "xoxb-123456789012-1234567890123-AbCdEf"],
    ["a Slack token", "xoxp-12345-abcdef"],
    ["an AWS access key", "AKIAIOSFODNN7EXAMPLE"],
    ["a random value", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"],
    ["an API key", "sk-1234567890abcdef1234567890abcdef"],
    ["an API key", "sk-proj-abc123def456"],
    ["an API key", "sk-ant-api03-abcdef"],
    ["an API key", "sk_live_abcdefgh12345678"],
    ["an API key", "ctx7sk-abcdef0123456789"],
    ["a Google credential", `AIza${"Sy1".repeat(12)}`],
    ["a Vault token", "hvs.CAESIJlWabcdefghijk"],
    ["an age identity", "AGE-SECRET-KEY-1QQPQYQ"],
    ["a JSON web token", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"],
    ["a private key", "-----BEGIN RSA PRIVATE KEY-----\nMIIEcanary"],
    ["a private key", "-----BEGIN OPENSSH PRIVATE KEY-----"],
    ["a private key", "-----BEGIN PGP PRIVATE KEY BLOCK-----"],
    ["a URL with a password", "postgres://app:hunter2@db/app"],
    ["a URL with a password", "redis://:pw@cache:6379"],
    ["a URL with a password", "https://user:p%40ss@host/"],
    ["a connection string with a password", "Server=db;User=sa;Password=hunter2;"],
    ["a connection string with a password", "https://api.example.com/?api_key=abcd1234"],
    ["an authorization header", "Authorization: Bearer abcdef1234567890"],
    ["a Slack webhook", "https://hooks.slack.com/services/T00/B00/canary"],
    ["a Telegram bot token", `123456789:AA${"dqTcvCH1v".repeat(4)}`],
  ])("is recognised: %s", (what, text) => {
    expect(findCredential(text)?.what).toBe(what);
    expect(findCredential(`before ${text}`)?.what).toBe(what);
  });

  it.each([
    "550e8400-e29b-41d4-a716-446655440000",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "sha512-oRSIIBNBVFiW2j4kXzN0Cv4Z6rIyMc2r2GF8Q==",
    "registry.example.com:5000/team/image@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "claude-3-5-sonnet-20241022",
    "gpt-4o-mini-2024-07-18",
    "anthropic.claude-3-sonnet-20240229-v1:0",
    "meta-llama/Llama-3.1-70B-Instruct",
    "Qwen2.5-Coder-32B-Instruct-GGUF-Q4_K_M",
    "text-embedding-3-large",
    "@modelcontextprotocol/server-github@2025.4.8",
    "git@github.com:owner/repo.git",
    "https://docs.google.com/spreadsheets/d/1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs74OgVE2upms/edit",
    "https://user@example.com:8080/x",
    "https://example.com/?q=a:b@c",
    "http://[::1]:8080/a@b",
    "postgres://app@db:5432/app",
    "postgres://app:{{PGPASSWORD|uri}}@db/app",
    "/nix/store/3n58xw4373jp0ljirf06d8077j15pc4j-glibc-2.37",
    "~/work/2024Q3ReportsAndOtherThings",
    "C:\\Users\\Someone\\AppData\\Roaming\\npm\\node_modules",
    "arn:aws:iam::123456789012:role/MyVeryLongRoleNameForTheApplication1",
    "us-central1-docker.pkg.dev/my-project-123456/repo1",
    "payments-api-7d9f8b6c5-x2x9z",
    "DefaultEndpointsProtocol=https;AccountName=devstoreaccount1",
    "useGitHubEnterpriseApiV3",
    "MyCompanyAzureSubscription2024Production",
    "internationalization",
    "sk-SK",
    "sk-learn",
    "basic authentication",
    "bearer of bad news 1234",
    "DEBUG=mcp:*,express:router",
    "--max-old-space-size=4096",
    "application/vnd.github.v3+json",
    "2024-10-22T10:15:00.000Z",
    "AWS4-HMAC-SHA256",
    "v22.21.1-nightly20251101abcdef1234",
    "-----BEGIN CERTIFICATE-----\nMIIB",
    "C01234567,C0AB12CD3",
    "token",
    "",
  ])("is not seen in %j", (text) => {
    expect(findCredentials(text)).toEqual([]);
  });

  it("is found as a random value in most cases, and never in hex", () => {
    const share = (encoding: BufferEncoding, bytes: number) => {
      const samples = Array.from({ length: 500 }, () => randomBytes(bytes).toString(encoding));
      return samples.filter((sample) => findCredential(sample) !== undefined).length / samples.length;
    };

    expect(share("base64url", 32)).toBeGreaterThan(0.85);
    expect(share("base64", 48)).toBeGreaterThan(0.85);
    expect(share("hex", 32)).toBe(0);
  });

  it("is looked for in time that grows with the text, whatever it holds", () => {
    const pieces = ["eyJ-", "sk-", "a.", "://", "x:y@", "Bearer ", "key=", "aB3", "-----BEGIN ", "AA:", "gl"];
    for (const piece of pieces) {
      const text = piece.repeat(Math.ceil(2 ** 18 / piece.length));
      const start = cpuTime();
      findCredentials(text);
      expect(cpuTime() - start, piece).toBeLessThan(10_000);
    }
  });

  it("never makes the search throw, and stays inside the text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 200 }), (text) => {
        for (const { start, end } of findCredentials(text)) {
          expect(start).toBeLessThan(end);
          expect(end).toBeLessThanOrEqual(text.length);
        }
      }),
    );
  });
});

describe("randomness", () => {
  it.each(["x".repeat(40), "0123456789".repeat(4), "abcdefghij".repeat(3), "short1A2b3C"])(
    "is not seen in %s",
    (text) => {
      expect(looksRandom(text)).toBe(false);
    },
  );
});
