// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the profile's own syntax
import { chmodSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { readInventory } from "../../src/profile/inventory.ts";
import { loadFleet, loadProfile } from "../../src/profile/load.ts";
import type { FleetSettings } from "../../src/profile/profile.ts";
import { diagnosticsOf, expectCode, room } from "./room.ts";

const PROFILES = "profiles:\n  p: { command: npx }\n";
const CREDENTIALS = "credentials: keychain:nats";

function fileWith(fleet: string, more = ""): string {
  return `version: 1\n${more}fleet: ${fleet}\n${PROFILES}`;
}

async function fleetOf(fleet: string, env: Readonly<Record<string, string>> = {}) {
  const { request, main, home } = room();
  main(fileWith(fleet));
  const { profile } = await loadProfile("p", { ...request, env: { ...request.env, ...env } });
  return { fleet: profile.fleet as FleetSettings, profile, folder: `${home}/.config/mcp-run` };
}

async function firstLineOf(fleet: string): Promise<string> {
  const text = await diagnosticsOf(fileWith(fleet));
  return text.split("\n").find((line) => line.startsWith("mcp-run.yaml:")) ?? text;
}

describe("the key `fleet`", () => {
  it("is part of each profile of its file", async () => {
    const { fleet } = await fleetOf(`{ servers: "tls://nats.example.com:4222", ${CREDENTIALS} }`);

    expect(fleet.servers).toEqual(["tls://nats.example.com:4222"]);
    expect(fleet.credentials).toMatchObject({ provider: "keychain", text: "keychain:nats" });
    expect(fleet).not.toHaveProperty("inventory");
    expect(fleet).not.toHaveProperty("host");
  });

  it("knows several servers, a host's own name, an operator, an authority and the hosts that there should be", async () => {
    const { fleet, folder } = await fleetOf(
      `{ servers: ["tls://a.example", "tls://[2001:db8::1]:4222"], ${CREDENTIALS}, operator: "keychain:nats-operator",
        host: "\${REGION}-web-1", ca: ca.pem, inventory: hosts.txt }`,
      { REGION: "eu" },
    );

    expect(fleet).toMatchObject({
      servers: ["tls://a.example", "tls://[2001:db8::1]:4222"],
      operator: { text: "keychain:nats-operator" },
      host: "eu-web-1",
      ca: `${folder}/ca.pem`,
      inventory: { type: "file", path: `${folder}/hosts.txt` },
    });
  });

  it("takes a list of hosts as it is, each once", async () => {
    const { fleet } = await fleetOf(`{ servers: nats://127.0.0.1, ${CREDENTIALS}, inventory: [a, b, a] }`);

    expect(fleet.inventory).toEqual({ type: "hosts", hosts: ["a", "b"] });
  });

  it("may stand in a file of one profile, too", async () => {
    const { request, write } = room();
    write(
      ".config/mcp-run/profiles/one.yaml",
      `command: npx\nfleet: { servers: "tls://a.example", ${CREDENTIALS} }\n`,
    );

    expect((await loadProfile("one", request)).profile.fleet?.servers).toEqual(["tls://a.example"]);
  });

  it("has the provider of its credentials checked, and its settings expanded", async () => {
    const { request, main } = room();
    main(
      fileWith(
        '{ servers: "tls://a.example", credentials: "team:nats" }',
        'providers: { team: { type: safe, address: "${VAULT}" } }\n',
      ),
    );
    const env = { ...request.env, VAULT: "https://vault.example" };

    const { profile } = await loadProfile("p", { ...request, env });

    expect(profile.providers.get("team")?.settings).toEqual({ address: "https://vault.example" });
  });

  it.each([
    ["true", "2:8: `fleet` must be a mapping, not true or false"],
    ['{ servers: "tls://a" }', "2:1: `credentials` is missing"],
    [`{ ${CREDENTIALS} }`, "2:1: `servers` is missing"],
    [`{ servers: [], ${CREDENTIALS} }`, "2:19: `servers` must not be empty"],
    [`{ servers: "https://a", ${CREDENTIALS} }`, "2:19: this is no address of a NATS server"],
    [`{ servers: "tls://a/b", ${CREDENTIALS} }`, "2:19: this is no address of a NATS server"],
    [`{ servers: "tls://a:99999", ${CREDENTIALS} }`, "2:19: this is no address of a NATS server"],
    [`{ servers: "tls://a", credentials: "" }`, "2:43: `credentials` must not be empty"],
    [
      `{ servers: "tls://a", ${CREDENTIALS}, host: "a b" }`,
      "2:64: a host's name has 1 to 253 characters, and no blank among them",
    ],
    [
      `{ servers: "tls://a", ${CREDENTIALS}, inventory: [a, "b c"] }`,
      "2:73: a host's name has 1 to 253 characters, and no blank among them",
    ],
    [`{ servers: "tls://a", ${CREDENTIALS}, hosts: [a] }`, "2:58: unknown key `hosts`, did you mean `host`?"],
  ])("is refused where it is wrong: %s", async (fleet, expected) => {
    expect(await firstLineOf(fleet)).toBe(`mcp-run.yaml:${expected}`);
  });

  it.each([
    ["canary-user:canary-password", "credentials"],
    ["SUACANARYCANARYCANARYCANARYCANARYCANARYCANARYCANARYCANARYCANARY", "credentials"],
    ["keychian:canary-user", "operator"],
  ])("wants a ref for credentials, and does not repeat what may be one: %s as %s", async (literal, key) => {
    const other = key === "operator" ? `${CREDENTIALS}, ` : "";
    const text = await diagnosticsOf(fileWith(`{ servers: "tls://a", ${other}${key}: "${literal}" }`));

    expect(text).toContain(`\`${key}\` must be the ref of credentials, and is none`);
    expect(text).not.toMatch(/canary/i);
  });

  it("has no place for credentials in an address, and does not repeat them", async () => {
    const text = await diagnosticsOf(
      fileWith(`{ servers: "tls://canary-user:canary-password@a", ${CREDENTIALS} }`),
    );

    expect(text).toContain("the address of a server has no place for credentials");
    expect(text).not.toContain("canary");
  });
});

describe("the fleet of a file", () => {
  it("is found without the name of a profile, whatever is wrong with the profiles", async () => {
    const { request, main } = room();
    main(`version: 1\nfleet: { servers: "tls://a", ${CREDENTIALS} }\nprofiles:\n  p: { comand: npx }\n`);

    expect((await loadFleet(request))?.fleet.servers).toEqual(["tls://a"]);
  });

  it("is none where the file has none, and where there is no file", async () => {
    const { request, main } = room();

    expect(await loadFleet(request)).toBeUndefined();
    main(`version: 1\n${PROFILES}`);
    expect(await loadFleet(request)).toBeUndefined();
    expect(await loadFleet(request, "p")).toBeUndefined();
  });

  it("is refused with its position where it is wrong", async () => {
    const { request, main } = room();
    main(fileWith(`{ servers: "http://a", ${CREDENTIALS} }`));

    const { details } = await expectCode(loadFleet(request), "profile-invalid");

    expect(details.join("\n")).toContain("this is no address of a NATS server");
  });
});

describe("the inventory", () => {
  it("is a file with one host a line, without what comes after a #", () => {
    const { request, write } = room();
    const path = write("hosts.txt", "# the web\nweb-1\n  web-2  # new\r\n\nweb-1\na#b\n");

    expect(readInventory({ type: "file", path }, request)).toEqual(["web-1", "web-2", "a#b"]);
  });

  it("says what is wrong with it: no file, no host, others can change it", async () => {
    const { request, write, home } = room();
    const read = async (path: string) => readInventory({ type: "file", path }, request);
    const open = write("open.txt", "web-1\n");
    chmodSync(open, 0o666);

    const missing = await expectCode(read(`${home}/none.txt`), "profile-not-found");
    const wrong = await expectCode(read(write("wrong.txt", "web-1\nweb 2\n")), "profile-invalid");
    const changeable = await expectCode(read(open), "access-denied");

    expect(missing.message).toMatch(/^Cannot read the inventory .*none\.txt: there is no such file$/);
    expect(wrong.message).toContain("line 2 is no host");
    expect(changeable.hint).toContain("chmod o-w");
  });
});
