import { describe, expect, it } from "vitest";
import { loadProfile } from "../../src/profile/load.ts";
import { diagnosticsOf, fileOf, loadBody, messagesOf, room } from "./room.ts";

const TOKEN = "ghp_canary7f3aABCDEF0123456789";

describe("a credential under env", () => {
  it("is refused with the command that moves it into a store, and never shown", async () => {
    const text = await diagnosticsOf(fileOf(`command: npx\nenv:\n  GITHUB_TOKEN: "${TOKEN}" # the key`));

    expect(text).toBe(`mcp-run.yaml:6:21: \`GITHUB_TOKEN\` looks like a GitHub token
    6 |       GITHUB_TOKEN: ******** # the key
      |                     ^^^^^^^^
  Try \`mcp-run secrets set local:GITHUB_TOKEN\`, and under \`secrets:\` the line \`GITHUB_TOKEN: local:GITHUB_TOKEN\``);
  });

  it("is never shown beside another mistake either, be it one of YAML", async () => {
    const texts = [
      `version: 1\nprofiles:\n  p: { command: npx, env: { A: ${TOKEN}, B: 3 }, bad: 1 }\n`,
      `version: 1\nprofiles:\n  p: { command: npx, env: { A: ${TOKEN} }\n`,
      `version: 1\nprofiles:\n  p: { command: npx, env: { A: ${TOKEN}, A: x } }\n`,
      `version: 1\nprofiles:\n  p: npx\n  DB_PASSWORD: canary-7f3a: x\n`,
      `version: 1\nprofiles:\n  p:\n    command: npx\n    env:\n      KEY: |\n        -----BEGIN PRIVATE KEY-----\n        canary7f3a\n`,
      `version: 1\nprofiles:\n  p: { command: npx, bad: 1, args: ["--password", "canary-7f3a", "--token=canary-7f3a"] }\n`,
      `version: 1\nprofiles:\n  p: { command: npx, ${TOKEN}: 1 }\n`,
      `version: 1\nprofiles:\n  p: { command: npx, cwd: "${TOKEN}" }\n`,
      `version: 1\nprofiles:\n  p: { command: npx, secrets: { A: "local:a", B: "${TOKEN}:x" } }\n`,
      `${TOKEN}\n`,
      `- ${TOKEN}\n`,
      `version: 1\nprofiles: {}\n} ${TOKEN}\n`,
    ];
    for (const text of texts) expect(await diagnosticsOf(text), text).not.toMatch(/canary|7f3a/);
  });

  it("is only warned of when plain text is allowed", async () => {
    const { request, main } = room({ allowPlaintext: true });
    const file = main(fileOf(`command: npx\nenv: { GITHUB_TOKEN: ${TOKEN} }`));

    const { profile, warnings } = await loadProfile("p", request);

    expect(profile.env).toEqual({ GITHUB_TOKEN: TOKEN });
    expect(warnings).toEqual([
      `${file}:5:26: \`GITHUB_TOKEN\` looks like a GitHub token. Try \`mcp-run secrets set local:GITHUB_TOKEN\`, and under \`secrets:\` the line \`GITHUB_TOKEN: local:GITHUB_TOKEN\``,
    ]);
  });

  it("is known by a name for credentials, too, when it looks like a key", async () => {
    expect(await messagesOf("command: npx\nenv: { API_KEY: d41d8cd98f00b204e9800998ecf8427e }")).toEqual([
      "2:17: `API_KEY` is plain text under a name for credentials",
    ]);
  });

  it("is only warned of when such a name has a harmless value", async () => {
    const { request, main } = room();
    main(fileOf("command: npx\nenv: { OPENAI_API_KEY: ollama, DB_PASSWORD: hunter2 }"));

    const { warnings } = await loadProfile("p", request);

    expect(warnings).toHaveLength(2);
    expect(warnings.join()).not.toContain("hunter2");
  });

  it("is not seen in switches, numbers, paths, addresses, ids and hashes", async () => {
    const env = {
      DISABLE_TOKEN: "true",
      API_TOKEN: "",
      MAX_TOKENS: "4096",
      PRIVATE_KEY: "~/.ssh/id_ed25519",
      TLS_SECRET: "/run/secrets/tls",
      TOKEN: "https://login.example.com/token",
      SHEET_ID: "1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs74OgVE2upms",
      COMMIT_SHA: "da39a3ee5e6b4b0d3255bfef95601890afd80709",
      MODEL: "claude-3-5-sonnet-20241022",
      SORT_KEY: "name",
    };
    const { request, main } = room();
    main(fileOf(`command: npx\nenv: ${JSON.stringify(env)}`));

    const loaded = await loadProfile("p", request);

    expect(loaded.profile.env).toEqual(env);
    expect(loaded.warnings).toEqual([]);
  });
});

