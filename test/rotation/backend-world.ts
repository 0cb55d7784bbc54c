/** A backend that replaces keys by itself, and the one server that has them: beside what else a rotation finds. */
import { ProviderError } from "../../src/errors.ts";
import type { Fleet, LeaseHolder, Target, TargetStore } from "../../src/rotation/contract.ts";
import { fingerprintUnder } from "../../src/rotation/fingerprints.ts";
import { BACKEND_ISSUER } from "../../src/rotation/issuers/backend.ts";
import type { LeasedKeys, LiveRotation } from "../../src/secrets/provider.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { World } from "./world.ts";

export const LIVE = "vault:database/static-creds/app";
export const LENT = "vault:database/creds/app";
const MEMBER = { host: "laptop", pid: 7, profile: "github", generation: 2, canSwap: true };

export class BackendWorld extends World {
  /** What the backend gives, by version; the last one is current. */
  readonly live: string[] = ["canary-live-1"];
  /** Leases that are alive; the server has one of them. */
  readonly leases = new Set(["lease-1", "lease-leaked"]);
  lent = "lease-1";
  liveFailure: Error | undefined;
  /** It has replaced the key, and its answer gets lost. */
  losesAnswer = false;
  /** The server does not take another lease. */
  keepsLease = false;
  readonly revoked: string[] = [];
  /** Of all that are not on this machine nothing can be heard. */
  busFailure: string | undefined;
  #leaseCount = 1;

  liveTarget(mode: LiveRotation["mode"] = "vault-static-role"): Target {
    const own: LiveRotation = {
      mode,
      read: async () => {
        this.touch("read");
        const document = JSON.stringify({ password: this.live.at(-1), username: "app" });
        return { value: new Secret(document), version: `v${this.live.length}` };
      },
      rotate: async (_rotationId, planned) => {
        this.touch("rotate");
        if (this.liveFailure) throw this.liveFailure;
        if (planned !== `v${this.live.length}`) throw new ProviderError("conflict", "it is another version");
        this.live.push(`canary-live-${this.live.length + 1}`);
        this.touch("answer");
        if (this.losesAnswer) throw new ProviderError("unavailable", "no answer");
        return { version: `v${this.live.length}` };
      },
      retire: async (version) => {
        this.touch("retire");
        this.forgotten.push(version);
        return true;
      },
    };
    return target(LIVE, "PASSWORD", own);
  }

  leaseTarget(): Target {
    const own: LeasedKeys = {
      mode: "vault-lease",
      list: async () => {
        this.touch("list");
        return [...this.leases];
      },
      revoke: async (id) => {
        this.touch("revoke");
        this.leases.delete(id);
        this.revoked.push(id);
      },
    };
    return target(LENT, "ACCOUNT", own);
  }

  override get fleet(): Fleet {
    const inner = super.fleet;
    const inMemory = (from: string) => from.startsWith("memory:");
    return {
      list: async (secrets, _signal, key) => [
        ...(await inner.list(
          secrets.filter(({ from }) => inMemory(from)),
          never,
          key,
        )),
        MEMBER,
      ],
      spread: async (wanted, key, timeoutMs, signal, onProgress) => {
        this.touch("spread");
        const others = await inner.spread(
          wanted.filter(({ from }) => inMemory(from)),
          key,
          timeoutMs,
          signal,
          onProgress,
        );
        const own = wanted.filter(({ from }) => !inMemory(from));
        const states = own.map(({ fingerprint, oldLeases }) => {
          if (oldLeases?.includes(this.lent) && !this.keepsLease) {
            this.lent = `lease-new-${++this.#leaseCount}`;
            this.leases.add(this.lent);
          }
          const live = fingerprintUnder(key.toString("base64url"), new Secret(this.live.at(-1) ?? ""));
          const has = oldLeases ? !oldLeases.includes(this.lent) : fingerprint === live;
          return {
            ...MEMBER,
            state: this.lagging ?? (has ? ("acknowledged" as const) : ("pending" as const)),
          };
        });
        return [...others, ...states];
      },
      leaseHolders: async (wanted): Promise<readonly LeaseHolder[]> => {
        this.touch("leaseHolders");
        const leases = wanted.flatMap(({ oldLeases = [] }) => oldLeases);
        const { busFailure: reason } = this;
        const lost = { ...MEMBER, host: "the fleet's bus", pid: 0, profile: "?", leases };
        return [{ ...MEMBER, leases: [this.lent] }, ...(reason === undefined ? [] : [{ ...lost, reason }])];
      },
    };
  }
}

const never = new AbortController().signal;

function target(ref: string, name: string, own: NonNullable<Target["own"]>): Target {
  const part = { name, from: `${ref}#password`, field: ["password"], issuer: BACKEND_ISSUER };
  return { ref, parts: [part], store: NO_STORE, own };
}

/** Nothing is ever put into it, and nothing read. */
const NO_STORE = new Proxy({} as TargetStore, {
  get: (_on, name) => {
    throw new Error(`${String(name)} was asked of a store`);
  },
});
