/**
 * What a rotation finds around it and what outlives its process: a store with two documents, an issuer that remembers
 * which keys it takes, supervisors that serve what the store has. Everything can be made to fail, and to be dead.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { createMemoryKind, type MemoryBehaviour } from "../../providers/memory.ts";
import type { Clock } from "../../src/clock.ts";
import { McpRunError } from "../../src/errors.ts";
import type {
  Acknowledgement,
  Canary,
  CanaryOutcome,
  Fleet,
  Issuer,
  KeyToEnd,
  Target,
} from "../../src/rotation/contract.ts";
import { resume, rollback, rotate } from "../../src/rotation/engine.ts";
import { fingerprintUnder } from "../../src/rotation/fingerprints.ts";
import type { Answer, Outcome, Question, RotationEvent } from "../../src/rotation/happening.ts";
import type { JournalPlace } from "../../src/rotation/journal/journal.ts";
import {
  type PlanDeps,
  planRotation,
  type RotationPlan,
  type RotationRequest,
} from "../../src/rotation/plan.ts";
import type { RotationDeps } from "../../src/rotation/run.ts";
import { partValue, targetStore } from "../../src/rotation/target.ts";
import { isRotatableStore } from "../../src/secrets/provider.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { testContext } from "../helpers/provider-context.ts";

export const GITHUB = "memory:mcp/github";
export const DATABASE = "memory:db";
const HURRIED_MS = 10_000;

/** Short pauses are over at once, long ones never. */
export class HurriedClock implements Clock {
  #now = Date.UTC(2026, 10, 21, 9, 30, 15);
  readonly paused: number[] = [];

  now(): number {
    return this.#now++;
  }

  monotonic(): number {
    return this.#now;
  }

  after(ms: number, callback: () => void) {
    if (ms > HURRIED_MS) return { cancel: () => undefined };
    this.paused.push(ms);
    this.#now += ms;
    const handle = setImmediate(callback);
    return { cancel: () => clearImmediate(handle) };
  }
}

export type IssuerAction = "mint" | "find" | "revoke" | "verify";

/** Takes the keys that are in `valid`, and remembers what it has made for whom. */
export class IssuerWorld {
  readonly valid = new Set<string>();
  readonly calls: string[] = [];
  readonly keysEnded: KeyToEnd[] = [];
  knowsWhatItMade = true;
  canRevoke = true;
  /** What each action fails with. */
  failure: (action: IssuerAction, secret: string) => Error | undefined = () => undefined;
  /** How often a revoked key is still taken. */
  slowness = 0;
  readonly #made = new Map<string, string[]>();

