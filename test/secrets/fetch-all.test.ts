import { setImmediate } from "node:timers/promises";
import { expect, it } from "vitest";
import type { CacheUse } from "../../src/secrets/cache-use.ts";
import { fetchAll } from "../../src/secrets/fetch-all.ts";
import { ProviderPool } from "../../src/secrets/provider-pool.ts";
import { scriptedBackend } from "../helpers/scripted-backend.ts";
import { request, secret } from "./requests.ts";

it("a fetch that is given up while its cache is opened ends with that reason, and in silence", async () => {
  const abort = new AbortController();
  const reason = new Error("no longer wanted");
  const backend = scriptedBackend({
    name: "vault",
    isRemote: true,
    delayMs: Number.POSITIVE_INFINITY,
  });
  const wanted = request([backend], { secrets: [secret("A", "vault:a")], signal: abort.signal });
  const pool = new ProviderPool(wanted.kinds, wanted.providers, wanted.context, { timeoutMs: 10_000 });
  const openCache = async () => {
    abort.abort(reason);
    await setImmediate();
    return { answer: (_provider, _requests, asked) => asked } as CacheUse;
  };

  await expect(fetchAll(pool, wanted, openCache)).rejects.toBe(reason);
});
