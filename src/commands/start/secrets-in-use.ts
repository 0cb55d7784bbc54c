/**
 * The secrets of a profile for as long as its program is there: fetched, hidden from every output of ours, and
 * given to one server after the other. What lives behind them (leases, files, values that must stay hidden) is
 * given back when the last server that had it has gone.
 */
import { existsSync } from "node:fs";
import { systemErrorCode } from "../../errors.ts";
import type { DeliveredFiles } from "../../launch/delivered-files.ts";
import type { LaunchPlan } from "../../launch/spawn.ts";
import type { Profile } from "../../profile/profile.ts";
import type { KeptValue, NeedleSet } from "../../scrub/needle-set.ts";
import { scrubText } from "../../scrub/scrub-stream.ts";
import { cacheFile, forgetUnwanted } from "../../secrets/cache-place.ts";
import { RecordingEnvironment } from "../../secrets/environment-reader.ts";
import type { Held } from "../../secrets/held.ts";
import type { Resolution, ResolvedSecret, ResolveRequest } from "../../secrets/resolution.ts";
import { resolveSecrets } from "../../secrets/resolve.ts";
import type { Secret } from "../../secrets/secret.ts";
import { FetchTimes } from "../run/fetch-times.ts";
import { type Launch, launchPlan, valuesFor } from "./launch-plan.ts";
import { providerContext } from "./provider-context.ts";

/** A server that is to be started, or runs, and what it has. */
export interface Start {
  readonly plan: LaunchPlan;
  readonly notPassedOn: readonly string[];
  readonly possession: Possession;
}

export type LeaseListener = NonNullable<ResolveRequest["onLeaseEnding"]>;

export class SecretsInUse {
  readonly #launch: Launch;
  readonly #needles: NeedleSet;
  readonly #environment: RecordingEnvironment;
  /** What is being given back: to be awaited before the process ends. */
  readonly #releasing = new Set<Promise<void>>();
  readonly fetchTimes = new FetchTimes();
  #resolution: Resolution | undefined;
  #current: Start | undefined;
  /** Told of each lease that ends although its values are in use; without it a person is warned. */
  onLeaseEnding: LeaseListener | undefined;

  /** @param needles everything that has to be hidden is added to it before anything can be started */
  constructor(launch: Launch, needles: NeedleSet) {
    this.#launch = launch;
    this.#needles = needles;
    this.#environment = new RecordingEnvironment(launch.context.env);
    // They are fetched once the program runs, and it must not find them in its environment.
    for (const name of fleetVariables(launch.profile)) this.#environment.get(name);
  }

