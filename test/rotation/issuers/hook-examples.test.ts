/** The hooks of docs/hooks, each against a service of its kind on loopback. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { quotable } from "../../../src/commands/quotable.ts";
import type { Issuer } from "../../../src/rotation/contract.ts";
import { hookIssuer } from "../../../src/rotation/issuers/hook.ts";
import { runProgram } from "../../../src/secrets/run-program.ts";
import { Secret } from "../../../src/secrets/secret.ts";
import { errorOf } from "../../profile/room.ts";
import { never, REQUEST } from "./asking.ts";
import {
  ADMIN,
  type FakeService,
  fakeCloudflare,
  fakeGitLab,
  fakeGrafana,
  fakeIam,
  type Key,
} from "./fake-services.ts";

const FOLDER = join(import.meta.dirname, "../../../docs/hooks");

interface Example {
  readonly file: string;
  readonly start: () => Promise<FakeService>;
  readonly args: (service: FakeService) => readonly string[];
  readonly env: (service: FakeService) => Readonly<Record<string, string>>;
  /** The name of a key that somebody has made before. */
  readonly oldName: string;
  /** The hook can tell by the value which key is meant. */
  readonly knowsValues: boolean;
  /** Whether a key is accepted can be asked with the key itself. */
  readonly triesValues: boolean;
  readonly along: readonly string[];
}

const EXAMPLES: readonly Example[] = [
  {
    file: "grafana-token.mjs",
    start: fakeGrafana,
    args: ({ url }) => [url, "7"],
    env: () => ({ GRAFANA_ADMIN_TOKEN: ADMIN }),
    oldName: "by hand",
    knowsValues: false,
    triesValues: true,
    along: [],
  },
  {
    file: "gitlab-project-token.mjs",
    start: fakeGitLab,
    args: ({ url }) => [url, "group/project", "read_api,read_repository", "20", "90"],
    env: () => ({ GITLAB_ADMIN_TOKEN: ADMIN }),
    oldName: "by hand",
    knowsValues: true,
    triesValues: true,
    along: [],
  },
  {
    file: "cloudflare-token.mjs",
    start: fakeCloudflare,
    args: () => ["dns-tools"],
    env: ({ url }) => ({ CLOUDFLARE_API_TOKEN: ADMIN, CLOUDFLARE_BASE_URL: url }),
    oldName: "dns-tools",
    knowsValues: true,
    triesValues: true,
    along: [],
  },
  {
    file: "aws-access-key.mjs",
    start: fakeIam,
    args: () => ["mcp-server"],
    env: ({ url }) => ({
      AWS_ACCESS_KEY_ID: "AKIAADMIN",
      AWS_SECRET_ACCESS_KEY: ADMIN,
      AWS_ENDPOINT_URL_IAM: url,
    }),
    oldName: "",
    // The tag says which key was there before, once the rotation has minted.
    knowsValues: false,
    triesValues: false,
    along: ["KEY_ID"],
  },
];

let service: FakeService;
let old: Key;

afterEach(() => service.close());

function issuerOf(example: Example, over: { env?: object; args?: readonly string[] } = {}): Issuer {
  const argv = [
    process.execPath,
    join(FOLDER, example.file),
    ...(over.args ?? example.args(service)),
  ] as const;
  return hookIssuer({ type: "hook", argv: [...argv], grantsOldValue: true }, example.along, {
    runProgram,
    env: { PATH: process.env.PATH, ...example.env(service), ...over.env },
    home: "/",
    quotable,
  });
}

