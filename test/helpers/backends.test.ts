import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { backendPath, lookFor } from "./backends.ts";

let folder = "";
let env: NodeJS.ProcessEnv;

function program(...path: readonly string[]): string {
  const file = join(folder, ...path);
  mkdirSync(join(file, ".."), { recursive: true });
  writeFileSync(file, "#!/bin/sh\n", { mode: 0o755 });
  return file;
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "mcp-run-backends-"));
  env = { PATH: join(folder, "bin"), MCP_RUN_BACKENDS_CACHE: join(folder, "cache") };
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("a real backend", () => {
  it("is looked for in its variable, then in the cache, then in the PATH, OpenBao before Vault", () => {
    const found = [program("bin", "vault")];
    const look = () => backendPath("vault", env);
    expect(look()).toBe(found[0]);

    const bao = program("bin", "bao");
    expect(look()).toBe(bao);

    const cached = program("cache", "vault");
    expect(look()).toBe(cached);

    env.MCP_RUN_TEST_VAULT = "/opt/bao";
    expect(look()).toBe("/opt/bao");
  });

  it("need not be a program: lowkey-vault is a jar", () => {
    const jar = program("cache", "lowkey-vault.jar");

    expect(backendPath("lowkey-vault", env)).toBe(jar);
  });

  it("is named when it is nowhere", () => {
    expect(() => backendPath("moto", env)).toThrow("moto is not on this machine; .ci/install-backends");
  });

  it("may be absent, unless it is required", () => {
    program("bin", "dbus-daemon");
    const needs = ["dbus-daemon", "moto"];

    expect(lookFor(needs, env)).toEqual({ absent: ["moto"], isFailure: false });
    expect(lookFor(needs, { ...env, MCP_RUN_REQUIRE_BACKENDS: "1" })).toMatchObject({ isFailure: true });
  });

  it("may be absent although it is required, where it is known that it can't be had", () => {
    const required = {
      ...env,
      MCP_RUN_REQUIRE_BACKENDS: "1",
      MCP_RUN_BACKENDS_NOT_HERE: "oracle,lowkey-vault",
    };

    expect(lookFor(["lowkey-vault"], required)).toEqual({ absent: ["lowkey-vault"], isFailure: false });
    expect(lookFor(["lowkey-vault", "vault"], required)).toMatchObject({ isFailure: true });
  });
});
