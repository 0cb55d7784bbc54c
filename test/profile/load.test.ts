import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadProfile, loadProviderEntries } from "../../src/profile/load.ts";
import { errorOf, expectCode, loadBody, recordingKinds, room } from "./room.ts";

describe("a profile", () => {
  it("comes out of its file whole", async () => {
    const { request, main, home } = room({ env: { API_HOST: "api.example.com" } });
    const file = main(`
version: 1
providers:
  vault:
    type: safe
    address: https://\${API_HOST}:8200
    auth: { method: approle, roleId: 2f1b, secretId: "keychain:approle" }
profiles:
  github:
    description: GitHub tools
    command: npx
    args: ["-y", "server@1.2.3"]
    cwd: ~/work
    env: { URL: "https://\${API_HOST}/\${STAGE:-prod}" }
    inheritEnv: [HTTPS_PROXY]
    secrets:
      TOKEN: vault:mcp/github#token.inner
      DSN: { from: "vault:prod/sentry", version: 3, mount: kv, optional: true }
      KEY: { from: "local:key", deliver: file }
      PGPASSWORD: { from: "local:db", deliver: none, scrub: false }
      DATABASE_URL: { template: "postgres://app:{{PGPASSWORD|uri}}@db/app" }
      ITEM: { command: [op, read, "op://dev/x/password"], timeout: 5s }
    secretsFrom:
      - { from: "vault:prod/app", prefix: APP_ }
      - { from: "local:doc#inner", only: [A, B], optional: true }
    secretsInArgs: [TOKEN]
    stopGrace: 2.5s
    fetchTimeout: 30s
    maxLine: 1MiB
    refresh: { every: 15m, cron: "0 3 * * *", timezone: Europe/Berlin, restart: sequential, drain: 90s, signal: SIGHUP }
    probe: { tool: get_me, arguments: { deep: [1, { user: true }] } }
    scrub: { stdout: off }
    onCrash: exit
`);

    const { profile, warnings } = await loadProfile("github", request);

    expect(warnings).toEqual([]);
    expect({ ...profile, providers: [...profile.providers] }).toEqual({
      name: "github",
      file,
      description: "GitHub tools",
      command: "npx",
      args: ["-y", "server@1.2.3"],
      cwd: join(home, "work"),
      env: { URL: "https://api.example.com/prod" },
      inheritEnv: ["HTTPS_PROXY"],
      secrets: [
        {
          name: "TOKEN",
          source: {
            type: "ref",
            ref: {
              provider: "vault",
              request: { path: "mcp/github" },
              field: ["token", "inner"],
              text: "vault:mcp/github#token.inner",
            },
          },
          optional: false,
          deliver: "env",
          scrub: true,
        },
        {
          name: "DSN",
          source: {
            type: "ref",
            ref: {
              provider: "vault",
              request: { path: "prod/sentry", version: "3", mount: "kv" },
              text: "vault:prod/sentry",
            },
          },
          optional: true,
          deliver: "env",
          scrub: true,
        },
        {
          name: "KEY",
          source: { type: "ref", ref: { provider: "local", request: { path: "key" }, text: "local:key" } },
          optional: false,
          deliver: "file",
          scrub: true,
        },
        {
          name: "PGPASSWORD",
          source: { type: "ref", ref: { provider: "local", request: { path: "db" }, text: "local:db" } },
          optional: false,
          deliver: "none",
          scrub: false,
        },
        {
          name: "DATABASE_URL",
          source: { type: "template", template: "postgres://app:{{PGPASSWORD|uri}}@db/app" },
          optional: false,
          deliver: "env",
          scrub: true,
        },
        {
          name: "ITEM",
          source: {
            type: "ref",
            ref: {
              provider: "command",
              request: { path: "op", command: ["op", "read", "op://dev/x/password"], timeout: "5s" },
              text: "command:op",
            },
          },
          optional: false,
          deliver: "env",
          scrub: true,
        },
      ],
      secretsFrom: [
        {
          ref: { provider: "vault", request: { path: "prod/app" }, text: "vault:prod/app" },
          prefix: "APP_",
          optional: false,
        },
        {
          ref: { provider: "local", request: { path: "doc" }, field: ["inner"], text: "local:doc#inner" },
          prefix: "",
          only: ["A", "B"],
          optional: true,
        },
      ],
      secretsInArgs: ["TOKEN"],
      stopGraceMs: 2_500,
      fetchTimeoutMs: 30_000,
      maxLineBytes: 2 ** 20,
      refresh: {
        everyMs: 900_000,
        cron: { line: "0 3 * * *", timezone: "Europe/Berlin" },
        restart: "sequential",
        drainMs: 90_000,
        signal: "SIGHUP",
      },
      probe: { tool: "get_me", arguments: { deep: [1, { user: true }] } },
      onCrash: "exit",
      stdout: "off",
      audit: { calls: "off", keptDays: 90 },
      variablesUsed: ["API_HOST", "STAGE"],
      providers: [
        [
          "vault",
          {
            name: "vault",
            type: "safe",
            settings: {
              address: "https://api.example.com:8200",
              auth: { method: "approle", roleId: "2f1b", secretId: "keychain:approle" },
            },
          },
        ],
      ],
    });
  });

  it("needs no more than a command", async () => {
    const profile = await loadBody("command: node");

    expect(profile).toMatchObject({
      args: [],
      env: {},
      inheritEnv: [],
      secrets: [],
      stopGraceMs: 1_500,
      fetchTimeoutMs: 10_000,
      maxLineBytes: 64 * 2 ** 20,
      refresh: { restart: "overlap", drainMs: 600_000 },
      onCrash: "restart",
      stdout: "warn",
    });
    expect(profile).not.toHaveProperty("probe");
    expect(profile.cwd).toBeUndefined();
  });

  it("takes numbers and booleans as they are written", async () => {
    const profile = await loadBody(`
command: node
args: [--port, 8080, --ratio, 1.10, 0x10, true, 010]
env: { A: 1.10, B: 0x10, C: yes, D: false, E: 1e3, F: "", G: 2026-01-02, H: ~/x }`);

    expect(profile.args).toEqual(["--port", "8080", "--ratio", "1.10", "0x10", "true", "010"]);
    expect(profile.env).toEqual({
      A: "1.10",
      B: "0x10",
      C: "yes",
      D: "false",
      E: "1e3",
      F: "",
      G: "2026-01-02",
      H: "~/x",
    });
  });

  it("may use anchors and aliases", async () => {
    const { request, main } = room();
    main(
      "version: 1\nprofiles:\n  a: &a { command: npx, args: &args [1.0] }\n  b: { command: node, args: *args }\n  c: *a\n",
    );

    expect((await loadProfile("b", request)).profile.args).toEqual(["1.0"]);
    expect((await loadProfile("c", request)).profile.command).toBe("npx");
  });

  it("may begin with a byte order mark and have Windows line ends", async () => {
    const { request, main } = room();
    main("\uFEFFversion: 1\r\nprofiles:\r\n  p:\r\n    command: npx\r\n");

    expect((await loadProfile("p", request)).profile.command).toBe("npx");
  });

  it("goes over the defaults: mappings key by key, anything else as a whole", async () => {
    const { request, main } = room();
    main(`
version: 1
defaults:
  command: npx
  args: [a, b]
  env: { A: default, B: default }
  secrets: { S: local:default, T: { from: "local:default", optional: true } }
  stopGrace: 3s
profiles:
  p:
    args: [c]
    env: { B: own, C: own }
    secrets: { T: local:own }
`);

    const { profile } = await loadProfile("p", request);

    expect(profile.command).toBe("npx");
    expect(profile.args).toEqual(["c"]);
    expect(profile.env).toEqual({ A: "default", B: "own", C: "own" });
    expect(profile.stopGraceMs).toBe(3_000);
    expect(profile.secrets.map(({ name, optional }) => [name, optional])).toEqual([
      ["S", false],
      ["T", false],
    ]);
  });

  it("takes its cache from the defaults, says for how long itself, or wants none", async () => {
    const { request, main } = room();
    main(`
version: 1
defaults: { command: npx, cache: { maxAge: 24h } }
profiles:
  usual: {}
  longer: { cache: { maxAge: 7d } }
  none: { cache: off }
`);
    const maxAges = ["usual", "longer", "none"].map(
      async (name) => (await loadProfile(name, request)).profile.cacheMaxAgeMs,
    );

    expect(await Promise.all(maxAges)).toEqual([86_400_000, 7 * 86_400_000, undefined]);
  });

  it("is found at fault in the defaults where the defaults are at fault", async () => {
    const { request, main } = room();
    main(
      "version: 1\ndefaults:\n  env: { A: 'local:x' }\nprofiles:\n  p: { command: npx, env: { B: 'local:y' } }\n",
    );

    const error = await expectCode(loadProfile("p", request), "profile-invalid");

    expect(
      error.details.filter((line) => line.includes("is a ref")).map((line) => line.split(":")[1]),
    ).toEqual(["3", "5"]);
  });

  it("is not refused for a mistake in another profile", async () => {
    const { request, main } = room();
    main("version: 1\nprofiles:\n  p: { command: npx }\n  q: { comand: npx, args: 3 }\n");

    expect((await loadProfile("p", request)).profile.command).toBe("npx");
  });

  it("reports the mistakes of the whole file once there is one of its own", async () => {
    const { request, main } = room();
    main("version: 1\nprofiles:\n  q: { comand: npx, args: 3 }\n  p: { command: 3 }\n");

    const error = await expectCode(loadProfile("p", request), "profile-invalid");

    expect(error.message).toMatch(/: 4 errors$/);
    expect(error.exitCode).toBe(78);
  });

  it("can't have the name of a command", async () => {
    const { request, main } = room();
    main("version: 1\nprofiles:\n  check: { command: npx }\n");

    const error = await expectCode(loadProfile("check", request), "profile-invalid");

    expect(error.details[0]).toMatch(/:3:3: a profile can't be called `check`: it is a command$/);
  });

  it.each(["a b", "-x", "x.yaml", "a".repeat(65), ".hidden"])("can't be called %j", async (name) => {
    const { request, write } = room();
    const file = write("some.yaml", `version: 1\nprofiles:\n  ${JSON.stringify(name)}: { command: npx }\n`);

    const error = await expectCode(loadProfile(file, request), "profile-invalid");

    expect(error.details[0]).toMatch(/:3:3: a profile's name is made of/);
  });
});

describe("the providers of a profile", () => {
  it("are loaded only when one of its refs needs them", async () => {
    const kinds = recordingKinds();

    await loadBody("command: npx\nsecrets: { A: local:a, B: local:b, C: { template: '{{A}}' } }", { kinds });

    expect(kinds.loaded).toEqual(["local"]);
  });

  it("are followed through the refs in their settings", async () => {
    const kinds = recordingKinds();
    const { request, main } = room({ kinds });
    main(`
version: 1
providers:
  one: { type: safe, address: "https://a.example", auth: { method: token, token: "two:t" } }
  two: { type: safe, address: "https://b.example", auth: { method: token, token: "keychain:t" } }
  three: { type: safe }
profiles:
  p: { command: npx, secrets: { A: one:a } }
`);

    const { profile } = await loadProfile("p", request);

    expect(kinds.loaded).toEqual(["safe", "safe", "keychain"]);
    expect([...profile.providers.keys()].sort()).toEqual(["one", "three", "two"]);
  });

  it("that are not used are checked only on request", async () => {
    const { request, main } = room();
    main("version: 1\nproviders:\n  one: { type: safe }\nprofiles:\n  p: { command: npx }\n");

    await loadProfile("p", request);
    const error = await expectCode(
      loadProfile("p", { ...request, checkAllProviders: true }),
      "profile-invalid",
    );

    expect(error.details[0]).toMatch(/:3:3: `address` is missing$/);
  });

  it("can be had without a profile", async () => {
    const { request, main } = room({ env: { HOST: "h.example" } });

    expect(await loadProviderEntries(request)).toEqual(new Map());
    main(
      // biome-ignore lint/suspicious/noTemplateCurlyInString: the file's own syntax
      "version: 1\nproviders:\n  one: { type: safe, address: 'https://${HOST}' }\n  two: { type: safe, address: '${UNSET}' }\nprofiles: {}\n",
    );

    expect((await loadProviderEntries(request, ["one"])).get("one")).toEqual({
      name: "one",
      type: "safe",
      settings: { address: "https://h.example" },
    });
    expect((await errorOf(loadProviderEntries(request, ["two"]))).details[0]).toMatch(
      /:4:32: the variable `UNSET` is not set$/,
    );
  });
});
