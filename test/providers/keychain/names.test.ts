/**
 * The names under which the platforms' own tools find our items, and we find theirs. What can be run is run: on
 * gnome-keyring, in test/backends/keychain.test.ts. For macOS and Windows these are the names that the library documents.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { keychainKind } from "../../../providers/keychain.ts";
import { Secret } from "../../../src/secrets/secret.ts";
import { ROOT } from "../../helpers/installation.ts";
import { testContext } from "../../helpers/provider-context.ts";
import { read, revealed } from "../contract.ts";
import { inMemoryKeyring } from "../in-memory-keyring.ts";

const never = () => new AbortController().signal;
const GUIDE = join(ROOT, "docs/providers/keychain.md");

let home: string;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "mcp-run-keychain-"));
});

afterAll(() => rm(home, { recursive: true, force: true }));

async function opened(platform: NodeJS.Platform) {
  const keyring = inMemoryKeyring();
  const env = { HOME: home, DBUS_SESSION_BUS_ADDRESS: "unix:path=/nonexistent/bus" };
  const context = testContext({ home, env, platform, runProgram: keyring.runProgram });
  return { keyring, store: await keychainKind.open({}, context) };
}

describe("an item of the keychain", () => {
  it.each(["linux", "darwin", "win32"] as const)(
    "is a service and an account and nothing else on %s",
    async (platform) => {
      const { keyring, store } = await opened(platform);

      await store.put({ path: "github/alice" }, new Secret("canary-ours"), never());
      expect(keyring.items.get("github\nalice")).toBe("canary-ours");

      keyring.items.set("from another\nbob", "canary-theirs");
      expect(revealed(await read(store, { path: "from another/bob" }))).toBe("canary-theirs");
    },
  );

  it("is on Windows the generic credential ACCOUNT.SERVICE", async () => {
    const { store } = await opened("win32");
    await store.put({ path: "github/alice" }, new Secret("canary-ours"), never());

    expect(revealed(await read(store, { path: "any/bob", target: "alice.github" }))).toContain("missing");
    expect(revealed(await read(store, { path: "any/alice", target: "alice.github" }))).toBe("canary-ours");
  });

  it("is named so by the library of this version: look it up again when it changes", async () => {
    const { dependencies } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8"));

    // apple-native-keyring-store 1: attributes service and account of the login keychain.
    // windows-native-keyring-store 1: target name = prefix + user + divider + service + suffix, by default "", ".", "".
    // dbus-secret-service-keyring-store 1: attributes service and username.
    expect(dependencies["@napi-rs/keyring"]).toBe("2.1.2");
  });

  it.each([
    "`secret-tool lookup service SERVICE username ACCOUNT`",
    "`security find-generic-password -s SERVICE -a ACCOUNT -w`",
    "the generic credential `ACCOUNT.SERVICE`",
  ])("is named in the guide: %s", async (line) => {
    expect(await readFile(GUIDE, "utf8")).toContain(line);
  });
});
