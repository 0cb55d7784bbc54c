/**
 * One running server, from its spawn until nothing that came of it is left. It carries out what the stop
 * policy says on real processes, keeps the watchdog informed, and knows nothing of lines or clients.
 */
import type { Readable, Writable } from "node:stream";
import type { Clock } from "../clock.ts";
import { systemErrorCode } from "../errors.ts";
import { type Container, containerFor } from "./container.ts";
import type { ExitStatus } from "./exit-status.ts";
import { ProcessTree } from "./process-tree.ts";
import { type LaunchPlan, type SpawnedProgram, spawnProgram } from "./spawn.ts";
import { type StopEvent, Stopping, type StopState, type StopTimes } from "./stopping.ts";
import type { Watchdog } from "./watchdog.ts";

/** Ms between two looks whether what the server left behind has gone. */
const LOOK_EVERY_MS = 25;

export interface GenerationOptions {
  readonly plan: LaunchPlan;
  readonly times: StopTimes;
  readonly platform: NodeJS.Platform;
  readonly uid: number | undefined;
  readonly clock: Clock;
  readonly watchdog: Watchdog;
  /** For small private files of ours: Paths.run. */
  readonly runFolder: string;
}

/** Starts it. Throws as spawnProgram does; the plan is released then. */
export async function startGeneration(options: GenerationOptions): Promise<Generation> {
  let container: Container | undefined;
  try {
    container = containerFor(options.plan, options);
    const plan = container?.plan ?? options.plan;
    const stdio = ["pipe", "pipe", "pipe"] as const;
    const program = await spawnProgram(plan, { platform: options.platform, ownGroup: true, stdio });
    return new Generation(program, container, options);
  } catch (error) {
    await container?.finish(undefined);
    await options.plan.release?.();
    throw error;
  }
}

export class Generation {
  readonly pid: number;
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Resolves when the server and all that came of it have gone; SIGKILL stands for what can't be killed. */
  readonly ended: Promise<ExitStatus>;
  readonly options: GenerationOptions;
  readonly #container: Container | undefined;
  readonly #tree: ProcessTree;
  readonly #stopping: Stopping;
  #status: ExitStatus | undefined;
  #allGone: () => void = () => undefined;

  constructor(program: SpawnedProgram, container: Container | undefined, options: GenerationOptions) {
    const { pid, stdin, stdout, stderr } = program;
    if (!stdin || !stdout || !stderr) throw new Error("a server needs three pipes");
    this.pid = pid;
    this.stdin = stdin;
    this.stdout = stdout;
    this.stderr = stderr;
    this.options = options;
    this.#container = container;
    this.#tree = new ProcessTree(pid, { ownGroup: true, platform: options.platform });
    this.#stopping = new Stopping(options.clock, options.times, {
      endStdin: () => stdin.end(),
      terminate: () => this.#terminate(),
      kill: () => this.#kill(),
      gone: () => this.#allGone(),
    });
    options.watchdog.watch(pid, "group");
    program.onExit((status) => this.#programEnded(status));
    const gone = new Promise<void>((resolve) => {
      this.#allGone = resolve;
    });
    this.ended = gone.then(() => this.#clearUp());
  }

  get stopState(): StopState {
    return this.#stopping.state;
  }

  /** A signal, the end of the client's stdin, and what else the stop policy has to know. */
  tell(event: Exclude<StopEvent, { type: "program-ended" | "time-is-up" }>): void {
    this.#stopping.tell(event);
  }

  /** Sends it to the program itself, not to its group. False if that has ended. */
  signalProgram(signal: NodeJS.Signals): boolean {
    if (this.#status) return false;
    try {
      return process.kill(this.pid, signal);
    } catch (error) {
      // It has just gone, or has changed its user.
      if (systemErrorCode(error) === undefined) throw error;
      return false;
    }
  }

  #terminate(): void {
    if (this.#status) {
      this.#tree.signalAll("SIGTERM");
      return;
    }
    // Who is there now is remembered: helpers in other groups lose their parent when it goes.
    this.#tree.look();
    this.#tree.signalGroup("SIGTERM");
    // Windows has no TERM; the end of stdin is the polite way there.
    if (this.options.platform === "win32") this.stdin.end();
    this.#container?.stop(this.options.times.graceMs);
  }

  #kill(): void {
    this.#tree.signalAll("SIGKILL");
    this.#container?.kill();
  }

  #programEnded(status: ExitStatus): void {
    this.#tree.markReaped();
    this.#status = status;
    this.#sweep();
  }

  /** Asks who is left, has them stopped, and looks again until nobody is. */
  #sweep(): void {
    const someLeft = this.#tree.look().length > 0;
    this.#stopping.tell({ type: "program-ended", someLeft });
    if (someLeft) this.#waitForSurvivors();
  }

  #waitForSurvivors(): void {
    if (this.#stopping.state.id === "gone") return;
    if (this.#tree.hasSurvivors()) this.options.clock.after(LOOK_EVERY_MS, () => this.#waitForSurvivors());
    else this.#sweep();
  }

  async #clearUp(): Promise<ExitStatus> {
    const status = this.#status ?? { type: "signalled", signal: "SIGKILL" };
    this.options.watchdog.forget(this.pid);
    await this.#container?.finish(status);
    await this.options.plan.release?.();
    return status;
  }
}
