import { describe, expect, it } from "vitest";
import { issuerFor, mintedAlong } from "../../../src/rotation/issuers/issuer-for.ts";
import type { RotateSpec, SecretSpec } from "../../../src/secrets/spec.ts";
import { errorOf } from "../../profile/room.ts";
import { never, person, REQUEST } from "./asking.ts";

function secret(name: string, rotate?: RotateSpec): SecretSpec {
  const ref = { provider: "local", request: { path: name }, text: `local:${name}` };
  return {
    name,
    source: { type: "ref", ref },
    optional: false,
    deliver: "env",
    scrub: true,
    ...(rotate && { rotate }),
  };
}

const asking = (ask: ReturnType<typeof person> | undefined) => ({
  ask,
  env: {},
  home: "/",
  quotable: (text: string) => text,
  async runProgram(request: { input?: string }) {
    const { with: along = [] } = JSON.parse(request.input ?? "{}");
    const answer = {
      value: "canary-hook",
      with: Object.fromEntries(along.map((name: string) => [name, "v"])),
    };
    return { type: "exited", exitCode: 0, stdout: Buffer.from(JSON.stringify(answer)), stderr: "" } as const;
  },
});

const GENERATE: RotateSpec = {
  source: { type: "generate", shape: { bytes: 32, encoding: "hex" } },
  with: [],
};
const CONSOLE: RotateSpec = { source: { type: "console", url: "https://a.example" }, with: ["ID", "OWN"] };
const HOOK: RotateSpec = {
  source: { type: "hook", argv: ["hook"], grantsOldValue: false },
  with: ["ID", "OWN"],
};

describe("the issuer of a secret", () => {
  it.each([
    ["generate", GENERATE],
    ["console", CONSOLE],
    ["hook", HOOK],
  ])("is the one of its profile: %s", (kind, rotate) => {
    const one = secret("KEY", rotate);

    expect(issuerFor(one, [one], asking(undefined)).kind).toBe(kind);
  });

  it.each([
    ["hook", HOOK],
    ["console", CONSOLE],
  ])("mints along what has no issuer of its own: %s", async (_kind, rotate) => {
    const all = [secret("KEY", rotate), secret("ID"), secret("OWN", GENERATE)];
    const [key] = all as [SecretSpec];

    expect(mintedAlong(key, all)).toEqual(["ID"]);
    const around = asking(person(["canary-key", "v"]));
    const minted = await issuerFor(key, all, around).mint(REQUEST, never());
    expect([...(minted.along ?? [])].map(([name, value]) => [name, value.reveal()])).toEqual([["ID", "v"]]);
  });

  it("is none where the profile names none", async () => {
    const one = secret("KEY");

    const error = await errorOf((async () => issuerFor(one, [one], asking(undefined)))());

    expect(error).toMatchObject({
      code: "usage",
      message: "Cannot rotate KEY: the profile does not say where a new one comes from",
      hint: "`rotate: { console: URL }` at KEY, or `--from-stdin`",
    });
  });
});
