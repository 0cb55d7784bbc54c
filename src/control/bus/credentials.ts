/**
 * One secret in one of four shapes: a creds file (JWT and seed), an nkey's seed, `user:password`, a token. What is wrong
 * with it is said without any of it.
 */
import {
  type Authenticator,
  jwtAuthenticator,
  nkeyAuthenticator,
  nkeys,
  tokenAuthenticator,
  usernamePasswordAuthenticator,
} from "@nats-io/transport-node";
import { McpRunError } from "../../errors.ts";
import type { Secret } from "../../secrets/secret.ts";

const JWT_IN_FILE = /-{3,}BEGIN NATS USER JWT-{3,}\s+([\w.-]*\w)\s/;
const SEED_IN_FILE = /-{3,}BEGIN USER NKEY SEED-{3,}\s+(\w+)\s/;
const SEED = /^SU[A-Z2-7]{56}$/;

/** Throws McpRunError `secret-invalid`. */
export function authenticatorOf(credentials: Secret): Authenticator {
  const text = credentials.reveal().trim();
  if (text === "") throw invalid("it is empty");
  if (text.includes("-----BEGIN")) {
    const jwt = JWT_IN_FILE.exec(text)?.[1];
    const seed = SEED_IN_FILE.exec(text)?.[1];
    if (!jwt || !seed) throw invalid("it looks like a creds file, and lacks the JWT or the seed of a user");
    return jwtAuthenticator(jwt, seedIn(seed));
  }
  if (SEED.test(text)) return nkeyAuthenticator(seedIn(text));
  if (/\s/.test(text)) throw invalid("it has white space in it, and is no creds file");
  const colon = text.indexOf(":");
  if (colon < 0) return tokenAuthenticator(text);
  return usernamePasswordAuthenticator(text.slice(0, colon), text.slice(colon + 1));
}

function seedIn(text: string): Uint8Array {
  try {
    // Clearing takes the seed along.
    nkeys.fromSeed(Buffer.from(text)).clear();
  } catch {
    throw invalid("the seed in it is damaged");
  }
  return Buffer.from(text);
}

function invalid(state: string): McpRunError {
  return new McpRunError("secret-invalid", `Cannot use the credentials of the fleet: ${state}`, {
    hint: "the content of a .creds file, a seed SU…, user:password, or a token",
  });
}
