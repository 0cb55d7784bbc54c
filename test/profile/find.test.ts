import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { listProfiles, loadProfile } from "../../src/profile/load.ts";
import { expectCode, room } from "./room.ts";

const ONE = "command: npx\n";

/** A file of these profiles; the command says which file it is. */
function many(command: string, ...names: string[]): string {
  return ["version: 1", "profiles:", ...names.map((name) => `  ${name}: { command: ${command} }`), ""].join(
    "\n",
  );
}

describe("a profile by name", () => {
  it("is found in the main file, and in a file of its own", async () => {
    const { request, main, write } = room();
    main(many("main", "a"));
    const own = write(".config/mcp-run/profiles/b.yaml", "description: own\ncommand: own\n");

    expect((await loadProfile("a", request)).profile.command).toBe("main");
    expect((await loadProfile("b", request)).profile).toMatchObject({ name: "b", command: "own", file: own });
  });

  it("is refused when both have it", async () => {
    const { request, main, write } = room();
    main(many("main", "a"));
    write(".config/mcp-run/profiles/a.yaml", ONE);

    const error = await expectCode(loadProfile("a", request), "profile-invalid");

    expect(error.message).toMatch(/both .*mcp-run\.yaml and .*a\.yaml have it$/);
  });

  it("is found in its own file even when the main file is broken", async () => {
    const { request, main, write } = room();
    main("version: [");
    write(".config/mcp-run/profiles/a.yaml", ONE);

    expect((await loadProfile("a", request)).profile.command).toBe("npx");
  });

  it("is looked for only in the file after --config, or else in that of MCP_RUN_CONFIG", async () => {
    const { request, main, write, home } = room();
    main(many("main", "a", "only-main"));
    write("flag.yaml", many("flag", "a"));
    write("env.yaml", many("env", "a"));
    const env = { ...request.env, MCP_RUN_CONFIG: "~/env.yaml" };

    expect((await loadProfile("a", { ...request, env })).profile.command).toBe("env");
    expect((await loadProfile("a", { ...request, env, configFile: "../flag.yaml" })).profile.command).toBe(
      "flag",
    );
    expect((await loadProfile("a", { ...request, env: { MCP_RUN_CONFIG: "" } })).profile.command).toBe(
      "main",
    );
    const error = await expectCode(loadProfile("only-main", { ...request, env }), "profile-not-found");
    expect(error.message).toBe(`Cannot find profile "only-main": ${join(home, "env.yaml")} does not have it`);
  });

  it("is never taken from the working directory, but the way to it is named", async () => {
    const { request, main, write } = room();
    main(many("main", "a"));
    write("work/mcp-run.yaml", many("evil", "github"));

    const error = await expectCode(loadProfile("github", request), "profile-not-found");

    expect(error.exitCode).toBe(66);
    expect(error.hint).toBe(
      "`--config ./mcp-run.yaml` (a file in the working directory is never used by itself)",
    );
    expect((await loadProfile("github", { ...request, configFile: "./mcp-run.yaml" })).profile.command).toBe(
      "evil",
    );
  });

  it("that does not exist is answered with those that are near", async () => {
    const { request, main, write } = room();
    main(many("main", "github", "gitlab", "postgres"));
    write(".config/mcp-run/profiles/github-work.yaml", ONE);

    expect((await expectCode(loadProfile("githob", request), "profile-not-found")).hint).toBe(
      "`github` or `gitlab`",
    );
    expect((await expectCode(loadProfile("github-wrok", request), "profile-not-found")).hint).toMatch(
      /^`github-work`/,
    );
    expect((await expectCode(loadProfile("chekc", request), "profile-not-found")).hint).toBe(
      "`mcp-run check`",
    );
    expect((await expectCode(loadProfile("zzzzzz", request), "profile-not-found")).hint).toBe(
      "one of github, gitlab, postgres, github-work",
    );
  });

  it("on a machine without any says how to begin", async () => {
    const { request, home } = room();

    const error = await expectCode(loadProfile("github", request), "profile-not-found");

    expect(error.message).toBe(
      `Cannot find profile "github": there is neither ${home}/.config/mcp-run/mcp-run.yaml nor a file in ${home}/.config/mcp-run/profiles`,
    );
    expect(error.hint).toBe("`mcp-run init`, which writes a profile to begin with");
  });

  it("is not «not found» when the file's top is misspelt", async () => {
    const { request, main } = room();
    main("version: 1\nprofilez:\n  a: { command: npx }\n");

    const error = await expectCode(loadProfile("a", request), "profile-invalid");

    expect(error.details.join("\n")).toContain("unknown key `profilez`, did you mean `profiles`?");
  });

  it.each(["", "..", "a\0b", "\u001b[31m", "__proto__", "constructor", "x".repeat(5_000)])(
    "that is no name is not found (%#)",
    async (name) => {
      const { request, main } = room();
      main(many("main", "a"));

      const error = await expectCode(loadProfile(name, request), "profile-not-found");

      expect(error.message.length).toBeLessThan(300);
      expect(error.message).not.toContain("\u001b");
    },
  );
});

