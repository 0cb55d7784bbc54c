import { inspect } from "node:util";
import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { expect, test } from "vitest";
import { decodeBech32, encodeBech32 } from "../../../../providers/local/age/bech32.ts";
import {
  parseIdentities,
  parseIdentity,
  parseRecipient,
  recipientOf,
} from "../../../../providers/local/age/keys.ts";

// The pair of the age specification's test vectors.
const IDENTITY = "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";
const OTHER = "AGE-SECRET-KEY-1XMWWC06LY3EE5RYTXM9MFLAZ2U56JJJ36S0MYPDRWSVLUL66MV4QX3S7F6";

test("an identity's recipient is the one that the library derives", async () => {
  for (let round = 0; round < 50; round++) {
    const text = await generateX25519Identity();
    const identity = parseIdentity(text);

    expect(identity && recipientOf(identity)).toBe(await identityToRecipient(text));
  }
});

test("a recipient's text gives the bytes of the public key", () => {
  const identity = parseIdentity(IDENTITY)!;

  expect(parseRecipient(recipientOf(identity))).toEqual(identity.publicKey);
});

test("an identity never shows its key when it is printed", () => {
  const identity = parseIdentity(IDENTITY)!;

  const printed = `${inspect(identity, { depth: 9, showHidden: true })}${JSON.stringify(identity)}`;

  expect(printed).not.toContain(IDENTITY.slice(16, 40));
});

test.each([
  ["lower case", IDENTITY.toLowerCase()],
  ["mixed case", `${IDENTITY.slice(0, -1)}m`],
  ["a wrong last character", `${IDENTITY.slice(0, -1)}Q`],
  ["a recipient", "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"],
  ["a post-quantum key", IDENTITY.replace("KEY-1", "KEY-PQ-1")],
  ["nothing", ""],
  ["a shorter key", encodeBech32("age-secret-key-", Buffer.alloc(31)).toUpperCase()],
])("an identity is not %s", (_, text) => {
  expect(parseIdentity(text)).toBeUndefined();
});

test.each([
  ["an identity", IDENTITY],
  ["an SSH key", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEXAMPLE"],
  ["another kind of recipient", encodeBech32("age1tag", Buffer.alloc(33))],
  ["a key of another length", encodeBech32("age", Buffer.alloc(33))],
])("a recipient is not %s", (_, text) => {
  expect(parseRecipient(text)).toBeUndefined();
});

test("identities stand one a line, among comments and blank lines", () => {
  const text = `# created: 2026-01-02T03:04:05Z\r\n\n${IDENTITY}\r\n  # an older one\n${OTHER}`;

  const identities = parseIdentities(text);

  expect(identities?.map((identity) => identity.text.reveal())).toEqual([IDENTITY, OTHER]);
});

test.each([
  ["only comments", "# public key: age1…\n"],
  ["a line that is no identity", `${IDENTITY}\nhello\n`],
])("a text with %s holds no identities", (_, text) => {
  expect(parseIdentities(text)).toBeUndefined();
});

test("Bech32 gives back any bytes, and finds every changed character", () => {
  for (let length = 0; length < 70; length++) {
    const bytes = Buffer.from(Uint8Array.from({ length }, (_, at) => (at * 89 + length) & 0xff));
    const text = encodeBech32("age", bytes);

    expect(decodeBech32(text)).toEqual({ prefix: "age", bytes });
    for (let at = 4; at < text.length; at++) {
      const other = text[at] === "q" ? "p" : "q";
      expect(decodeBech32(text.slice(0, at) + other + text.slice(at + 1))).toBeUndefined();
    }
  }
});
