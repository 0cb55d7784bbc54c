/**
 * A walk through the errors of every backend across a network: each way to log in meets each misbehaviour, at every
 * request and at the read alone, under every level of logging that the program, Node and the SDKs know. Neither a
 * stream nor a file may hold a credential or a value, in any encoding.
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { EXIT_CODES } from "../../src/errors.ts";
import {
  type Answer,
  answers,
  type Behaviour,
  HostileServer,
  type Received,
  redirects,
  refusingUrl,
} from "../helpers/hostile-server.ts";
import { Installation } from "../helpers/installation.ts";
import { LOUD, leaksIn, runInRoom } from "../helpers/loud-run.ts";
import { misbehaviours } from "../helpers/misbehaviours.ts";
import { type PrivateCa, privateCa } from "../helpers/private-ca.ts";
import { CREDENTIALS, GIVEN, REMOTE_LOGINS, type RemoteLogin } from "../helpers/remote-logins.ts";

const SECRETS = [
  ...Object.values(CREDENTIALS),
  ...GIVEN,
  ...["canary-message", "canary-page", "canary-array", "canary-filled"],
];

let room: Installation;
let tls: PrivateCa;
const servers: HostileServer[] = [];
const providers: Record<string, object> = {};
/** The refs of the profile, by a name that says what happens to them. */
const walk: Record<string, object> = {};

type Treatment = (good: Answer, request: Received) => Behaviour;

const fine: Treatment = (good) => answers(good);

/** Adds a secret to the walk whose backend treats us so. */
async function meet(login: RemoteLogin, what: string, treatment: Treatment, field = ""): Promise<void> {
  const server: HostileServer = await HostileServer.start({
    behave: (request) => treatment(login.good(request, server.url), request),
    ...(login.needsTls && { tls }),
  });
  servers.push(server);
  point(login, what, server.url, field);
}

function point(login: RemoteLogin, what: string, url: string, field = ""): void {
  const name = `${login.name} ${what}`.toUpperCase().replaceAll(/[^A-Z0-9]+/g, "_");
  const provider = name.toLowerCase().replaceAll("_", "-");
  providers[provider] = login.settings({ url, ca: `${room.home}/ca.pem` });
  walk[name] = { from: `${provider}:${login.path}${field}` };
}

async function lookIntoEveryCorner(login: RemoteLogin): Promise<void> {
  for (const { name, of } of misbehaviours(login.forbidden)) {
    await meet(login, name, of);
    await meet(login, `${name} to the read`, (good, request) =>
      login.isRead(request) ? of(good, request) : answers(good),
    );
  }
  await meet(login, "redirects", () => redirects("http://127.0.0.1:9/elsewhere"));
  await meet(login, "answers 400", (_good, request) =>
    answers({ status: 400, body: JSON.stringify(request) }),
  );
  await meet(login, "has no such field", fine, "#absent");
  await meet(login, "has no such field below one", fine, "#value.below.it");
  point(login, "refuses", await refusingUrl(login.needsTls ? "https" : "http"));
}

beforeAll(async () => {
  room = new Installation();
  tls = await privateCa();
  room.write("ca.pem", tls.ca);
  for (const login of REMOTE_LOGINS) await lookIntoEveryCorner(login);
  const profiles = { walk: { command: "node", fetchTimeout: "2s", secrets: walk } };
  room.write("config/mcp-run.yaml", JSON.stringify({ version: 1, providers, profiles }));
}, 180_000);

// What an earlier run remembers of these backends would keep the next from asking them.
afterEach(() => rmSync(join(room.home, "state"), { recursive: true, force: true }));
afterAll(async () => {
  for (const server of servers) await server.stop();
  room?.remove();
});

describe("no credential and no value is in what is said of a backend that fails", () => {
  it.each([
    [
      "exec, with everything said",
      ["--log-level", "debug", "exec", "walk", "--", process.execPath, "-e", "0"],
      LOUD,
    ],
    ["run, as a client starts it, for machines", ["--log-format", "json", "run", "walk"], {}],
    ["check, with everything said", ["--log-level", "debug", "check", "walk"], LOUD],
  ])(
    "%s",
    async (_name, args, env) => {
      const { status, everything } = await runInRoom(room, args, { ...CREDENTIALS, ...env });

      expect(leaksIn(everything, SECRETS)).toEqual([]);
      expect(Object.keys(walk).filter((name) => !everything.includes(name))).toEqual([]);
      expect(status).toBe(EXIT_CODES["backend-unavailable"]);
      expect(room.filesWith("canary")).toEqual([]);
    },
    180_000,
  );
});
