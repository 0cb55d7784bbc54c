/**
 * A real Secret Service (gnome-keyring) on a session bus, with a home and a runtime directory, of its own.
 * Nothing of the machine's own session is seen or touched.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BOUNDED, killAll, until } from "./processes.ts";
import { prepared, startedAtLast } from "./server-process.ts";

export const PROGRAMS = ["dbus-daemon", "dbus-send", "gnome-keyring-daemon", "secret-tool"];

export interface SecretServiceOptions {
  /** Without it nothing owns org.freedesktop.secrets on the bus. */
  readonly keyring?: "unlocked" | "without a collection" | "none";
  /** What opens when the keyring asks to be unlocked: nothing, so that it is dismissed; or a dialog that nobody answers. */
  readonly dialog?: "none" | "unanswered";
}

const LOGIN = "/org/freedesktop/secrets/collection/login";

export class SecretService {
  readonly dir = mkdtempSync(join(tmpdir(), "mcp-run-bus-"));
  readonly home = join(this.dir, "home");
  readonly #runtime = join(this.dir, "run");
  readonly #dialogPid = join(this.dir, "dialog.pid");
  readonly #children: ChildProcess[] = [];

  /** What an MCP client leaves of an environment, and the runtime directory that leads to the bus. */
  get env(): Record<string, string> {
    return { HOME: this.home, XDG_RUNTIME_DIR: this.#runtime, PATH: process.env.PATH ?? "" };
  }

  static async start({
    keyring = "unlocked",
    dialog = "none",
  }: SecretServiceOptions = {}): Promise<SecretService> {
    return startedAtLast(() => {
      const service = new SecretService();
      return prepared(service, async () => {
        await service.#startBus(dialog);
        if (keyring !== "none") await service.#startKeyring(keyring === "unlocked" ? "test" : "");
      });
    });
  }

  /** Runs a program on this bus and returns its stdout; throws on any exit code but 0. */
  run(program: string, args: readonly string[], input: string | Uint8Array = ""): string {
    const options = { env: this.#busEnv, input, encoding: "utf8", stdio: "pipe", ...BOUNDED } as const;
    return execFileSync(program, args, options);
  }

  /** Stores an item as another program would. */
  store(attributes: readonly string[], value: string | Uint8Array): void {
    this.run("secret-tool", ["store", "--label=a test", ...attributes], value);
  }

  /** Locks the login collection; from now on a read opens the dialog. */
  lock(): void {
    this.run("dbus-send", [
      "--session",
      "--print-reply",
      "--dest=org.freedesktop.secrets",
      "/org/freedesktop/secrets",
      "org.freedesktop.Secret.Service.Lock",
      `array:objpath:${LOGIN}`,
    ]);
  }

  /** Resolves once a dialog is open that nobody answers. */
  async dialogIsOpen(): Promise<void> {
    await until("the unlock dialog opens", () => this.#dialog !== undefined);
  }

  /** The keyring no longer answers, or answers again. */
  freeze(isFrozen: boolean): void {
    this.#children.at(-1)?.kill(isFrozen ? "SIGSTOP" : "SIGCONT");
  }

  async stop(): Promise<void> {
    const pids = this.#children.flatMap(({ pid }) => pid ?? []);
    killAll([...pids, ...(this.#dialog === undefined ? [] : [this.#dialog])]);
    await Promise.all(
      this.#children.map(
        (child) =>
          new Promise((resolve) =>
            child.exitCode === null && child.signalCode === null ? child.once("exit", resolve) : resolve(0),
          ),
      ),
    );
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 10 });
  }

  get #busEnv(): Record<string, string> {
    return { ...this.env, DBUS_SESSION_BUS_ADDRESS: `unix:path=${join(this.#runtime, "bus")}` };
  }

  get #dialog(): number | undefined {
    if (!existsSync(this.#dialogPid)) return undefined;
    const text = readFileSync(this.#dialogPid, "utf8");
    return text.endsWith("\n") ? Number(text) : undefined;
  }

  async #startBus(dialog: "none" | "unanswered"): Promise<void> {
    const services = join(this.dir, "services");
    for (const folder of [this.home, join(this.home, ".local/share/keyrings"), this.#runtime, services]) {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
    }
    if (dialog === "unanswered") {
      const script = `echo $$ > ${this.#dialogPid}; exec sleep 300`;
      writeFileSync(
        join(services, "org.gnome.keyring.SystemPrompter.service"),
        `[D-BUS Service]\nName=org.gnome.keyring.SystemPrompter\nExec=/bin/sh -c "${script}"\n`,
      );
    }
    const config = join(this.dir, "bus.conf");
    writeFileSync(
      config,
      `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=${join(this.#runtime, "bus")}</listen>
  <servicedir>${services}</servicedir>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>`,
    );
    this.#spawn("dbus-daemon", [`--config-file=${config}`, "--nofork"], this.env);
    // Its socket is there before somebody listens at it.
    await until("the bus listens", () => this.#hasOwner("org.freedesktop.DBus"));
  }

  /** An empty password makes no collection. */
  async #startKeyring(password: string): Promise<void> {
    const keyring = this.#spawn(
      "gnome-keyring-daemon",
      ["--foreground", "--components=secrets", "--unlock"],
      this.#busEnv,
    );
    keyring.stdin?.end(password);
    await until("the keyring is on the bus", () => this.#hasOwner("org.freedesktop.secrets"));
  }

  /** No also where nobody can be asked. */
  #hasOwner(name: string): boolean {
    const question = [
      "--dest=org.freedesktop.DBus",
      "/",
      "org.freedesktop.DBus.NameHasOwner",
      `string:${name}`,
    ];
    try {
      return this.run("dbus-send", ["--session", "--print-reply", ...question]).includes("boolean true");
    } catch {
      return false; // Whoever waits for it says so in the end.
    }
  }

  #spawn(program: string, args: readonly string[], env: Record<string, string>): ChildProcess {
    const child = spawn(program, args, { env, stdio: ["pipe", "ignore", "ignore"] });
    child.stdin.on("error", () => undefined); // One that has ended takes nothing, and is waited for in vain.
    this.#children.push(child);
    return child;
  }
}
