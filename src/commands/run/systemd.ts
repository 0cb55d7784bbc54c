/**
 * Tells systemd how a server does, as sd_notify(3) has it: READY=1 once a server runs, which one it is, STOPPING=1,
 * and WATCHDOG=1 for as long as the supervisor is alive. A datagram socket is nothing that Node can open, so
 * `systemd-notify` speaks for us. What fails is said once, and ends nothing.
 */
import { settledWithin, type Timer } from "../../clock.ts";
import { systemErrorCode } from "../../errors.ts";
import { escapeControl, lastLines } from "../../escape.ts";
import type { ServerControl } from "../../launch/serving.ts";
import { runProgram } from "../../secrets/run-program.ts";
import type { CommandContext } from "../context.ts";
import { isRunning } from "../is-running.ts";

/** Ms that one message may take: systemd-notify waits up to 5 s until systemd has taken it. */
const PATIENCE_MS = 6_000;
/** Ms that the end of mcp-run waits for the last message. */
const LAST_WORD_MS = 2_000;
/** Ms without a server, while the supervisor says that one serves, after which it is not believed any more. */
const MOST_MS_WITHOUT_SERVER = 30_000;
/** Ms: each ping starts a program. */
const LEAST_PING_MS = 100;
/** As execvp(3) looks where nobody says. */
const PATH_OF_LAST_RESORT = "/usr/local/bin:/usr/bin:/bin";

export interface NoticeOptions {
  readonly context: Pick<CommandContext, "env" | "clock"> & {
    readonly printer: Pick<CommandContext["printer"], "emit">;
  };
  readonly profile: { readonly name: string };
  readonly control: Pick<ServerControl, "state">;
  /** The server that runs now. */
  readonly refreshing: { readonly server: { readonly pid: number; readonly generation: number } };
}

export class Systemd {
  readonly #options: NoticeOptions;
  readonly #abort = new AbortController();
  readonly #pingMs: number | undefined;
  /** Messages go out one after the other, in order. */
  #sent: Promise<void> = Promise.resolve();
  #isPinging = false;
  #isReady = false;
  #isStopping = false;
  #hasFailed = false;
  #ping: Timer | undefined;
  /** Since when (monotonic ms) the supervisor serves without a server. */
  #goneSince: number | undefined;

  constructor(options: NoticeOptions) {
    this.#options = options;
    this.#pingMs = pingInterval(options.context.env);
  }

  /** A server has been started. One that has died by now is not what systemd waits for. */
  runs(): void {
    const { profile, refreshing } = this.#options;
    const { pid, generation } = refreshing.server;
    if (this.#isStopping || !isRunning(pid)) return;
    const status = `STATUS=generation ${generation} of ${escapeControl(profile.name, " ")} started, server ${pid}`;
    void this.#tell(this.#isReady ? [status] : ["READY=1", status]);
    if (!this.#isReady) this.#keepPinging();
    this.#isReady = true;
  }

  /** No other server is to be started. */
  stopping(): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    void this.#tell(["STOPPING=1", `STATUS=stopping ${escapeControl(this.#options.profile.name, " ")}`]);
  }

  /** Never rejects. */
  async close(): Promise<void> {
    this.stopping();
    this.#ping?.cancel();
    await settledWithin(this.#options.context.clock, LAST_WORD_MS, this.#sent);
    this.#abort.abort();
  }

  #keepPinging(): void {
    if (this.#pingMs === undefined || this.#abort.signal.aborted) return;
    // Behind one that is still under way another says nothing new.
    if (!this.#isPinging && this.#isAlive()) {
      this.#isPinging = true;
      void this.#tell(["WATCHDOG=1"]).then(() => {
        this.#isPinging = false;
      });
    }
    this.#ping = this.#options.context.clock.after(this.#pingMs, () => this.#keepPinging(), {
      background: true,
    });
  }

  /** That we are asked at all shows that the event loop turns. */
  #isAlive(): boolean {
    const { context, control, refreshing } = this.#options;
    const state = control.state();
    if (state === "stopped") return false;
    if (state !== "serving" || isRunning(refreshing.server.pid)) {
      this.#goneSince = undefined;
      return true;
    }
    this.#goneSince ??= context.clock.monotonic();
    return context.clock.monotonic() - this.#goneSince < MOST_MS_WITHOUT_SERVER;
  }

  #tell(words: readonly string[]): Promise<void> {
    this.#sent = this.#sent
      .then(() => this.#send(words))
      .catch((error: unknown) => this.#failed(systemErrorCode(error) ?? "a bug in mcp-run"));
    return this.#sent;
  }

  async #send(words: readonly string[]): Promise<void> {
    const { NOTIFY_SOCKET = "", PATH } = this.#options.context.env;
    const { signal } = this.#abort;
    if (signal.aborted) return;
    const outcome = await runProgram({
      argv: ["systemd-notify", ...words],
      env: { NOTIFY_SOCKET, PATH: PATH || PATH_OF_LAST_RESORT },
      timeoutMs: PATIENCE_MS,
      maxOutputBytes: 65_536,
      signal,
    });
    if (outcome.type === "exited" && outcome.exitCode === 0) return;
    if (outcome.type === "not-started") this.#failed(`it can't be started (${outcome.code})`);
    else if (outcome.type !== "exited") this.#failed(outcome.type.replaceAll("-", " "));
    else {
      const said = lastLines(outcome.stderr, (text) => text).at(-1);
      this.#failed(`exit code ${outcome.exitCode}${said ? `: ${said}` : ""}`);
    }
  }

  #failed(reason: string): void {
    // Given up by ourselves, at the end.
    if (this.#hasFailed || this.#abort.signal.aborted) return;
    this.#hasFailed = true;
    this.#options.context.printer.emit({
      type: "warning",
      message: `systemd is not told how ${this.#options.profile.name} does: systemd-notify: ${reason}`,
      hint: "`NotifyAccess=all` and a PATH with systemd-notify, or `Type=exec` without `WatchdogSec=` in the unit",
    });
  }
}

/** Ms from ping to ping, half of what systemd waits for; undefined if it waits for none of ours. sd_watchdog_enabled(3) */
function pingInterval({ WATCHDOG_USEC, WATCHDOG_PID }: CommandContext["env"]): number | undefined {
  if (!WATCHDOG_USEC || !/^[1-9]\d{0,15}$/.test(WATCHDOG_USEC)) return undefined;
  if (WATCHDOG_PID && WATCHDOG_PID !== String(process.pid)) return undefined;
  return Math.max(LEAST_PING_MS, Number(WATCHDOG_USEC) / 2_000);
}
