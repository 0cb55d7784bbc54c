/** How a provider runs a helper program: an argv list, never a shell, bounded in time and output. */

export interface ProgramRequest {
  readonly argv: readonly [string, ...string[]];
  /** Ms until the program's group is killed. */
  readonly timeoutMs: number;
  /** Bytes of stdout that are accepted; more is a failure. */
  readonly maxOutputBytes: number;
  /** The program's whole environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Written to its stdin, which is then closed; without it stdin is empty. */
  readonly input?: string;
  readonly signal: AbortSignal;
}

export type ProgramOutcome =
  | ({ readonly type: "exited"; readonly exitCode: number } & ProgramOutput)
  | ({ readonly type: "killed"; readonly signal: string } & ProgramOutput)
  | ({ readonly type: "timed-out" } & ProgramOutput)
  | ({ readonly type: "output-too-large" } & ProgramOutput)
  | { readonly type: "not-started"; readonly code: string };

export interface ProgramOutput {
  readonly stdout: Buffer;
  /** Whole lines from its end, where programs say why they failed. */
  readonly stderr: string;
}

/** Never rejects for what the program does; rejects with `signal.reason` when aborted, its group killed. */
export type ProgramRunner = (request: ProgramRequest) => Promise<ProgramOutcome>;
