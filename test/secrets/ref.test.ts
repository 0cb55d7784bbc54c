import { describe, expect, it } from "vitest";
import { looksLikeRef, parseRef } from "../../src/secrets/ref.ts";

describe("parseRef", () => {
  it.each([
    ["local:github-token", "local", "github-token", undefined],
    ["vault:mcp/github#token", "vault", "mcp/github", ["token"]],
    ["vault:a#b.c.d", "vault", "a", ["b", "c", "d"]],
    ["vault:a#b\\.c", "vault", "a", ["b.c"]],
    ["vault:a\\#b#c", "vault", "a#b", ["c"]],
    ["vault:a#b#c", "vault", "a", ["b#c"]],
    ["file:C:\\secrets\\x", "file", "C:\\secrets\\x", undefined],
    ["my-vault_2:x:y", "my-vault_2", "x:y", undefined],
  ])("takes %s apart", (text, provider, path, field) => {
    expect(parseRef(text)).toEqual({
      ok: true,
      ref: { provider, request: { path }, text, ...(field && { field }) },
    });
  });

  it.each([
    ["github-token", "it has no colon; a ref is written provider:path#key"],
    [":x", "what stands before the colon is not a provider's name"],
    ["a b:x", "what stands before the colon is not a provider's name"],
    ["local:", "it has no path after the colon"],
    ["local:#key", "it has no path after the colon"],
    ["local: x", "its path begins or ends with a blank"],
    ["local:a#", "a part of its key after the # is empty"],
    ["local:a#b..c", "a part of its key after the # is empty"],
    ["local:a\u0000b", "it holds a control character"],
  ])("refuses %j with its reason", (text, reason) => {
    expect(parseRef(text)).toEqual({ ok: false, reason });
  });
});

describe("looksLikeRef", () => {
  it.each([
    ["vault:a#b", true],
    ["local:x", true],
    ["vault://host", false],
    ["https://host", false],
    ["plain", false],
    [":x", false],
  ])("%s: %s", (text, expected) => {
    expect(looksLikeRef(text, ["vault", "local"])).toBe(expected);
  });
});
