/**
 * A process of its own that writes to a store. It reads its orders from stdin as JSON (values never stand in
 * argv), prints one line a result, and ends.
 */
import { text } from "node:stream/consumers";
import { LocalStore } from "../../../providers/local/store.ts";
import { localKind } from "../../../providers/local.ts";
import { type Clock, systemClock } from "../../../src/clock.ts";
import { ProviderError } from "../../../src/errors.ts";
import { Secret } from "../../../src/secrets/secret.ts";
import { testContext } from "../../helpers/provider-context.ts";

export interface Orders {
  readonly home: string;
  readonly settings?: unknown;
  /** Name and value of each put, in order. */
  readonly puts: readonly (readonly [string, string])[];
  readonly thenFetch?: readonly string[];
}

export type Result =
  | { readonly put: string; readonly version: string }
  | { readonly fetched: string; readonly value: string }
  | { readonly refused: string; readonly reason: string; readonly hint?: string | undefined };

/** The ten seconds that a writer waits for another are a hundred here: several may write on a machine that is busy. */
const patient: Clock = {
  now: () => systemClock.now(),
  monotonic: () => systemClock.monotonic() / 10,
  after: (...timer) => systemClock.after(...timer),
};

async function obey(): Promise<void> {
  const orders: Orders = JSON.parse(await text(process.stdin));
  const signal = new AbortController().signal;
  const context = testContext({ home: orders.home, clock: patient });
  const store = await localKind.open(localKind.configSchema.parse(orders.settings ?? {}), context);
  if (!(store instanceof LocalStore)) throw new Error("the kind opened something else");
  for (const [path, value] of orders.puts) {
    await reporting(async () => ({ put: path, ...(await store.put({ path }, new Secret(value), signal)) }));
  }
  for (const path of orders.thenFetch ?? []) {
    await reporting(async () => {
      const [answer] = (await store.fetch([{ path }], signal)).values();
      if (!answer || answer instanceof ProviderError) throw answer ?? new Error("no answer");
      return { fetched: path, value: answer.value.reveal() };
    });
  }
}

async function reporting(work: () => Promise<Result>): Promise<void> {
  let result: Result;
  try {
    result = await work();
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    result = { refused: error.failure, reason: error.reason, hint: error.hint };
  }
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

obey().catch((error: unknown) => {
  process.stderr.write(`${error}\n`);
  process.exitCode = 1;
});
