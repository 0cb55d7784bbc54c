import { describe, expect, it } from "vitest";
import { consoleIssuer } from "../../../src/rotation/issuers/console.ts";
import { stdinIssuer } from "../../../src/rotation/issuers/stdin.ts";
import { Secret } from "../../../src/secrets/secret.ts";
import { errorOf } from "../../profile/room.ts";
import { never, person, REQUEST } from "./asking.ts";

const url = "https://sentry.example/settings/keys";

describe("a key that a person makes in a web console", () => {
  it("is read hidden and confirmed by what can be seen of it", async () => {
    const ask = person(["canary-new-key"]);

    const { value, along } = await consoleIssuer({ url, along: [] }, ask).mint(REQUEST, never());

    expect(value.reveal()).toBe("canary-new-key");
    expect(along).toBeUndefined();
    expect(ask.seen).toEqual([
      `Make a new TOKEN at ${url}`,
      "New TOKEN (not shown): ",
      "TOKEN: 14 characters, fingerprint f14. Is that all of it?",
    ]);
  });

  it("is asked for again until it is confirmed", async () => {
    const ask = person(["", "canary-hal", "canary-whole"], [false, true]);

    const { value } = await consoleIssuer({ url, along: [] }, ask).mint(REQUEST, never());

    expect(value.reveal()).toBe("canary-whole");
    expect(ask.seen).toContain("Nothing was entered");
  });

  it("is not asked for without end", async () => {
    const ask = person();

    const error = await errorOf(consoleIssuer({ url, along: [] }, ask).mint(REQUEST, never()));

    expect(error).toMatchObject({
      code: "usage",
      message: "Cannot mint a new TOKEN: no value was confirmed in 5 attempts",
    });
    expect(ask.seen.filter((line) => line === "Nothing was entered")).toHaveLength(5);
  });

  it.each([
    ["canary ", "7 characters, fingerprint f7, with a space at its beginning or end"],
    ["ca\u001b[Anary", "9 characters, fingerprint f9, with control characters in it"],
  ])("that was pasted with something else is said to be: %j", async (entered, looks) => {
    const ask = person([entered]);

    await consoleIssuer({ url, along: [] }, ask).mint(REQUEST, never());

    expect(ask.seen.at(-1)).toBe(`TOKEN: ${looks}. Is that all of it?`);
  });

  it("may come with others", async () => {
    const ask = person(["canary-secret", "canary-id"]);

    const minted = await consoleIssuer({ url, along: ["KEY_ID"] }, ask).mint(REQUEST, never());

    expect(minted.value.reveal()).toBe("canary-secret");
    expect(minted.along?.get("KEY_ID")?.reveal()).toBe("canary-id");
    expect(ask.seen[0]).toBe(`Make a new TOKEN and KEY_ID at ${url}`);
  });

  it("can't be made where nobody is", async () => {
    const error = await errorOf(consoleIssuer({ url, along: [] }, undefined).mint(REQUEST, never()));

    expect(error).toMatchObject({ code: "usage", hint: "a terminal, or `--from-stdin`" });
    expect(error.message).toBe(
      `Cannot mint a new TOKEN: a person makes it at ${url}, and nobody is there to be asked`,
    );
  });

  it("is found and ended by nobody but a person", async () => {
    const ask = person();
    const issuer = consoleIssuer({ url, along: [] }, ask);

    expect(await issuer.find(REQUEST, never())).toBeUndefined();
    expect(await issuer.revoke(REQUEST, { keyId: "17" }, never())).toBe("unknown");
    expect(await issuer.verify(REQUEST, {}, never())).toBe("unknown");
    expect(ask.seen).toEqual([]);
  });
});

describe("a key that comes through stdin", () => {
  it("is taken once", async () => {
    const issuer = stdinIssuer(async () => new Secret("canary-piped"));

    expect((await issuer.mint(REQUEST, never())).value.reveal()).toBe("canary-piped");
    expect(await errorOf(issuer.mint({ ...REQUEST, secret: "OTHER" }, never()))).toMatchObject({
      code: "usage",
      message: "Cannot mint a new OTHER: stdin held one value, and it is taken",
      hint: "one rotation for each secret: `--secret NAME`",
    });
  });

  it("can't be empty", async () => {
    const issuer = stdinIssuer(async () => new Secret(""));

    expect(await errorOf(issuer.mint(REQUEST, never()))).toMatchObject({
      message: "Cannot mint a new TOKEN: nothing came from stdin",
    });
  });

  it("is found and ended by nobody but a person", async () => {
    const issuer = stdinIssuer(async () => new Secret("canary-piped"));

    expect(await issuer.find(REQUEST, never())).toBeUndefined();
    expect(await issuer.revoke(REQUEST, {}, never())).toBe("unknown");
    expect(await issuer.verify(REQUEST, {}, never())).toBe("unknown");
  });
});