// Each starts a program with an SDK, one after the other.
describe.each(EXAMPLES)("the hook $file", { timeout: 240_000 }, (example) => {
  beforeEach(async () => {
    service = await example.start();
    old = service.add(example.oldName);
  });

  it("mints a key beside the old one", async () => {
    const { value, keyId, along } = await issuerOf(example).mint(REQUEST, never());

    const [, made] = service.keys;
    expect(value.reveal()).toBe(made?.value);
    expect(keyId).toBe(made?.id);
    expect([...(along ?? [])].map(([name, id]) => [name, id.reveal()])).toEqual(
      example.along.map((name) => [name, made?.id]),
    );
    expect(service.keys.map(({ isAccepted }) => isAccepted)).toEqual([true, true]);
  });

  it("ends after a crash what it has minted and nobody has got, and nothing else", async () => {
    const issuer = issuerOf(example);
    expect(await issuer.find(REQUEST, never())).toBeUndefined();
    await issuer.mint(REQUEST, never());

    expect(await issuer.find({ ...REQUEST, rotationId: "20270116-120000-other" }, never())).toBeUndefined();
    expect(service.keys.map(({ isAccepted }) => isAccepted)).toEqual([true, true]);
    expect(await issuer.find(REQUEST, never())).toBeUndefined();
    expect(service.keys.map(({ isAccepted }) => isAccepted)).toEqual([true, false]);

    const { value } = await issuer.mint(REQUEST, never());
    expect(value.reveal()).toBe(service.keys[2]?.value);
    expect(service.keys.map(({ isAccepted }) => isAccepted)).toEqual([true, false, true]);
  });

  it("revokes the key that is named, however often, and knows that it is refused", async () => {
    const issuer = issuerOf(example);
    const key = { keyId: old.id, ...(example.triesValues && { value: new Secret(old.value) }) };
    const { keyId: madeId = "" } = await issuer.mint(REQUEST, never());

    expect(await issuer.verify(REQUEST, key, never())).toBe("accepted");
    expect(await issuer.verify(REQUEST, { keyId: old.id }, never())).toBe("accepted");
    expect(await issuer.revoke(REQUEST, key, never())).toBe("revoked");
    expect(await issuer.revoke(REQUEST, key, never())).toBe("revoked");
    expect(await issuer.verify(REQUEST, key, never())).toBe("refused");
    expect(await issuer.verify(REQUEST, { keyId: old.id }, never())).toBe("refused");
    expect(await issuer.verify(REQUEST, { keyId: madeId }, never())).toBe("accepted");
    expect(service.keys.map(({ isAccepted }) => isAccepted)).toEqual([false, true]);
  });

  it("says that it does not know where it can't", async () => {
    const issuer = issuerOf(example);

    expect(await issuer.revoke(REQUEST, {}, never())).toBe("unknown");
    expect(await issuer.verify(REQUEST, {}, never())).toBe("unknown");
    expect(old.isAccepted).toBe(true);
  });

  it.runIf(example.knowsValues)("revokes a key of which only the value is known", async () => {
    const issuer = issuerOf(example);
    const key = { value: new Secret(old.value) };

    expect(await issuer.revoke(REQUEST, key, never())).toBe("revoked");
    expect(old.isAccepted).toBe(false);
    expect(await issuer.revoke(REQUEST, key, never())).toBe("revoked");
    expect(await issuer.verify(REQUEST, key, never())).toBe("refused");
  });

  it.each([403, 302])(
    "fails with the status of a refusal, and with nothing of what was said: %i",
    async (status) => {
      service.failWith(status);

      const key = { keyId: old.id, value: new Secret(old.value) };
      for (const work of [
        () => issuerOf(example).mint(REQUEST, never()),
        () => issuerOf(example).revoke(REQUEST, key, never()),
      ]) {
        const error = await errorOf(work());
        expect(error.message).toContain(`its hook ${example.file}: it exited with code 1 | `);
        if (status !== 302) expect(error.message).toContain(`HTTP ${status}`);
        expect(inspect(error)).not.toContain("canary-");
      }
      expect(service.requests).not.toContain("GET /elsewhere");
    },
  );

  it("can't do anything without its credentials", async () => {
    const names = Object.keys(example.env(service)).filter((name) => !/URL/.test(name));
    const env = Object.fromEntries(names.map((name) => [name, undefined]));

    const error = await errorOf(issuerOf(example, { env }).mint(REQUEST, never()));

    expect(error.message).toMatch(/it exited with code 1 \| \w+_\w+.* (?:is|are) not set$/);
    expect(service.requests).toEqual([]);
  });

  it("sends no credential without TLS to another machine", async () => {
    const elsewhere = { ...service, url: "http://192.0.2.1:1" };
    const over = { args: example.args(elsewhere), env: example.env(elsewhere) };

    const error = await errorOf(issuerOf(example, over).mint(REQUEST, never()));

    expect(error.message).toContain("the address needs https");
  });
});

