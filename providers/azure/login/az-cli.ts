/**
 * `credential: cli`: the token of whoever is logged in to the Azure CLI. The SDK's own class starts a shell; this
 * one runs `az` as every helper program is run here, with an argument list, bounded, and in the home directory.
 */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { ProgramOutcome } from "../../../src/secrets/program.ts";
import type { ProviderContext } from "../../../src/secrets/provider.ts";
import { AzureError } from "../azure-error.ts";
import { homeOf } from "../files.ts";
import type { Token, TokenRequest, TokenSource } from "./login.ts";
import { loginCode, loginError } from "./login-error.ts";

/** A whole Python runtime is started; the profile's fetchTimeout usually comes first. */
const TIMEOUT_MS = 30_000;
const MAX_OUTPUT_BYTES = 256 * 1024;
const SCOPE = /^(https:\/\/[\w.-]+(?::\d+)?)\/\.default$/;
const TENANT = /^[0-9A-Za-z.-]{1,256}$/;

/** @param tenantId instead of the tenant that the vault belongs to */
export function azCli(context: ProviderContext, tenantId: string | undefined): TokenSource {
  return {
    async token(request) {
      if (request.claims !== undefined)
        throw new AzureError("denied", "the vault wants a fresh login", {
          hint: "az logout and az login",
        });
      const all = context.env.all();
      const home = homeOf(context);
      const outcome = await context.runProgram({
        argv: ["az", ...argumentsFor(request, tenantId)],
        timeoutMs: TIMEOUT_MS,
        maxOutputBytes: MAX_OUTPUT_BYTES,
        env: Object.fromEntries(Object.entries(all).filter(([name]) => !name.startsWith("MCP_RUN_"))),
        ...(home !== undefined && (await isFolder(home)) && { cwd: home }),
        signal: request.signal,
      });
      return tokenIn(outcome, context);
    },
    close() {
      // A program that still runs ends with the signal of its request.
    },
  };
}

/** Changes with each `az login`: a backend that has refused us is asked again after one. */
export async function azLoginMark(context: ProviderContext): Promise<string> {
  const folder = context.env.all().AZURE_CONFIG_DIR ?? join(homeOf(context) ?? "", ".azure");
  const file = join(folder, "azureProfile.json");
  const found = await stat(file).catch(() => undefined);
  return `az ${file} ${found?.mtimeMs ?? "absent"}`;
}

function argumentsFor(
  { scope, tenantId: asked }: TokenRequest,
  tenantId: string | undefined,
): readonly string[] {
  const resource = SCOPE.exec(scope)?.[1];
  const tenant = tenantId ?? asked;
  if (resource === undefined || (tenant !== undefined && !TENANT.test(tenant))) {
    throw new AzureError("denied", "the vault asks for a login at a place that is none", {
      hint: "vault: in the provider's settings",
    });
  }
  return [
    "account",
    "get-access-token",
    "--output",
    "json",
    "--resource",
    resource,
    ...(tenant === undefined ? [] : ["--tenant", tenant]),
  ];
}

function tokenIn(outcome: ProgramOutcome, context: ProviderContext): Token {
  switch (outcome.type) {
    case "not-started":
      throw new AzureError("unavailable", `the Azure CLI can't be started (${outcome.code})`, {
        hint:
          outcome.code === "ENOENT"
            ? "installing it, or a PATH with the folder of az: a desktop application has a shorter one than your shell"
            : "az account show, in a terminal",
      });
    case "timed-out":
      throw new AzureError("unavailable", `az did not end within ${TIMEOUT_MS / 1000} s`, {
        hint: "az account get-access-token, in a terminal",
      });
    case "killed":
      throw new AzureError("unavailable", `az was killed by ${outcome.signal}`, { hint: "again" });
    case "output-too-large":
      throw noToken();
    case "exited":
      return outcome.exitCode === 0
        ? parsed(outcome.stdout.toString())
        : refused(outcome.stderr, outcome.exitCode, context);
  }
}

function refused(stderr: string, exitCode: number, context: ProviderContext): never {
  const code = loginCode(stderr);
  if (code !== undefined) throw loginError("az", { status: undefined, code });
  if (/\baz login\b/.test(stderr)) {
    throw new AzureError("denied", "nobody is logged in to the Azure CLI, or no longer", {
      hint: "az login",
    });
  }
  const said = context.quotable(stderr.trim().split("\n").at(-1) ?? "", []).slice(0, 200);
  throw new AzureError("unavailable", `az exited with code ${exitCode}${said === "" ? "" : `: ${said}`}`, {
    hint: "az account get-access-token, in a terminal",
  });
}

/** `expires_on` is in seconds since the epoch; before version 2.54 there is only `expiresOn`, in local time. */
function parsed(stdout: string): Token {
  let answer: unknown;
  try {
    answer = JSON.parse(stdout);
  } catch {
    // The parser's own message quotes the text, which holds the token.
    throw noToken();
  }
  if (typeof answer !== "object" || answer === null) throw noToken();
  const { accessToken, expires_on, expiresOn } = answer as Record<string, unknown>;
  const expiresAt = expires_on === undefined ? Date.parse(String(expiresOn)) : Number(expires_on) * 1000;
  if (typeof accessToken !== "string" || accessToken === "" || Number.isNaN(expiresAt)) throw noToken();
  return { text: accessToken, expiresAt };
}

function noToken(): AzureError {
  return new AzureError("unavailable", "what az printed is no token", {
    hint: "az upgrade, or az account get-access-token in a terminal",
  });
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
}
