import { describe, expect, it } from "vitest";
import { checkSecretNames, isDangerousName } from "../../src/launch/dangerous-names.ts";

describe("names that no secret may have", () => {
  it.each(
    `LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT DYLD_INSERT_LIBRARIES NODE_OPTIONS NODE_PATH PATH BASH_ENV ENV IFS PS4
    PYTHONSTARTUP PYTHONPATH PERL5OPT RUBYOPT JAVA_TOOL_OPTIONS GIT_SSH_COMMAND BASH_FUNC_ls%%`.split(/\s+/),
  )("include %s", (name) => {
    expect(() => checkSecretNames(["OK", name], "linux")).toThrow(`Cannot pass secret ${name}: `);
  });

  it.each(["", "A=B", "A\0B"])("include %j, which is no name", (name) => {
    expect(() => checkSecretNames([name], "linux")).toThrow(`Cannot pass secret ${JSON.stringify(name)}: `);
  });

  it("do not include ordinary ones", () => {
    expect(() =>
      checkSecretNames(["TOKEN", "PGPASSWORD", "my-key", "LDAP_PASSWORD", "Path"], "linux"),
    ).not.toThrow();
  });

  it("are the same whatever their case on Windows", () => {
    expect(isDangerousName("Path", "win32")).toBe(true);
    expect(isDangerousName("node_options", "win32")).toBe(true);
  });
});
