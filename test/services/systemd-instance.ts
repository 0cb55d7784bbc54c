/**
 * A real systemd, as a user's instance of root in namespaces of its own: it has its own /run and /proc, sees the files
 * of a test below /run/test, and manages nothing outside of its own control group. Its units are what a test writes.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { ROOT } from "../helpers/installation.ts";
import { BOUNDED, until } from "../helpers/processes.ts";

/** Where one process is put into a control group: version 2 alone, or both versions side by side. */
const GROUPS = ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"].filter((folder) =>
  existsSync(join(folder, "cgroup.procs")),
);

/** Of the instance, in its own /run: a unit with a /tmp of its own finds its credentials here. */
export const RUNTIME = "/run/instance";

const SYSTEMD = "/lib/systemd/systemd";

/** As systemd makes them for InaccessiblePaths= when it is the first process. */
const INACCESSIBLE = `
cd /run/systemd/inaccessible && mkdir -m 0 dir && touch reg && mkfifo fifo && mknod chr c 0 0 && mknod blk b 0 0
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("sock")'
`;

const BOOT = `
set -e
for controller in cpu cpuacct cpuset memory devices freezer blkio pids net_cls net_prio perf_event hugetlb; do
  if mountpoint -q "/sys/fs/cgroup/$controller"; then umount "/sys/fs/cgroup/$controller"; fi
done
# Among themselves only: credentials are mounted by a child of systemd, in a namespace of its own.
mount --make-rshared /
mount -t tmpfs tmpfs /run
mkdir -m 0700 "$XDG_RUNTIME_DIR"
mkdir -p /run/systemd/system /run/systemd/inaccessible /run/test/files /run/test/root
mount --bind "$FOLDER" /run/test/files
mount --bind "$PROJECT" /run/test/root
touch /run/test/node && mount --bind "$NODE" /run/test/node
(${INACCESSIBLE})
${SYSTEMD} --user --log-target=console >"$FOLDER/log" 2>&1 &
wait
`;

export class SystemdInstance {
  /** Seen by units as /run/test/files. */
  readonly folder = mkdtempSync(join(tmpdir(), "mcp-run-systemd-"));
  #process: ChildProcess | undefined;
  readonly #groups = GROUPS.map((folder) => join(folder, basename(this.folder)));

  constructor() {
    for (const name of ["units", "home"]) mkdirSync(join(this.folder, name), { mode: 0o700 });
  }

  /** Why there can be none on this machine; undefined if there can. */
  static whyNot(): string | undefined {
    if (process.getuid?.() !== 0) return "it needs root";
    if (!existsSync(SYSTEMD)) return `there is no ${SYSTEMD}`;
    if (GROUPS.length === 0) return "there is no control group to make one below";
    const args = ["--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", "mount -t tmpfs tmpfs /run"];
    const tried = spawnSync("unshare", args, { encoding: "utf8", ...BOUNDED });
    return tried.status === 0 ? undefined : `there are no namespaces: ${tried.error ?? tried.stderr.trim()}`;
  }

  /** Before the start. */
  unit(name: string, text: string): void {
    const file = join(this.folder, "units", name);
    mkdirSync(join(file, ".."), { recursive: true });
    writeFileSync(file, text);
  }

  async start(): Promise<void> {
    const join_ = this.#groups.map((group) => `mkdir -p ${group} && echo $$ >${group}/cgroup.procs`);
    const unshare = "unshare --mount --pid --fork --kill-child=KILL --mount-proc --propagation private";
    const script = `${join_.join(" && ")} && exec ${unshare} bash -c "$BOOT"`;
    this.#process = spawn("bash", ["-c", script], {
      stdio: ["ignore", "inherit", "inherit"],
      env: { ...this.#env, BOOT, FOLDER: this.folder, PROJECT: ROOT, NODE: process.execPath },
    });
    await until("systemd can be asked", () => {
      if (this.#process?.exitCode !== null) throw new Error(`it has ended with ${this.#process?.exitCode}`);
      const shell = childOf(this.#process?.pid ?? 0);
      const isThere = shell !== "" && existsSync(`/proc/${shell}/root${RUNTIME}/systemd/private`);
      // Its socket is there before somebody listens at it.
      return isThere && this.systemctl("show", "-p", "Version").status === 0;
    }).catch((cause: Error) => {
      const file = join(this.folder, "log");
      throw new Error(`${cause.message}: ${existsSync(file) ? readFileSync(file, "utf8") : ""}`, { cause });
    });
  }

  /** From within: systemd does not hear whom it can't see. */
  systemctl(...args: string[]) {
    const shell = childOf(this.#process?.pid ?? 0);
    const command = ["--target", shell, "--pid", "--mount", "systemctl", "--user", ...args];
    return spawnSync("nsenter", command, {
      encoding: "utf8",
      env: this.#env,
      ...BOUNDED,
    });
  }

  /** One property of a unit. */
  show(unit: string, property: string): string {
    return this.systemctl("show", "--value", "-p", property, unit).stdout.trim();
  }

  /** The units that match, whatever became of them. */
  units(pattern: string): readonly string[] {
    const { stdout } = this.systemctl("list-units", "--all", "--plain", "--no-legend", pattern);
    return stdout
      .split("\n")
      .map((line) => line.trim().split(/\s+/)[0] ?? "")
      .filter((name) => name !== "");
  }

  /** Ends everything in the namespaces. */
  async stop(): Promise<void> {
    this.#process?.kill("SIGKILL");
    await until("its control groups are empty", () => this.#groups.map(removeGroup).every(Boolean));
    rmSync(this.folder, { recursive: true, maxRetries: 10 });
  }

  get #env() {
    return {
      PATH: process.env.PATH,
      HOME: join(this.folder, "home"),
      XDG_RUNTIME_DIR: RUNTIME,
      DBUS_SESSION_BUS_ADDRESS: `unix:path=${RUNTIME}/bus`,
      SYSTEMD_UNIT_PATH: `${join(this.folder, "units")}:/usr/lib/systemd/user`,
    };
  }
}

function childOf(pid: number): string {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
}

/** True if it is gone with all below it. */
function removeGroup(group: string): boolean {
  if (!existsSync(group)) return true;
  for (const name of readdirSync(group))
    if (statSync(join(group, name)).isDirectory()) removeGroup(join(group, name));
  return spawnSync("rmdir", [group], { stdio: "ignore", ...BOUNDED }).status === 0;
}
