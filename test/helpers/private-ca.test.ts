import { createServer, get } from "node:https";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { privateCa } from "./private-ca.ts";

describe("a private authority", () => {
  it("is trusted for loopback by who trusts it, and by nobody else", async () => {
    const { ca, key, cert } = await privateCa();
    const server = createServer({ key, cert }, (_request, response) => response.end("hello"));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const ask = (trust: { ca?: string }) =>
      new Promise<string>((resolve) =>
        get({ host: "127.0.0.1", port, ...trust, agent: false }, (response) => {
          response.resume();
          resolve(String(response.statusCode));
        }).on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? "")),
      );

    const answers = [await ask({ ca }), await ask({})];

    await new Promise((resolve) => server.close(resolve));
    expect(answers).toEqual(["200", "UNABLE_TO_VERIFY_LEAF_SIGNATURE"]);
  });
});