describe("a ref under env", () => {
  it.each(["local:a", "keychain:svc/acct", "safe:x#y", "env:GITHUB_TOKEN", "file:/run/secrets/token"])(
    "(%s) is told where it belongs",
    async (ref) => {
      const text = await diagnosticsOf(fileOf(`command: npx\nenv: { A: "${ref}" }`));

      expect(text).toContain("`A` is a ref, and `env` holds plain values only");
      expect(text).toContain("Try the same line under `secrets:`");
    },
  );

  it.each(["https://example.com", "env:prod", "file:./dev.db", "local:a and more", "key:value", "12:30"])(
    "is not seen in %j",
    async (value) => {
      expect((await loadBody(`command: npx\nenv: { A: "${value}" }`)).env).toEqual({ A: value });
    },
  );
});

describe("a credential in args", () => {
  it.each([
    [`[${TOKEN}]`, "2:8: `args[0]` looks like a GitHub token"],
    [`["--header", "Authorization: Bearer canary7f3a0123"]`, "`args[1]` looks like an authorization header"],
    [`["--api-key", "canary-7f3a-4b5c6d7e8f"]`, "`args[1]` is plain text under a name for credentials"],
    [`["--api-key=canary-7f3a-4b5c6d7e8f"]`, "`args[0]` is plain text under a name for credentials"],
    [`["postgres://app:canary@db/x"]`, "`args[0]` looks like a URL with a password"],
  ])("%s is refused", async (args, expected) => {
    const messages = await messagesOf(`command: npx\nargs: ${args}`);

    expect(messages).toHaveLength(1);
    expect(messages[0]).toContain(expected);
  });

  it("gets the lines to write instead, named after its flag", async () => {
    const text = await diagnosticsOf(fileOf(`command: npx\nargs: [--api-key, ${TOKEN}]`));

    expect(text).toContain(
      "Try `mcp-run secrets set local:API_KEY`, and under `secrets:` the line `API_KEY: local:API_KEY`; for a server that takes it only as an argument, also `secretsInArgs: [API_KEY]` and `{{API_KEY}}` here",
    );
  });

  it("is not seen in what usually stands there", async () => {
    const args = [
      "-y",
      "@scope/server@1.2.3",
      "--token-file",
      "/run/token",
      "--port",
      "8080",
      "--key",
      "name",
      "--token",
      "{{T}}",
    ];
    const { request, main } = room();
    main(fileOf(`command: npx\nargs: ${JSON.stringify(args)}\nsecrets: { T: local:t }\nsecretsInArgs: [T]`));

    expect((await loadProfile("p", request)).warnings).toEqual([]);
  });

  it("of a secret's own command is refused as well", async () => {
    const messages = await messagesOf(
      `command: npx\nsecrets: { A: { command: [curl, "-H", "Authorization: Bearer canary7f3a0123"] } }`,
    );

    expect(messages).toEqual(["2:39: `command[2]` looks like an authorization header"]);
  });
});

describe("a password in a template", () => {
  it("is refused, since a template is stored in plain text", async () => {
    const text = await diagnosticsOf(
      fileOf('command: npx\nsecrets: { A: local:a, B: { template: "postgres://app:canary7f3a@{{A}}/x" } }'),
    );

    expect(text).toContain("the template of `B` holds what looks like a URL with a password");
    expect(text).not.toContain("canary");
  });
});