  issuer(kind = "hook"): Issuer {
    const begin = (action: IssuerAction, secret: string) => {
      this.calls.push(`${action} ${secret}`);
      const failure = this.failure(action, secret);
      if (failure) throw failure;
    };
    const minted = (value: string) => ({ value: new Secret(value), keyId: idOf(value) });
    return {
      kind,
      mint: async ({ rotationId, secret }) => {
        begin("mint", secret);
        const made = this.#made.get(`${rotationId} ${secret}`) ?? [];
        const count = [...this.#made]
          .filter(([key]) => key.endsWith(` ${secret}`))
          .flatMap(([, all]) => all).length;
        const value = `canary-new-${secret}-${count + 1}`;
        this.#made.set(`${rotationId} ${secret}`, [...made, value]);
        this.valid.add(value);
        return minted(value);
      },
      find: async ({ rotationId, secret }) => {
        begin("find", secret);
        const value = this.#made.get(`${rotationId} ${secret}`)?.at(-1);
        return this.knowsWhatItMade && value !== undefined ? minted(value) : undefined;
      },
      revoke: async ({ secret }, key) => {
        begin("revoke", secret);
        this.keysEnded.push(key);
        if (!this.canRevoke) return "unknown";
        for (const value of this.valid) {
          if (value === key.value?.reveal() || idOf(value) === key.keyId) this.valid.delete(value);
        }
        return "revoked";
      },
      verify: async ({ secret }, key) => {
        begin("verify", secret);
        if (key.value === undefined) return "unknown";
        return this.valid.has(key.value.reveal()) || this.slowness-- > 0 ? "accepted" : "refused";
      },
    };
  }
}

function idOf(value: string): string {
  return value.replace("canary-", "id-of-");
}

/** What a process that is dead throws wherever it turns. */
export class Crash extends Error {}

export class World {
  readonly behaviour: MemoryBehaviour = {};
  readonly kind = createMemoryKind(
    { "mcp/github": '{ "token": "canary-old-token", "user": "bot" }', db: "canary-old-db" },
    this.behaviour,
  );
  readonly issuers = new IssuerWorld();
  readonly folder = mkdtempSync(join(tmpdir(), "mcp-run-rotation-"));
  readonly clock = new HurriedClock();
  readonly events: RotationEvent[] = [];
  readonly questions: Question[] = [];
  readonly unwritten: string[] = [];
  readonly tried: (readonly string[])[] = [];
  readonly forgotten: string[] = [];
  answer: (question: Question) => Answer = () => "stop";
  /** What a trial comes to, by `NAME=value` of what was tried. */
  canary: (tried: readonly string[]) => CanaryOutcome = () => ({ works: true, wasProbed: true });
  /** Secrets whose old value is put into a server once it is revoked. */
  triesOld: readonly string[] = [];
  /** What a supervisor is in that does not have what is wanted; with it, all are. */
  lagging: Acknowledgement["state"] | undefined;
  missingOk: readonly string[] = [];
  /** Done between the canary and the promotion. */
  beforePromotion: () => Promise<void> = async () => undefined;
  fleetFailure: Error | undefined;
  /** Lines that the journal takes; then the process is dead. */
  lines = Number.POSITIVE_INFINITY;
  /** Dead as soon as the last of them is written; else when it would write the next. */
  diesAtOnce = false;
  /** Called before everything that is done to something outside. */
  onTouch: (what: string) => void = () => undefined;

  constructor() {
    this.issuers.valid.add("canary-old-token").add("canary-old-db");
    onTestFinished(() => rmSync(this.folder, { recursive: true, force: true }));
  }

  #isDead = false;
  #written = 0;

