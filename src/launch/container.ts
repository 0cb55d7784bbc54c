/**
 * `docker run` and `podman run` as the command. The process that we start is only the engine's client: if it
 * is killed the container lives on. So the container's id is written to a file (`--cidfile`), and the
 * container is stopped by it when we stop.
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Clock } from "../clock.ts";
import { systemErrorCode } from "../errors.ts";
import { parseContainerRun } from "./container-command.ts";
import type { ExitStatus } from "./exit-status.ts";
import { findCommand } from "./find-command.ts";
import { makeOwnFolder, removeOwnFolder, removeStaleFolders } from "./own-folder.ts";
import type { LaunchPlan } from "./spawn.ts";

/** Ms that the engine may take for a stop or a kill before we end without its answer. */
const ENGINE_MS = 5000;

export interface ContainerOptions {
  readonly platform: NodeJS.Platform;
  readonly uid: number | undefined;
  readonly runFolder: string;
  readonly clock: Clock;
}

export interface Container {
  /** The plan with `--cidfile` in it. */
  readonly plan: LaunchPlan;
  /** TERM to the container's first process, and KILL after the grace. Does not wait. */
  stop(graceMs: number): void;
  /** Does not wait. */
  kill(): void;
  /**
   * The engine's client has ended, or was never started (undefined). Kills a container that it left behind,
   * waits for the engine (at most 5 s), and removes the id file.
   */
  finish(status: ExitStatus | undefined): Promise<void>;
}

/** Undefined if the plan's command starts no container. Throws McpRunError: no engine, no place for the id file. */
export function containerFor(plan: LaunchPlan, options: ContainerOptions): Container | undefined {
  const run = parseContainerRun(plan.command, plan.args);
  if (!run) return undefined;
  const engine = [findCommand({ ...plan, platform: options.platform }), ...run.globalArgs] as const;
  const base = join(options.runFolder, "containers");
  removeStaleFolders(base, options.platform);
  const folder = run.cidFile === undefined ? makeOwnFolder(base, options.platform, options.uid) : undefined;
  const cidFile = resolve(plan.cwd, run.cidFile ?? join(folder ?? "", "id"));
  const args = folder === undefined ? plan.args : plan.args.toSpliced(run.afterRun, 0, "--cidfile", cidFile);
  return new EngineContainer({ ...plan, args }, engine, { cidFile, folder }, options.clock);
}

interface IdFile {
  readonly cidFile: string;
  /** Ours to remove; undefined where the profile has its own `--cidfile`. */
  readonly folder: string | undefined;
}

class EngineContainer implements Container {
  readonly plan: LaunchPlan;
  readonly #command: readonly [engine: string, ...globalArgs: string[]];
  readonly #place: IdFile;
  readonly #clock: Clock;
  readonly #underway = new Set<Promise<void>>();

  constructor(
    plan: LaunchPlan,
    command: readonly [engine: string, ...globalArgs: string[]],
    place: IdFile,
    clock: Clock,
  ) {
    this.plan = plan;
    this.#command = command;
    this.#place = place;
    this.#clock = clock;
  }

  stop(graceMs: number): void {
    this.#engine("stop", "-t", String(Math.floor(graceMs / 1000)));
  }

  kill(): void {
    this.#engine("kill");
  }

  async finish(status: ExitStatus | undefined): Promise<void> {
    if (status?.type === "signalled") this.kill();
    await this.#allDone();
    if (this.#place.folder !== undefined) removeOwnFolder(this.#place.folder);
  }

  /** Runs `docker VERB … ID`; what it says is of no use, since the container may have gone by itself. */
  #engine(...verb: string[]): void {
    const id = this.#id();
    if (id === undefined) return;
    const { cwd, env, secretNames } = this.plan;
    const [file, ...globalArgs] = this.#command;
    // The same engine as the client's, so its environment; but the secrets are not for this.
    const plain = Object.entries(env).filter(([name]) => !secretNames.has(name));
    const engine = spawn(file, [...globalArgs, ...verb, id], {
      cwd,
      env: Object.fromEntries(plain),
      stdio: "ignore",
      windowsHide: true,
      detached: true,
    });
    const done = new Promise<void>((settle) => {
      engine.once("exit", () => settle());
      engine.once("error", () => settle());
    });
    this.#underway.add(done);
    void done.then(() => this.#underway.delete(done));
  }

  /** Undefined as long as there is no container. */
  #id(): string | undefined {
    try {
      return /^[0-9a-f]{12,64}$/.exec(readFileSync(this.#place.cidFile, "utf8").trim())?.[0];
    } catch (error) {
      if (systemErrorCode(error) === undefined) throw error;
      return undefined;
    }
  }

  #allDone(): Promise<void> {
    return new Promise((settle) => {
      const timer = this.#clock.after(ENGINE_MS, settle);
      void Promise.all(this.#underway).then(() => {
        timer.cancel();
        settle();
      });
    });
  }
}