describe("the hook gitlab-project-token.mjs", () => {
  const example = EXAMPLES.find(({ file }) => file.startsWith("gitlab")) as Example;

  beforeEach(async () => {
    service = await example.start();
  });

  it("ends no token of another secret whose name begins alike", async () => {
    const issuer = issuerOf(example);
    await issuer.mint(REQUEST, never());
    await issuer.mint({ ...REQUEST, secret: "TOKEN_2" }, never());

    await issuer.find(REQUEST, never());

    expect(service.keys.map(({ name, isAccepted }) => [name, isAccepted])).toEqual([
      [`mcp-run ${REQUEST.rotationId} TOKEN`, false],
      [`mcp-run ${REQUEST.rotationId} TOKEN_2`, true],
    ]);
  });
});

describe("the hook cloudflare-token.mjs", () => {
  const example = EXAMPLES.find(({ file }) => file.startsWith("cloudflare")) as Example;

  beforeEach(async () => {
    service = await example.start();
  });

  it("looks through all pages for the token whose rights it takes over", async () => {
    for (let index = 0; index < 60; index++) service.add(`other-${index}`);
    service.add("dns-tools");

    const { keyId } = await issuerOf(example).mint(REQUEST, never());

    expect(service.keys.at(-1)).toMatchObject({ id: keyId, name: `dns-tools mcp-run ${REQUEST.rotationId}` });
  });

  it("makes nothing where there is no such token", async () => {
    service.add("dns-tools-of-others");

    const error = await errorOf(issuerOf(example).mint(REQUEST, never()));

    expect(error.message).toContain("there is no token dns-tools whose rights a new one could have");
  });
});

describe("the hook aws-access-key.mjs", () => {
  const example = EXAMPLES.find(({ file }) => file.startsWith("aws")) as Example;

  beforeEach(async () => {
    service = await example.start();
    old = service.add("");
  });

  it("knows the old key by itself, makes it inactive, and deletes it only at the next rotation", async () => {
    const issuer = issuerOf(example);
    await issuer.mint(REQUEST, never());

    expect(await issuer.verify(REQUEST, {}, never())).toBe("accepted");
    expect(await issuer.revoke(REQUEST, {}, never())).toBe("revoked");
    expect(await issuer.verify(REQUEST, {}, never())).toBe("refused");
    expect(service.requests).not.toContain("DeleteAccessKey");

    await issuer.mint({ ...REQUEST, rotationId: "20270301-120000-second" }, never());
    expect(service.requests.filter((action) => action === "DeleteAccessKey")).toHaveLength(1);
    expect(service.keys.map(({ isAccepted }) => isAccepted)).toEqual([false, true, true]);
  });

  it("touches neither of two keys that are active", async () => {
    service.add("");

    const error = await errorOf(issuerOf(example).mint(REQUEST, never()));

    expect(error.message).toContain(
      "mcp-server has two active keys; one of them must be made inactive first",
    );
    expect(service.requests).not.toContain("DeleteAccessKey");
    expect(service.requests).not.toContain("TagUser");
  });
});

describe("every hook of the docs", () => {
  beforeEach(async () => {
    service = await fakeGrafana();
  });

  it("is tested, and can be started", () => {
    const files = readdirSync(FOLDER);

    expect(files.sort()).toEqual(EXAMPLES.map(({ file }) => file).sort());
    for (const file of files) expect(statSync(join(FOLDER, file)).mode & 0o111, file).toBe(0o111);
  });
});
