import { createHmac } from "node:crypto";
import { describe, expect, it } from "vitest";
import { meantBy } from "../../../src/commands/run/meant-secrets.ts";
import type { ResolvedSecret } from "../../../src/secrets/resolution.ts";
import { Secret } from "../../../src/secrets/secret.ts";

const AT = "https://vault.example.com/v1/secret/data/mcp/github";
const KEY = Buffer.alloc(32, 7).toString("base64url");

function secret(from: string, value: string, place: string | null = AT): ResolvedSecret {
  const known = place === null ? {} : { place };
  return { name: "T", from, value: new Secret(value), deliver: "env", scrub: true, ...known };
}

function revealed(meant: ReturnType<typeof meantBy>): readonly [string, string] | undefined {
  return meant && [meant.ref, meant.value.reveal()];
}

describe("a message means a secret", () => {
  const asked = { refs: ["vault:mcp/github#token"], places: [AT] };

  it("that lies in that place, in the words of whoever asks", () => {
    const meant = meantBy(secret("prod:mcp/github#token", "canary-value"), asked);

    expect(revealed(meant)).toEqual(["vault:mcp/github#token", "canary-value"]);
  });

  it("of a server that has all of the document, or a field around it: that part of it is meant", () => {
    const document = '{"token":"canary-part","user":"bot"}';

    const whole = meantBy(secret("prod:mcp/github", document), asked);
    const around = meantBy(secret("vault:mcp/github#keys", '{"token":"canary-deep"}', null), {
      refs: ["vault:mcp/github#keys.token"],
    });

    expect(revealed(whole)).toEqual(["vault:mcp/github#token", "canary-part"]);
    expect(revealed(around)).toEqual(["vault:mcp/github#keys.token", "canary-deep"]);
  });

  it("also where its document does not have that field yet", () => {
    const meant = meantBy(secret("prod:mcp/github", '{"user":"bot"}'), asked);

    expect(meant?.ref).toBe("vault:mcp/github#token");
  });

  it("not where it is another field, another document, or no ref at all", () => {
    expect(meantBy(secret("prod:mcp/github#user", "bot"), asked)).toBeUndefined();
    expect(meantBy(secret("vault:mcp/github#token", "canary-x", `${AT}-other`), asked)).toBeUndefined();
    expect(meantBy(secret("template", "canary-x", null), asked)).toBeUndefined();
  });

  it("by its value, in its own words", () => {
    const values = [createHmac("sha256", Buffer.alloc(32, 7)).update("canary-copy").digest("hex")];

    const copy = meantBy(secret("keychain:copy", "canary-copy", null), { ...asked, values, key: KEY });
    const other = meantBy(secret("keychain:copy", "canary-other", null), { ...asked, values, key: KEY });

    expect(revealed(copy)).toEqual(["keychain:copy", "canary-copy"]);
    expect(copy?.isCopy).toBe(true);
    expect(other).toBeUndefined();
  });
});
