import { describe, expect, it } from "vitest";
import type { ResolveRequest } from "../../src/secrets/resolution.ts";
import { resolveSecrets } from "../../src/secrets/resolve.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { scriptedBackend } from "../helpers/scripted-backend.ts";
import { failure, ref, request, secret, template, valuesOf } from "./requests.ts";

async function tried(
  values: Record<string, string>,
  candidates: Record<string, string>,
  rest: Partial<ResolveRequest>,
) {
  const backend = scriptedBackend({ name: "vault", values });
  const given = Object.entries(candidates).map(([name, value]) => [name, new Secret(value)] as const);
  return resolveSecrets(request([backend], { ...rest, candidates: new Map(given) }));
}

describe("a candidate", () => {
  it("stands in for the value of the backend, and for nothing else", async () => {
    const resolved = await tried(
      { a: "canary-a", b: "canary-b" },
      { A: "canary-new" },
      { secrets: [secret("A", "vault:a", { deliver: "file" }), secret("B", "vault:b")] },
    );
    expect(valuesOf(resolved)).toEqual({ A: "canary-new", B: "canary-b" });
    expect(resolved.secrets[0]).toMatchObject({ deliver: "file", from: "vault:a" });
  });

  it("is put into its document, where all see it that are made of it", async () => {
    const resolved = await tried(
      { d: '{"user":"canary-user","pass":"canary-old"}' },
      { PASS: "canary-new" },
      {
        secrets: [
          secret("PASS", "vault:d#pass", { deliver: "none" }),
          secret("SAME", "vault:d#pass"),
          secret("USER", "vault:d#user"),
          template("DSN", "db://{{USER}}:{{PASS}}@host"),
        ],
        secretsFrom: [{ ref: ref("vault:d"), prefix: "DB_", optional: false }],
      },
    );
    expect(valuesOf(resolved)).toEqual({
      PASS: "canary-new",
      SAME: "canary-new",
      USER: "canary-user",
      DSN: "db://canary-user:canary-new@host",
      DB_user: "canary-user",
      DB_pass: "canary-new",
    });
  });

  it("is found by the name that secretsFrom gives it, in the document that has it", async () => {
    const resolved = await tried(
      { one: '{"A":"canary-a"}', two: '{"B":"canary-b"}' },
      { B: "canary-new" },
      {
        secretsFrom: [
          { ref: ref("vault:one"), prefix: "", optional: false },
          { ref: ref("vault:two"), prefix: "", optional: false },
        ],
      },
    );
    expect(valuesOf(resolved)).toEqual({ A: "canary-a", B: "canary-new" });
  });

  it("can be the first that is there", async () => {
    const resolved = await tried(
      {},
      { WHOLE: "canary-one", FIELD: "canary-two" },
      { secrets: [secret("WHOLE", "vault:a"), secret("FIELD", "vault:b#key")] },
    );
    expect(valuesOf(resolved)).toEqual({ WHOLE: "canary-one", FIELD: "canary-two" });
  });

  it("hides no failure of the backend where more of the document is needed", async () => {
    const work = tried({ d: "no JSON" }, { A: "canary-new" }, { secrets: [secret("A", "vault:d#a")] });
    expect((await failure(work)).message).toMatch(/^Cannot read secret A from vault:d#a: /);
  });

  it("is passed over if nothing in the profile has its name", async () => {
    const secrets = [secret("A", "vault:a"), template("T", "x{{A}}")];
    const resolved = await tried({ a: "canary-a" }, { NOBODY: "canary-x", T: "canary-t" }, { secrets });
    expect(valuesOf(resolved)).toEqual({ A: "canary-a", T: "xcanary-a" });
  });
});
