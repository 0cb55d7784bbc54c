/**
 * The bus of a profile file: its servers, who we are there, and which hosts there should be. Files that it names are
 * read by whoever needs them; no start waits for one.
 */
import { dirname } from "node:path";
import { looksLikeRef, parseRef } from "../secrets/ref.ts";
import type { Ref } from "../secrets/spec.ts";
import { type Compilation, expanded } from "./compilation.ts";
import type { DocumentPath } from "./findings.ts";
import { absolute } from "./places.ts";
import type { FleetSettings, Inventory } from "./profile.ts";
import type { ProfileFile } from "./profile-file.ts";
import type { ProviderUse } from "./provider-uses.ts";
import { type FleetEntry, fleetSchema } from "./schema.ts";
import { expandVariables } from "./variables.ts";

type Context = Pick<Compilation, "request" | "findings" | "providerWords" | "variablesUsed">;

export interface CompiledFleet {
  readonly settings: FleetSettings;
  /** The refs of its credentials. */
  readonly uses: readonly ProviderUse[];
}

/** A scheme and a host, with or without a port; NATS knows nothing more. */
const SERVER = /^(?:nats|tls):\/\/(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?\/?$/i;
const MOST_PORT = 65_535;
/** Of a host on the bus: any name that a person can read on one line. */
const HOST = /^[^\s\p{Cc}]{1,253}$/u;

/** Undefined where there is none, or where checkTop has something to say of its shape. */
export function compileFleet(file: ProfileFile, context: Context): CompiledFleet | undefined {
  const found = fleetSchema.safeParse(file.root.fleet, { jitless: true });
  if (!found.success) return undefined;
  const entry = found.data;
  const text = (value: string, ...path: readonly (string | number)[]) =>
    expanded(
      expandVariables(value, context.request.env, () => "the name or the address itself"),
      ["fleet", ...path],
      context,
    );
  const { cwd, home } = { cwd: dirname(file.file), home: context.request.home };
  const servers = serversOf(entry, text, context);
  const credentials = credentialsAt("credentials", entry, context);
  const operator = entry.operator === undefined ? undefined : credentialsAt("operator", entry, context);
  const host = entry.host === undefined ? undefined : text(entry.host, "host");
  if (host !== undefined) checkHost(host, ["fleet", "host"], context);
  const inventory = inventoryOf(entry, text, (path) => absolute(path, cwd, home), context);
  if (!credentials) return undefined;
  return {
    settings: {
      servers,
      credentials: credentials.ref,
      ...(operator && { operator: operator.ref }),
      ...(inventory && { inventory }),
      ...(host !== undefined && { host }),
      ...(entry.ca !== undefined && { ca: absolute(text(entry.ca, "ca"), cwd, home) }),
    },
    uses: operator ? [credentials, operator] : [credentials],
  };
}

type Text = (value: string, ...path: readonly (string | number)[]) => string;

function serversOf({ servers }: FleetEntry, text: Text, { findings }: Context): readonly string[] {
  const written =
    typeof servers === "string"
      ? [{ server: text(servers, "servers"), path: ["fleet", "servers"] }]
      : servers.map((one, index) => ({
          server: text(one, "servers", index),
          path: ["fleet", "servers", index],
        }));
  for (const { server, path } of written) {
    const port = SERVER.exec(server)?.[1];
    if (server.includes("@")) {
      findings.error({ path }, "the address of a server has no place for credentials", {
        hint: "`credentials:` with the ref of a store, such as `keychain:nats`",
        hidesValue: true,
      });
    } else if (!SERVER.test(server) || (port !== undefined && Number(port) > MOST_PORT)) {
      findings.error({ path }, "this is no address of a NATS server", { hint: "`tls://HOST:4222`" });
    }
  }
  return written.map(({ server }) => server);
}

/** A value in place of a ref is not quoted: it may be the credential itself. */
function credentialsAt(
  key: "credentials" | "operator",
  entry: FleetEntry,
  { findings, providerWords }: Context,
): { readonly ref: Ref; readonly path: DocumentPath } | undefined {
  const written = entry[key] ?? "";
  const path = ["fleet", key];
  const parsed = parseRef(written);
  if (parsed.ok && looksLikeRef(written, providerWords)) return { ref: parsed.ref, path };
  const reason = parsed.ok ? "what stands before the colon is no provider of this file" : parsed.reason;
  findings.error({ path }, `\`${key}\` must be the ref of credentials, and is none: ${reason}`, {
    hint: "`mcp-run secrets set keychain:nats`, and `keychain:nats` here",
    hidesValue: true,
  });
  return undefined;
}

function inventoryOf(
  { inventory }: FleetEntry,
  text: Text,
  pathOf: (path: string) => string,
  context: Context,
): Inventory | undefined {
  if (inventory === undefined) return undefined;
  if (typeof inventory === "string") return { type: "file", path: pathOf(text(inventory, "inventory")) };
  const hosts = inventory.map((host, index) => text(host, "inventory", index));
  for (const [index, host] of hosts.entries()) checkHost(host, ["fleet", "inventory", index], context);
  return { type: "hosts", hosts: [...new Set(hosts)] };
}

function checkHost(host: string, path: DocumentPath, { findings }: Pick<Context, "findings">): void {
  if (isHost(host)) return;
  findings.error({ path }, "a host's name has 1 to 253 characters, and no blank among them", {
    hint: "the name that the host has in its own `fleet.host`, or that `hostname` prints there",
  });
}

export function isHost(text: string): boolean {
  return HOST.test(text);
}
