/**
 * A rotation in a process of its own: one value of a local store, an issuer and a fleet in files. It reads its orders
 * from stdin, prints each event's step, stops for good where it is told to, and prints its outcome.
 */
import { existsSync, readFileSync, renameSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { LocalStore } from "../../providers/local/store.ts";
import { localKind } from "../../providers/local.ts";
import { systemClock } from "../../src/clock.ts";
import type { Fleet, Issuer, Target } from "../../src/rotation/contract.ts";
import { resume, rotate } from "../../src/rotation/engine.ts";
import { fingerprintUnder } from "../../src/rotation/fingerprints.ts";
import { planRotation } from "../../src/rotation/plan.ts";
import type { RotationDeps } from "../../src/rotation/run.ts";
import { targetStore } from "../../src/rotation/target.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { testContext } from "../helpers/provider-context.ts";

export interface Orders {
  readonly home: string;
  /** Goes on with this rotation; without it a new one begins. */
  readonly resume?: string;
  /** Which event is the last: it is printed, and nothing more happens. */
  readonly stopAt?: number;
  readonly reason: string;
}

/** What the issuer knows: value by rotation, and which of them it takes. */
interface Keys {
  made: Record<string, string>;
  valid: string[];
  mints: number;
}

async function obey(): Promise<void> {
  const orders: Orders = JSON.parse(await text(process.stdin));
  const { home, stopAt } = orders;
  const config = localKind.configSchema.parse({ identity: "file" });
  const store = await localKind.open(config, testContext({ home }));
  if (!(store instanceof LocalStore)) throw new Error("the kind opened something else");
  const target: Target = {
    ref: "local:key",
    parts: [{ name: "KEY", from: "local:key", issuer: issuerIn(join(home, "issuer.json")) }],
    store: targetStore(store, { path: "key" }),
  };
  const fleet: Fleet = {
    list: async () => [],
    async spread(wanted, key, _timeoutMs, signal) {
      const present = await target.store.read(signal);
      const has = present && fingerprintUnder(key.toString("base64url"), present.value);
      const state =
        has === wanted.find(({ from }) => from === "local:key")?.fingerprint ? "acknowledged" : "failed";
      return [{ host: "here", pid: 1, profile: "p", generation: 1, canSwap: true, state }];
    },
  };
  let events = 0;
  const deps: RotationDeps = {
    fleet,
    clock: systemClock,
    canary: { try: async () => ({ works: true, wasProbed: true }) },
    ackTimeoutMs: 1000,
    missingOk: [],
    decide: async () => "stop",
    emit(event) {
      say({
        event: event.type,
        ...("step" in event && { step: event.step }),
        ...("rotation" in event && { rotation: event.rotation }),
      });
      if (++events === stopAt) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    },
  };
  const place = {
    folder: join(home, "rotations"),
    uid: process.getuid?.(),
    clock: { ...systemClock, after: refuseToWait },
    onUnwritten: (line: string) => say({ unwritten: JSON.parse(line) }),
  };
  const { signal } = new AbortController();
  const request = {
    profile: "p",
    reason: orders.reason,
    operator: "alice@here",
    targets: [target],
    credentials: new Set<string>(),
  };
  const outcome =
    orders.resume === undefined
      ? await rotate(await planRotation(request, deps, signal), place, deps, signal)
      : await resume(orders.resume, [target], place, deps, signal);
  say({ outcome });
}

function issuerIn(file: string): Issuer {
  const read = (): Keys => JSON.parse(readFileSync(file, "utf8"));
  const write = (keys: Keys) => {
    writeFileSync(`${file}.tmp`, JSON.stringify(keys));
    renameSync(`${file}.tmp`, file);
  };
  if (!existsSync(file)) write({ made: {}, valid: ["canary-old"], mints: 0 });
  return {
    kind: "hook",
    async mint({ rotationId }) {
      const { made, valid, mints } = read();
      const value = `canary-new-${mints + 1}`;
      write({ made: { ...made, [rotationId]: value }, valid: [...valid, value], mints: mints + 1 });
      return { value: new Secret(value) };
    },
    async find({ rotationId }) {
      const value = read().made[rotationId];
      return value === undefined ? undefined : { value: new Secret(value) };
    },
    async revoke(_request, { value }) {
      const keys = read();
      write({ ...keys, valid: keys.valid.filter((key) => key !== value?.reveal()) });
      return "revoked";
    },
    verify: async (_request, { value }) =>
      read().valid.includes(value?.reveal() ?? "") ? "accepted" : "refused",
  };
}

/** Nobody else is at the journal: one that was killed must hold nobody up. */
function refuseToWait(): never {
  throw new Error("it waits for the lock of a journal");
}

function say(what: object): void {
  writeSync(1, `${JSON.stringify(what)}\n`);
}

// Beyond its limit a write is refused; without a listener the process would be killed.
process.on("SIGXFSZ", () => undefined);
void obey();
