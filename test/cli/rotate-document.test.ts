/** A whole document that is replaced while others have a field of it, by a ref of their own; the built program. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Installation } from "../helpers/installation.ts";
import { KeyedSession, keyedProfile } from "../helpers/keyed-session.ts";

const OLD = { user: "bot", db: { password: "canary-old-password" } };

let mcpRun: Installation;
const sessions: KeyedSession[] = [];

beforeEach(() => {
  mcpRun = new Installation();
  mcpRun.set("local:doc", JSON.stringify(OLD));
});

afterEach(async () => {
  for (const session of sessions.splice(0)) await session.close();
  mcpRun.remove();
}, 60_000);

async function serving(name: string, secrets: string): Promise<KeyedSession> {
  const session = await KeyedSession.start(mcpRun, `secrets: { ${secrets} }\n`, { name });
  sessions.push(session);
  return session;
}

/** Replaces the document by this one. */
function rotate(next: unknown, ...more: readonly string[]) {
  const hook = mcpRun.write(
    "hook.mjs",
    `let text = ""; for await (const chunk of process.stdin) text += chunk;
     const { action } = JSON.parse(text);
     const value = ${JSON.stringify(JSON.stringify(next))};
     const answers = { find: {}, mint: { value, keyId: "2" }, revoke: { revoked: true }, verify: { accepted: false } };
     process.stdout.write(JSON.stringify(answers[action]));`,
  );
  const secrets = `secrets: { DOC: { from: "local:doc", rotate: { hook: [node, ${hook}] } } }`;
  mcpRun.profile("whole", keyedProfile(`${secrets}\n`));
  return mcpRun.run(["rotate", "whole", "--reason", "drill", "--yes", ...more]);
}

describe("a document that is replaced as a whole", () => {
  it("is waited for where somebody has a field of it that changes, and not where the field stays", async () => {
    const password = await serving("password", "KEY: local:doc#db.password");
    const database = await serving("database", "KEY: local:doc#db");
    const user = await serving("user", "KEY: local:doc#user");
    const before = await user.ask();

    const rotated = rotate({ ...OLD, db: { password: "canary-new-password" } });

    expect(rotated.status, rotated.stdout + rotated.stderr).toBe(0);
    expect(rotated.stdout).toMatch(/3 servers on this machine run with it/);
    expect(rotated.stdout).toMatch(/2 acknowledged/);
    expect((await password.ask()).key).toBe("canary-new-password");
    expect(JSON.parse((await database.ask()).key)).toEqual({ password: "canary-new-password" });
    expect(await user.ask()).toEqual(before);
    expect(rotated.stdout + rotated.stderr).not.toContain("canary-");
  }, 120_000);

  it("does not end the old one while somebody has a field that the new one lacks", async () => {
    const password = await serving("password", "KEY: local:doc#db.password");

    const rotated = rotate({ user: "bot" }, "--ack-timeout", "3s");

    expect(rotated.status, rotated.stdout + rotated.stderr).toBe(75);
    expect(rotated.stdout).toMatch(/password \(pid \d+\)|password on .* \(pid \d+\)/);
    expect(rotated.stdout).toContain("OLD KEY STILL VALID");
    expect((await password.ask()).key).toBe(OLD.db.password);
  }, 120_000);
});
