/** What `mcp-run check` has to say about a server that runs in a container. */
import { parseContainerRun } from "./container-command.ts";

export interface Advice {
  readonly severity: "error" | "warning";
  readonly message: string;
  /** Reads well after «Try ». */
  readonly hint: string;
}

/** @param secretNames the secrets that are delivered as variables */
export function adviseOnContainer(
  command: string,
  args: readonly string[],
  secretNames: readonly string[],
): readonly Advice[] {
  const run = parseContainerRun(command, args);
  if (!run) return [];
  const advice: Advice[] = [];
  const isOn = (name: string) => run.options.some(([option, value]) => option === name && value !== "false");
  const warn = (message: string, hint: string) => advice.push({ severity: "warning", message, hint });
  const refuse = (message: string, hint: string) => advice.push({ severity: "error", message, hint });

  if (run.image === undefined) refuse(`${run.engine} run has no image`, "the image's name after the options");
  if (!isOn("interactive"))
    refuse("the container gets no stdin, so the server ends at once", "`-i` after `run`");
  if (isOn("tty"))
    refuse("a terminal in the container changes the bytes of the protocol", "`-i` without `-t`");
  if (isOn("detach")) refuse("a detached container answers nobody", "`run` without `-d`");
  if (!isOn("rm")) warn("the container is left behind when it ends", "`--rm` after `run`");
  if (!isOn("init")) {
    warn(
      "the server is the container's first process and may ignore the signal that stops it",
      "`--init` after `run`",
    );
  }
  const passed = new Set<string>();
  for (const [option, value] of run.options) {
    if (option !== "env") continue;
    const [name = ""] = value.split("=");
    passed.add(name);
    if (value.includes("=") && secretNames.includes(name)) {
      refuse(
        `\`-e ${name}=…\` hides the secret ${name} from the container, and shows its own value in \`ps\``,
        `\`-e ${name}\``,
      );
    }
  }
  for (const name of secretNames) {
    if (!passed.has(name))
      refuse(`the secret ${name} does not reach the container`, `\`-e ${name}\` after \`run\``);
  }
  return advice;
}