  /** Fetches them for the first time. Throws McpRunError. */
  async fetch(signal: AbortSignal): Promise<void> {
    const { printer } = this.#launch.context;
    const resolution = await resolveSecrets(this.request(signal));
    this.hide(resolution);
    this.#resolution = resolution;
    printer.scrubWith((text) => scrubText(text, this.#needles));
  }

  get hasFetched(): boolean {
    return this.#resolution !== undefined;
  }

  get resolution(): Resolution {
    if (!this.#resolution) throw new Error("no secrets have been fetched yet");
    return this.#resolution;
  }

  /** Those of a server that is started beside it, only to be tried, with these values in their places. */
  ofTrial(candidates: ReadonlyMap<string, Secret>): SecretsInUse {
    return new SecretsInUse({ ...this.#launch, purpose: "trial", candidates }, this.#needles);
  }

  /** The program of the server. */
  get command(): string {
    const { override, profile } = this.#launch;
    return override?.command ?? profile.command;
  }

  /** The server that runs now. */
  get current(): Start | undefined {
    return this.#current;
  }

  /** The secrets of the server that runs now, with what is known of them by now. */
  get served(): readonly ResolvedSecret[] {
    const { secretsInArgs } = this.#launch.profile;
    const latest = new Map(this.resolution.secrets.map((secret) => [secret.name, secret]));
    const reachesNobody = ({ name, deliver }: ResolvedSecret) =>
      deliver === "none" && !secretsInArgs.includes(name);
    return (this.#current?.possession.secrets ?? []).map((secret) => {
      const now = latest.get(secret.name);
      return now && (reachesNobody(now) || now.value.equals(secret.value)) ? now : secret;
    });
  }

  /**
   * What a backend is asked for, at the start and later.
   *
   * @param isAsked a person waits for it, so that also a backend is asked that has failed again and again
   */
  request(signal: AbortSignal, isAsked = false): ResolveRequest {
    const { context, profile, candidates } = this.#launch;
    return {
      secrets: profile.secrets,
      secretsFrom: profile.secretsFrom,
      providers: profile.providers,
      kinds: context.kinds,
      context: providerContext(context, this.#environment),
      timeoutMs: profile.fetchTimeoutMs,
      ...(candidates && { candidates }),
      ...(this.onLeaseEnding && { onLeaseEnding: this.onLeaseEnding }),
      signal,
      ...forBadDays(this.#launch, isAsked),
    };
  }

  /** Takes what has just been fetched: from now on nothing of it is printed. */
  hide(resolution: Resolution): void {
    this.fetchTimes.note(resolution, this.#launch.context.clock.now(), this.#resolution);
    const { secrets, secretZero } = resolution;
    for (const { name, value, scrub } of secrets) if (scrub) this.#needles.add(name, value);
    for (const { name, value } of secretZero) this.#needles.add(name, value);
  }

  /** Puts a server together, with what is in use or with other secrets. Throws McpRunError; then nothing is left. */
  start(resolution = this.resolution): Start {
    const { plan, files, notPassedOn } = launchPlan(
      this.#launch,
      resolution.secrets,
      this.#environment.namesRead,
    );
    const possession = new Possession(resolution, this.#needles, files, (held) => this.#giveBack(held));
    return { plan: { ...plan, release: async () => possession.release() }, notPassedOn, possession };
  }

  /** This server runs now. */
  runs(start: Start): void {
    this.#current = start;
  }

  /** These are in use from now on; those before are given back as far as nobody has them any more. */
  adopt(resolution: Resolution): void {
    const before = this.#resolution;
    this.#resolution = resolution;
    if (before) this.#giveBack(before.held);
    resolution.held.started();
  }

  /** The program runs: now is the time for what must not delay a start. */
  started(): void {
    const { context, profile } = this.#launch;
    const { held } = this.resolution;
    held.started();
    if (held.hasCache) return;
    const file = cacheFile(context.paths.cache, profile);
    forgetUnwanted(file).catch((error: unknown) => {
      const reason = systemErrorCode(error) ?? "a bug in mcp-run";
      const message = `the old cache ${file} could not be removed: ${reason}`;
      context.printer.emit({ type: "warning", message });
    });
  }

  /** The program has gone: resolves when everything is given back. Bounded; never rejects. */
  async release(): Promise<void> {
    if (this.#resolution) this.#giveBack(this.#resolution.held);
    await Promise.all(this.#releasing);
  }

  #giveBack(held: Held): void {
    const done = held.release().finally(() => this.#releasing.delete(done));
    this.#releasing.add(done);
  }
}

/** What one server has, from its start until it and all that came of it has gone. */
export class Possession {
  readonly #needles: NeedleSet;
  readonly #files: DeliveredFiles;
  readonly #giveBack: (held: Held) => void;
  #held: Held;
  #kept: readonly KeptValue[];
  #secrets: readonly ResolvedSecret[];

  constructor(
    resolution: Resolution,
    needles: NeedleSet,
    files: DeliveredFiles,
    giveBack: (held: Held) => void,
  ) {
    this.#needles = needles;
    this.#files = files;
    this.#giveBack = giveBack;
    this.#held = resolution.held.share();
    this.#kept = this.#keep(resolution);
    this.#secrets = resolution.secrets;
  }

  get secrets(): readonly ResolvedSecret[] {
    return this.#secrets;
  }

  /** Other values in the same files; the server has to be told. Throws McpRunError. */
  rewriteFiles(resolution: Resolution): void {
    this.#files.rewrite(valuesFor(resolution.secrets, "file"));
    const [held, kept] = [this.#held, this.#kept];
    this.#held = resolution.held.share();
    this.#kept = this.#keep(resolution);
    this.#secrets = resolution.secrets;
    this.#giveBack(held);
    for (const value of kept) value.release();
  }

  release(): void {
    this.#files.remove();
    this.#giveBack(this.#held);
    for (const value of this.#kept) value.release();
  }

  #keep({ secrets }: Resolution): readonly KeptValue[] {
    return secrets.filter(({ scrub }) => scrub).map(({ name, value }) => this.#needles.keep(name, value));
  }
}

/** Variables that hold the credentials of a fleet. */
function fleetVariables({ fleet, providers }: Profile): readonly string[] {
  const refs = [fleet?.credentials, fleet?.operator].filter((ref) => ref !== undefined);
  return refs
    .filter(({ provider }) => (providers.get(provider)?.type ?? provider) === "env")
    .map(({ request }) => request.path);
}

/** Breaker and cache; a home that does not exist is not made for their sake. */
function forBadDays(
  { context, profile, purpose }: Launch,
  isAsked: boolean,
): Pick<ResolveRequest, "breaker" | "cache"> {
  const { env, home, paths, onTerminal } = context;
  if (!env.MCP_RUN_HOME && !existsSync(home)) return {};
  if (purpose === "trial") return { breaker: "lets-through" };
  const maxAgeMs = profile.cacheMaxAgeMs;
  return {
    breaker: onTerminal || isAsked ? "lets-through" : "guards",
    ...(maxAgeMs !== undefined && { cache: { file: cacheFile(paths.cache, profile), maxAgeMs } }),
  };
}
