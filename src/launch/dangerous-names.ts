/**
 * Variable names that make a program load or run something. A secret's value is chosen by whoever can write
 * to the backend, and with `secretsFrom` its name is too: such a name would let them run code here.
 */
import { McpRunError } from "../errors.ts";

const DANGEROUS_PREFIXES = ["LD_", "DYLD_", "BASH_FUNC_"] as const;

const DANGEROUS_NAMES: ReadonlySet<string> = new Set([
  // the shell and the loader
  ...["PATH", "IFS", "ENV", "BASH_ENV", "SHELLOPTS", "BASHOPTS", "PS4", "PROMPT_COMMAND", "SHELL"],
  ...["GCONV_PATH", "GLIBC_TUNABLES", "LOCPATH", "HOME"],
  // language runtimes
  ...["NODE_OPTIONS", "NODE_PATH", "PYTHONSTARTUP", "PYTHONPATH", "PYTHONHOME", "PYTHONINSPECT"],
  ...["PERL5OPT", "PERL5LIB", "PERLLIB", "PERL5DB", "RUBYOPT", "RUBYLIB"],
  ...["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH", "DOTNET_STARTUP_HOOKS"],
  // programs that run another program
  ...[
    "EDITOR",
    "VISUAL",
    "PAGER",
    "BROWSER",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_EXTERNAL_DIFF",
    "GIT_ASKPASS",
  ],
  ...["SSH_ASKPASS", "SUDO_ASKPASS"],
  // Windows
  ...["COMSPEC", "PATHEXT", "SYSTEMROOT", "WINDIR", "PSMODULEPATH"],
]);

export function isDangerousName(name: string, platform: NodeJS.Platform): boolean {
  const known = platform === "win32" ? name.toUpperCase() : name;
  return DANGEROUS_NAMES.has(known) || DANGEROUS_PREFIXES.some((prefix) => known.startsWith(prefix));
}

/** Throws McpRunError `secret-invalid` for the first name that no secret may have. */
export function checkSecretNames(names: Iterable<string>, platform: NodeJS.Platform): void {
  for (const name of names) {
    if (name === "" || name.includes("=") || name.includes("\0")) {
      throw new McpRunError(
        "secret-invalid",
        `Cannot pass secret ${JSON.stringify(name)}: this can't be a variable's name`,
        {
          hint: "another name, or `only:` to leave the field out",
        },
      );
    }
    if (isDangerousName(name, platform)) {
      throw new McpRunError(
        "secret-invalid",
        `Cannot pass secret ${name}: a variable of this name makes programs run code, and its value comes from a backend`,
        { hint: "another name, `only:` or `prefix:` with `secretsFrom`, or a plain value under `env`" },
      );
    }
  }
}