  touch(what: string): void {
    if (this.#isDead) throw new Crash("dead");
    this.onTouch(what);
  }

  /** A process of its own, as far as that goes: nothing is kept from the one before. */
  reborn(): void {
    this.#isDead = false;
    this.#written = 0;
    this.lines = Number.POSITIVE_INFINITY;
  }

  get place(): JournalPlace {
    const now = () => {
      if (this.#isDead || this.#written === this.lines) throw new Crash("dead");
      this.#written++;
      if (this.diesAtOnce && this.#written === this.lines) this.#isDead = true;
      return this.clock.now();
    };
    const clock: Clock = {
      now,
      monotonic: () => this.clock.monotonic(),
      after: (ms, callback) => this.clock.after(ms, callback),
    };
    const onUnwritten = (line: string) => void this.unwritten.push(line);
    return { folder: join(this.folder, "rotations"), uid: process.getuid?.(), clock, onUnwritten };
  }

  async store() {
    const store = await this.kind.open({}, testContext({ clock: this.clock }));
    if (!isRotatableStore(store)) throw new Error("the memory store can be rotated");
    return store;
  }

  /** GITHUB has the field token, DATABASE is one value. */
  async targets(kind?: string): Promise<readonly Target[]> {
    const store = await this.store();
    const issuer = guarded(this.issuers.issuer(kind), (what) => this.touch(what));
    const guardedStore = (path: string) => guarded(targetStore(store, { path }), (what) => this.touch(what));
    return [
      {
        ref: GITHUB,
        parts: [{ name: "TOKEN", from: `${GITHUB}#token`, field: ["token"], issuer }],
        store: guardedStore("mcp/github"),
      },
      { ref: DATABASE, parts: [{ name: "DB", from: DATABASE, issuer }], store: guardedStore("db") },
    ];
  }

  get deps(): RotationDeps {
    const canary: Canary = {
      try: async (candidates) => {
        this.touch("canary");
        this.tried.push([...candidates].map(([name, value]) => `${name}=${value.reveal()}`));
        const outcome = this.canary(this.tried.at(-1) ?? []);
        await this.beforePromotion();
        return outcome;
      },
    };
    return {
      canary,
      triesOld: (name) => this.triesOld.includes(name),
      fleet: this.fleet,
      clock: this.clock,
      ackTimeoutMs: 60_000,
      missingOk: this.missingOk,
      decide: async (question) => {
        this.touch("decide");
        this.questions.push(question);
        return this.answer(question);
      },
      emit: (event) => void this.events.push(event),
      forgetCopies: async (refs) => void this.forgotten.push(...refs),
    };
  }

  /** One supervisor for each ref of a part: it serves what the store has. */
  get fleet(): Fleet {
    const member = { host: "laptop", profile: "github", generation: 2, canSwap: true };
    return {
      list: async (secrets) => secrets.map((_secret, index) => ({ ...member, pid: 100 + index })),
      spread: async (wanted, key, _timeoutMs, _signal, onProgress) => {
        this.touch("spread");
        if (this.fleetFailure) throw this.fleetFailure;
        const acknowledgements: Acknowledgement[] = [];
        for (const { from, fingerprint } of wanted) {
          const has = await this.served(from);
          const isThere =
            has !== undefined && fingerprintUnder(key.toString("base64url"), has) === fingerprint;
          const state = this.lagging ?? (isThere ? "acknowledged" : "pending");
          acknowledgements.push({ ...member, pid: 100 + acknowledgements.length, state });
        }
        onProgress(acknowledgements);
        return acknowledgements;
      },
    };
  }

  async served(from: string): Promise<Secret | undefined> {
    const [path = "", field] = from.replace("memory:", "").split("#");
    const present = await targetStore(await this.store(), { path }).read(new AbortController().signal);
    return partValue(field === undefined ? {} : { field: [field] }, present?.value);
  }

  async plan(request: Partial<RotationRequest> = {}, more: Partial<PlanDeps> = {}): Promise<RotationPlan> {
    return planRotation(
      {
        profile: "github",
        reason: "leaked in build log",
        operator: "alice@laptop",
        targets: await this.targets(),
        credentials: new Set(),
        ...request,
      },
      { fleet: this.fleet, clock: this.clock, ...more },
      never(),
    );
  }

  async rotate(request: Partial<RotationRequest> = {}, signal = never()): Promise<Outcome> {
    return rotate(await this.plan(request), this.place, this.deps, signal);
  }

  /** As it was planned, however the world has changed since. */
  async rotatePlanned(plan: RotationPlan, signal = never()): Promise<Outcome> {
    return rotate(plan, this.place, this.deps, signal);
  }

  async resume(rotation: string, targets?: readonly Target[]): Promise<Outcome> {
    return resume(rotation, targets ?? (await this.targets()), this.place, this.deps, never());
  }

  async rollback(rotation: string, targets?: readonly Target[]): Promise<Outcome> {
    return rollback(rotation, targets ?? (await this.targets()), this.place, this.deps, never());
  }

  journalOf(rotation: string): string {
    return readFileSync(join(this.place.folder, `${rotation}.jsonl`), "utf8");
  }

  /** What is left of it all, for the next one who comes. */
  async state() {
    const store = await this.store();
    const documents = await Promise.all(
      ["mcp/github", "db"].map(async (path) => {
        const target = targetStore(store, { path });
        const present = await target.read(never());
        const versions = await Promise.all(
          ["v1", "v2", "v3", "v4"].map(
            async (version) => (await target.readVersion(version, never())) && version,
          ),
        );
        return {
          path,
          current: present?.value.reveal(),
          versions: versions.filter(Boolean),
          candidate: (await target.findCandidate(never()))?.rotationId,
        };
      }),
    );
    return { documents, valid: [...this.issuers.valid].sort() };
  }
}

export function never(): AbortSignal {
  return new AbortController().signal;
}

export function failure(message: string): McpRunError {
  return new McpRunError("backend-unavailable", message);
}

/** Every method is announced before it is called. */
function guarded<T extends object>(thing: T, touch: (what: string) => void): T {
  return new Proxy(thing, {
    get(on, name) {
      const member: unknown = Reflect.get(on, name);
      if (typeof member !== "function") return member;
      return async (...args: unknown[]) => {
        touch(String(name));
        return member.apply(on, args);
      };
    },
  });
}
