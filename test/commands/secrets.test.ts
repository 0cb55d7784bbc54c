/** `mcp-run secrets …` with one field of a document, on the local store. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Installation } from "../helpers/installation.ts";

let mcpRun: Installation;

beforeEach(() => {
  mcpRun = new Installation();
});

afterEach(() => mcpRun.remove());

const revealed = (ref: string) => mcpRun.run(["secrets", "get", ref, "--reveal"]).stdout;

describe("mcp-run secrets set REF#field", () => {
  it("changes one field of a document, and no other character", () => {
    mcpRun.set("local:db", '{ "user": "app", "password": "canary-old", "id": 12345678901234567890 }');

    const ran = mcpRun.run(["secrets", "set", "local:db#password"], { input: "canary-new\n" });

    expect(ran).toMatchObject({ status: 0, stdout: "" });
    expect(ran.stderr).toMatch(/^mcp-run: Stored local:db#password, version v[0-9a-f]+ \(10 characters\)$/m);
    expect(revealed("local:db")).toBe(
      '{ "user": "app", "password": "canary-new", "id": 12345678901234567890 }',
    );
    expect(revealed("local:db#password")).toBe("canary-new");
  });

  it("makes the document where there is none", () => {
    mcpRun.run(["secrets", "set", "local:db#password"], { input: "canary-new" });

    expect(revealed("local:db")).toBe('{"password":"canary-new"}');
  });

  it.each([
    ["plain text", "canary-plain", "the value is not JSON, so it has no fields"],
    ["an object in the field's place", '{"password":{"a":"canary"}}', "is an object or a list, not a text"],
  ])("leaves %s as it was, and shows nothing of it", (_what, text, reason) => {
    mcpRun.set("local:db", text);

    const ran = mcpRun.run(["secrets", "set", "local:db#password"], { input: "canary-new" });

    expect(ran.status).toBe(78);
    expect(ran.stderr).toContain(`Cannot store local:db#password:`);
    expect(ran.stderr).toContain(reason);
    expect(ran.stderr).not.toContain("canary");
    expect(revealed("local:db")).toBe(text);
  });

  it("takes no empty value", () => {
    mcpRun.set("local:db", '{"password":"canary-old"}');

    const ran = mcpRun.run(["secrets", "set", "local:db#password"], { input: "\n" });

    expect(ran.status).toBe(64);
    expect(ran.stderr).toContain("the value is empty");
    expect(ran.stderr).not.toContain("secrets rm");
  });
});

describe("mcp-run secrets set", () => {
  it.each(["'canary-quoted'", '"canary-quoted"'])("says that quotes are part of the value: %s", (quoted) => {
    const ran = mcpRun.run(["secrets", "set", "local:key"], { input: `${quoted}\n` });

    expect(ran.status).toBe(0);
    expect(ran.stderr).toMatch(
      /Warning: the value of local:key is in quotes, which are part of it\. Try it again .* \.env file\.\n$/,
    );
    expect(ran.stderr).not.toContain("canary-");
    expect(revealed("local:key")).toBe(quoted);
  });

  it("says nothing of a quote in the middle of a value", () => {
    const ran = mcpRun.run(["secrets", "set", "local:key"], { input: `canary-it's\n` });

    expect(ran.stderr).not.toContain("quotes");
  });
});

describe("mcp-run secrets generate REF#field", () => {
  it("fills a field that is not there, and replaces one only when it is told to", () => {
    mcpRun.set("local:db", '{"user":"app"}');

    const first = mcpRun.run(["secrets", "generate", "local:db#password"]);
    const kept = JSON.parse(revealed("local:db"));
    const second = mcpRun.run(["secrets", "generate", "local:db#password"]);
    const third = mcpRun.run(["secrets", "generate", "local:db#password", "--replace"]);

    expect(first.status).toBe(0);
    expect(kept).toEqual({ user: "app", password: expect.stringMatching(/^[\w-]{43}$/) });
    expect(second.status).toBe(64);
    expect(second.stderr).toContain("Cannot generate local:db#password: it has a value already");
    expect(third.status).toBe(0);
    expect(JSON.parse(revealed("local:db")).password).not.toBe(kept.password);
    expect(`${first.stderr}${second.stderr}${third.stderr}`).not.toContain(kept.password);
  });

  it("still makes whole values, once", () => {
    expect(mcpRun.run(["secrets", "generate", "local:key"]).status).toBe(0);
    const value = revealed("local:key");

    expect(mcpRun.run(["secrets", "generate", "local:key"])).toMatchObject({ status: 64 });
    expect(revealed("local:key")).toBe(value);
    expect(mcpRun.run(["secrets", "generate", "local:key", "--replace"]).status).toBe(0);
    expect(revealed("local:key")).not.toBe(value);
  });
});

describe("mcp-run secrets rm REF#field", () => {
  it("is refused, and says how the whole entry is removed", () => {
    mcpRun.set("local:team/db", '{"user":"app","password":"canary-old"}');

    const ran = mcpRun.run(["secrets", "rm", "local:team/db#password"]);

    expect(ran.status).toBe(64);
    expect(ran.stderr).toContain("only a whole entry can be removed, not one field of it");
    expect(ran.stderr).toContain("Try mcp-run secrets rm local:team/db, which removes all of its fields");
    expect(JSON.parse(revealed("local:team/db"))).toHaveProperty("password");
  });
});