describe("a profile by path", () => {
  it("is the only one of its file", async () => {
    const { request, write } = room();
    const one = write("one.yaml", ONE);
    write("work/many.yaml", many("many", "a"));

    expect((await loadProfile(one, request)).profile.name).toBe("one");
    expect((await loadProfile("./many.yaml", request)).profile.name).toBe("a");
    expect((await loadProfile("many.yaml", request)).profile.name).toBe("a");
    expect((await loadProfile("~/one.yaml", request)).profile.name).toBe("one");
  });

  it("goes before MCP_RUN_CONFIG, and not together with --config", async () => {
    const { request, write } = room();
    const one = write("one.yaml", ONE);

    expect((await loadProfile(one, { ...request, env: { MCP_RUN_CONFIG: "/none.yaml" } })).profile.name).toBe(
      "one",
    );
    const error = await expectCode(loadProfile(one, { ...request, configFile: one }), "usage");
    expect(error.exitCode).toBe(64);
  });

  it("to a file of several says how to choose", async () => {
    const { request, write } = room();
    write("work/many.yaml", many("many", "a", "b"));

    const error = await expectCode(loadProfile("./many.yaml", request), "usage");

    expect(error.hint).toBe("`--config ./many.yaml a`; it has a, b");
  });

  it("to a file of none says so at the place where they should be", async () => {
    const { request, write } = room();
    const file = write("none.yaml", "version: 1\nprofiles: {}\n");

    const error = await expectCode(loadProfile(file, request), "profile-invalid");

    expect(error.details[0]).toMatch(/:2:11: there is no profile in this file$/);
  });

  it("to nothing is not found", async () => {
    const { request, home } = room();

    const error = await expectCode(loadProfile("./nope.yaml", request), "profile-not-found");

    expect(error.message).toBe(`Cannot load ${home}/work/nope.yaml: there is no such file`);
    await expectCode(loadProfile("a", { ...request, configFile: "nope.yaml" }), "profile-not-found");
  });
});

describe("a file of one profile", () => {
  it("may bring its version and its providers", async () => {
    const { request, write } = room();
    const file = write(
      "one.yaml",
      "version: 1\nproviders:\n  s: { type: safe, address: 'https://s.example' }\ncommand: npx\nsecrets: { A: s:a }\n",
    );

    expect((await loadProfile(file, request)).profile.providers.get("s")?.type).toBe("safe");
  });

  it("does not see the providers of the main file", async () => {
    const { request, main, write } = room();
    main("version: 1\nproviders:\n  s: { type: safe, address: 'https://s.example' }\nprofiles: {}\n");
    write(".config/mcp-run/profiles/a.yaml", "command: npx\nsecrets: { A: s:a }\n");

    const error = await expectCode(loadProfile("a", request), "profile-invalid");

    expect(error.details[0]).toMatch(/:2:15: there is no provider `s`/);
  });

  it("of the profiles folder can't hold several", async () => {
    const { request, write } = room();
    write(".config/mcp-run/profiles/a.yaml", many("many", "a"));

    const error = await expectCode(loadProfile("a", request), "profile-invalid");

    expect(error.details.join("\n")).toContain("a file of the `profiles` folder holds one profile");
  });
});

describe("the list of profiles", () => {
  it("has those of every file, with their descriptions, checked or not", async () => {
    const { request, main, write, home } = room();
    const file = main("version: 1\nprofiles:\n  a: { description: first, comand: x }\n  b: 3\n");
    const own = write(".config/mcp-run/profiles/c.yaml", "description: third\ncommand: npx\n");
    const broken = write(".config/mcp-run/profiles/broken.yaml", "a: [");
    write(".config/mcp-run/profiles/notes.txt", "no profile");
    symlinkSync("/nonexistent", join(home, ".config/mcp-run/profiles/gone.yaml"));

    expect(await listProfiles(request)).toEqual([
      { name: "a", file, description: "first" },
      { name: "b", file },
      { name: "broken", file: broken },
      { name: "c", file: own, description: "third" },
      { name: "gone", file: join(home, ".config/mcp-run/profiles/gone.yaml") },
    ]);
  });

  it("is that of one file after --config", async () => {
    const { request, main, write } = room();
    main(many("main", "a"));
    const file = write("other.yaml", many("other", "b"));

    expect(await listProfiles({ ...request, configFile: file })).toEqual([{ name: "b", file }]);
  });

  it("is empty on a new machine, and refused for a main file that can't be read", async () => {
    const { request, main } = room();

    expect(await listProfiles(request)).toEqual([]);
    main("version: [");
    await expectCode(listProfiles(request), "profile-invalid");
  });
});
