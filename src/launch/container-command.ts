/**
 * Reads the command line of `docker run` and `podman run` as the engines do: which options stand before the
 * image and what they say. Sources: docker(1), docker-run(1), podman(1), podman-run(1).
 */
import { basename } from "node:path";

export interface ContainerRun {
  readonly engine: "docker" | "podman";
  /** What stands before `run`, such as `--context remote`: it also belongs before `stop` and `kill`. */
  readonly globalArgs: readonly string[];
  /** Where in `args` the options of `run` begin. */
  readonly afterRun: number;
  /** The options of `run`, by long name; an option without a value has the value `true`. */
  readonly options: readonly (readonly [name: string, value: string])[];
  /** Undefined if no image follows. */
  readonly image: string | undefined;
  /** The profile's own `--cidfile`. */
  readonly cidFile: string | undefined;
}

/** Options without a value; every other one takes one. */
const FLAGS = {
  global: words("debug D tls tlsverify version v help remote r syslog transient-store"),
  run: words(
    "detach d disable-content-trust help init interactive i no-healthcheck oom-kill-disable privileged",
    "publish-all P quiet q read-only rm sig-proxy tty t use-api-socket",
    "env-host http-proxy no-hosts no-hostname passwd read-only-tmpfs replace rmi rootfs tls-verify unsetenv-all",
  ),
};

const LONG_NAMES: Readonly<Record<string, string>> = { e: "env", i: "interactive", t: "tty", d: "detach" };

/** Undefined if this is no `run` of a container engine. */
export function parseContainerRun(command: string, args: readonly string[]): ContainerRun | undefined {
  const name = basename(command.replaceAll("\\", "/")).replace(/\.exe$/i, "");
  if (name !== "docker" && name !== "podman") return undefined;
  const global = readOptions(args, 0, FLAGS.global);
  const verb = args[global.end] === "container" ? global.end + 1 : global.end;
  if (args[verb] !== "run") return undefined;
  const { options, end } = readOptions(args, verb + 1, FLAGS.run);
  return {
    engine: name,
    globalArgs: args.slice(0, global.end),
    afterRun: verb + 1,
    options,
    image: args[end],
    cidFile: options.find(([option]) => option === "cidfile")?.[1],
  };
}

/** Reads options until the first word that is none; `end` is its index. */
function readOptions(args: readonly string[], from: number, flags: ReadonlySet<string>) {
  const options: [string, string][] = [];
  let at = from;
  const take = (name: string, value: string) => options.push([LONG_NAMES[name] ?? name, value]);
  for (; at < args.length; at++) {
    const arg = args[at] as string;
    if (arg === "--") return { options, end: at + 1 };
    if (!arg.startsWith("-") || arg === "-") break;
    if (arg.startsWith("--")) {
      const [name = "", ...value] = arg.slice(2).split("=");
      if (arg.includes("=")) take(name, value.join("="));
      else take(name, flags.has(name) ? "true" : (args[++at] ?? ""));
    } else {
      at = readShortOptions(args, at, flags, take);
    }
  }
  return { options, end: at };
}

/** `-it`, `-e NAME`, `-eNAME`, `-ite NAME`, `-i=false`; gives the index of the last word that was used. */
function readShortOptions(
  args: readonly string[],
  at: number,
  flags: ReadonlySet<string>,
  take: (name: string, value: string) => void,
): number {
  const letters = (args[at] as string).slice(1);
  for (let index = 0; index < letters.length; index++) {
    const name = letters[index] as string;
    const rest = letters.slice(index + 1);
    if (flags.has(name) && !rest.startsWith("=")) {
      take(name, "true");
      continue;
    }
    if (rest === "") {
      take(name, args[at + 1] ?? "");
      return at + 1;
    }
    take(name, rest.replace(/^=/, ""));
    return at;
  }
  return at;
}

function words(...lines: string[]): ReadonlySet<string> {
  return new Set(lines.flatMap((line) => line.split(" ")));
}
