/** What a command may touch of the process. The composition root makes it; tests make their own. */
import type { Readable, Writable } from "node:stream";
import type { Clock } from "../clock.ts";
import { InterruptedError } from "../errors.ts";
import type { Paths } from "../paths.ts";
import type { ProviderKinds } from "../secrets/provider.ts";
import type { Printer } from "../ui/printer.ts";

export interface CommandContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly home: string;
  /** Where the package is installed: the ready-made profiles are below it. */
  readonly packageRoot: string;
  /** Absolute paths of the running node and of our script, as a client has to write them. */
  readonly nodePath: string;
  readonly scriptPath: string;
  readonly paths: Paths;
  readonly platform: NodeJS.Platform;
  /** Undefined on Windows. */
  readonly uid: number | undefined;
  readonly gid: number | undefined;
  /** The login name; read only when a backend asks. */
  readonly loginName: () => string;
  readonly clock: Clock;
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly stdout: Writable & { readonly isTTY?: boolean; readonly columns?: number; readonly rows?: number };
  readonly stderr: Writable & { readonly isTTY?: boolean };
  /** True if any of our three streams is a terminal. */
  readonly onTerminal: boolean;
  readonly printer: Printer;
  /** Says that somebody no longer reads our output: mcp-run then ends without waiting for it. */
  readonly abandonOutput: () => void;
  readonly kinds: ProviderKinds;
  readonly options: GlobalOptions;
  /** Calls back at each INT, TERM, HUP or QUIT that mcp-run gets; ends with the returned function. */
  onSignal(listener: (signal: NodeJS.Signals) => void): () => void;
  /** Calls back at each SIGUSR2: somebody wants the secrets looked at now. Ends with the returned function. */
  onRefreshSignal(listener: () => void): () => void;
}

export interface GlobalOptions {
  /** `--config FILE` */
  readonly config?: string;
  readonly allowPlaintext: boolean;
}

/** Runs `work` with a signal that is aborted by INT, TERM, HUP or QUIT; it then rejects with InterruptedError. */
export async function interruptible<T>(
  context: CommandContext,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const abort = new AbortController();
  const stop = context.onSignal((signal) => abort.abort(new InterruptedError(signal)));
  try {
    return await work(abort.signal);
  } finally {
    stop();
  }
}
