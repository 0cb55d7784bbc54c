/**
 * What the securityContext of the Kubernetes examples makes of a process, by namespaces instead of a cluster: user 10001
 * without an account and without capabilities, no_new_privs, a root that can't be written, processes of its own; and
 * volumes as kubelet lays them out.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { MAIN, ROOT } from "../helpers/installation.ts";
import { BOUNDED } from "../helpers/processes.ts";

/** Volumes by where they are mounted; `memory` is an emptyDir. */
export type Volumes = Readonly<Record<string, "memory" | { readonly folder: string }>>;

const AS_USER =
  "setpriv --reuid 10001 --regid 10001 --groups 10001 --no-new-privs --bounding-set=-all --inh-caps=-all";

/** Why there can be none on this machine; undefined if there can. */
export function whyNoPod(): string | undefined {
  if (process.getuid?.() !== 0) return "it needs root";
  const args = [...UNSHARE, "sh", "-c", "mount -t tmpfs tmpfs /run && mount -o remount,ro,bind /"];
  const tried = spawnSync("unshare", args, { encoding: "utf8", ...BOUNDED });
  return tried.status === 0 ? undefined : `there are no namespaces: ${tried.error ?? tried.stderr.trim()}`;
}

const UNSHARE = [
  ..."--mount --pid --fork --kill-child=KILL --mount-proc --propagation private".split(" "),
] as const;

/** The arguments of `unshare` with which mcp-run is the first process of a pod. */
export function podArguments(
  volumes: Volumes,
  env: Readonly<Record<string, string>>,
  args: readonly string[],
) {
  const mounts = Object.entries(volumes).map(([place, volume]) =>
    volume === "memory"
      ? `mkdir -p ${place} && mount -t tmpfs -o mode=2777,gid=10001,size=64m tmpfs ${place}`
      : `mkdir -p ${place} && mount --bind ${volume.folder} ${place} && mount -o remount,ro,bind ${place}`,
  );
  const script = [
    "set -e",
    "mount -t tmpfs tmpfs /run",
    `mkdir /run/project && mount --bind ${ROOT} /run/project && mount -o remount,ro,bind /run/project`,
    `touch /run/node && mount --bind ${process.execPath} /run/node`,
    ...mounts,
    "mount -o remount,ro,bind /",
    "if touch /written 2>/dev/null; then echo 'the root can be written' >&2; exit 1; fi",
    `exec ${AS_USER} ${inPod(env, args)}`,
  ].join("\n");
  return [...UNSHARE, "bash", "-c", script];
}

/** Runs mcp-run beside the first process of a pod, as the kubelet runs a probe. */
export function probe(unsharePid: number, env: Readonly<Record<string, string>>, args: readonly string[]) {
  const first = readFileSync(`/proc/${unsharePid}/task/${unsharePid}/children`, "utf8").trim();
  const enter = ["--target", first, "--mount", "--pid", "sh", "-c"];
  return spawnSync("nsenter", [...enter, `exec ${AS_USER} ${inPod(env, args)}`], {
    encoding: "utf8",
    ...BOUNDED,
  });
}

function inPod(env: Readonly<Record<string, string>>, args: readonly string[]): string {
  const variables = Object.entries({ PATH: "/run:/usr/bin:/bin", HOME: "/", ...env });
  const words = variables.map(([name, value]) => `${name}=${value}`);
  return ["env", "-i", ...words, "/run/node", MAIN.replace(ROOT, "/run/project"), ...args].join(" ");
}

/** A volume with these files, as kubelet writes one: links into a folder that is replaced as a whole. */
export function writeVolume(folder: string, files: Readonly<Record<string, string>>, stamp: string): void {
  const real = `..2026_11_21_01_02_${stamp}.1`;
  mkdirSync(join(folder, real), { recursive: true, mode: 0o755 });
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(folder, real, name), text, { mode: 0o644 });
    symlinkSync(`..data/${name}`, join(folder, `${name}.${stamp}`));
    renameSync(join(folder, `${name}.${stamp}`), join(folder, name));
  }
  symlinkSync(real, join(folder, "..data_tmp"));
  renameSync(join(folder, "..data_tmp"), join(folder, "..data"));
}
