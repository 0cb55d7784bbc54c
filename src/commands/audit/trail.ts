/**
 * What has happened to the secrets of one program, as the audit holds it: without values, and the words of others
 * scrubbed and cut to a length.
 */
import { basename } from "node:path";
import type { AuditLog } from "../../audit/log.ts";
import type { AuditEntry, AuditedSecret } from "../../audit/record.ts";
import { type ErrorCode, McpRunError } from "../../errors.ts";
import type { ChangedSecret } from "../../events.ts";
import type { Profile } from "../../profile/profile.ts";
import type { NeedleSet } from "../../scrub/needle-set.ts";
import { scrubText } from "../../scrub/scrub-stream.ts";
import type { ResolvedSecret } from "../../secrets/resolution.ts";
import type { CommandContext } from "../context.ts";
import type { AuditExport } from "./exporting.ts";
import type { Happening } from "./happening.ts";
import { auditLog, valueFingerprint } from "./log.ts";

const MOST_TEXT = 1_000;
/** Of a tool or a client. */
const MOST_NAME = 200;
const MOST_READ = 65_536;
/** At the end of a text that was cut: a strict reader of JSON refuses it, and all that is sent with it. */
const HALF_CHARACTER = /[\uD800-\uDBFF]$/;
/** Of one record. */
const MOST_SECRETS = 1_000;

export class AuditTrail {
  readonly #log: AuditLog;
  readonly #mode: "run" | "exec";
  readonly #needles: NeedleSet;
  readonly #export: Pick<AuditExport, "record" | "close"> | undefined;
  readonly #fingerprint: ReturnType<typeof valueFingerprint>;

  /**
   * @param profile undefined where it could not be read
   * @param exported where records go besides
   */
  constructor(
    context: CommandContext,
    mode: "run" | "exec",
    needles: NeedleSet,
    profile: Profile | undefined,
    exported: Pick<AuditExport, "record" | "close"> | undefined,
  ) {
    const { printer } = context;
    this.#mode = mode;
    this.#needles = needles;
    this.#export = exported;
    this.#fingerprint = valueFingerprint(context);
    const onTrouble = ({ message, hint }: McpRunError) =>
      printer.emit({ type: "warning", message, ...(hint !== undefined && { hint }) });
    this.#log = auditLog(context, onTrouble, profile?.audit.keptDays);
  }

  record(happening: Happening): void {
    for (const entry of this.#entriesFor(happening)) {
      this.#log.record(entry, happening.at);
      this.#export?.record(entry, happening.at);
    }
  }

  /** Bounded; never rejects. */
  async close(): Promise<void> {
    await Promise.all([this.#log.close(), this.#export?.close()]);
  }

  #entriesFor({ what, profile, command, secrets }: Happening): readonly AuditEntry[] {
    switch (what.type) {
      case "started": {
        const { generation, pid: serverPid, ms } = what;
        const named = this.#known(what.secrets, secrets);
        const program = this.#text(basename(command));
        const entry = { profile, generation, serverPid, secrets: named, program, ms: Math.round(ms) };
        return [{ event: "launch", mode: this.#mode, ...entry }];
      }
      case "swapped": {
        const { generation, pid: serverPid, ms, changed } = what;
        const entry = { profile, generation, serverPid, secrets: this.#known(changed, secrets) };
        return [{ event: "swap", ...entry, ms: Math.round(ms) }];
      }
      case "signalled": {
        const { generation, pid: serverPid, signal, changed } = what;
        const named = this.#known(changed, secrets);
        return [{ event: "signal", profile, generation, serverPid, secrets: named, signal }];
      }
      case "not-swapped": {
        const { generation, pid: serverPid, changed } = what;
        // The server does not have these values.
        return [{ event: "not-swapped", profile, generation, serverPid, secrets: this.#known(changed, []) }];
      }
      case "restarted":
        return [{ event: "restart", profile, generation: what.generation, serverPid: what.pid }];
      case "holding": {
        const { generation, pid: serverPid, rotation } = what;
        const named = this.#known(
          what.secrets.map((name) => ({ name })),
          secrets,
        );
        return [{ event: "hold", profile, generation, serverPid, rotation, secrets: named }];
      }
      case "let-go": {
        const { generation, pid: serverPid, rotation, reason, ms } = what;
        return [{ event: "let-go", profile, generation, serverPid, rotation, reason, ms: Math.round(ms) }];
      }
      case "refresh-failed": {
        const reason = this.#text(what.reason);
        const failed: AuditEntry = { event: "refresh-failed", profile, reason, retryMs: what.retryMs };
        const denied: AuditEntry = { event: "denied", profile, reason, during: "refresh" };
        return what.code === "access-denied" ? [denied, failed] : [failed];
      }
      case "leak": {
        const { method, isMasked } = what;
        const named = this.#known(
          what.secrets.map((name) => ({ name })),
          secrets,
        );
        const where = method === undefined ? {} : { method: this.#text(method) };
        return [{ event: "leak", profile, secrets: named, ...where, isMasked }];
      }
      case "looked": {
        const named = this.#known(secrets, secrets);
        return [{ event: "refresh", profile, generation: what.generation, secrets: named }];
      }
      case "called": {
        const { tool, outcome, code, ms, generation } = what.call;
        return [
          {
            event: "call",
            profile,
            tool: this.#text(tool, MOST_NAME),
            outcome,
            ...(code !== undefined && { code }),
            ms: Math.round(ms * 10) / 10,
            generation,
            ...(what.client !== undefined && { client: this.#text(what.client, MOST_NAME) }),
          },
        ];
      }
      case "start-failed": {
        const { code, reason } = failureOf(what.error);
        return [{ event: "start-failed", profile, code, reason: this.#text(reason) }];
      }
      case "denied":
        return [{ event: "denied", profile, reason: this.#text(allWordsOf(what.error)), during: "start" }];
      case "ended":
        return [{ event: "end", profile, exitCode: what.exitCode }];
    }
  }

  /** Names, with what is known of those that the program has. */
  #known(
    named: readonly (ChangedSecret & { readonly cachedMs?: number })[],
    secrets: readonly ResolvedSecret[],
  ): readonly AuditedSecret[] {
    const found = new Map(secrets.map((secret) => [secret.name, secret]));
    return named.slice(0, MOST_SECRETS).map(({ name, cachedMs, ...said }) => {
      const secret = found.get(name);
      const from = said.from ?? secret?.from;
      const known = said.version ?? secret?.version;
      return {
        name,
        ...(from !== undefined && { from }),
        ...(known !== undefined && { version: this.#text(known) }),
        ...(secret && this.#fingerprint && { fingerprint: this.#fingerprint(secret.value) }),
        ...(cachedMs !== undefined && { cachedMs }),
      };
    });
  }

  #text(text: string, most = MOST_TEXT): string {
    // What is far too long is not read whole: a client says what it wants.
    return scrubText(text.slice(0, MOST_READ), this.#needles).slice(0, most).replace(HALF_CHARACTER, "");
  }
}

/** Of a profile that is not valid its name only: the details quote its file. */
function failureOf(error: unknown): { readonly code: ErrorCode; readonly reason: string } {
  if (!(error instanceof McpRunError)) return { code: "internal", reason: "a bug in mcp-run" };
  const { code, message } = error;
  return { code, reason: code === "profile-invalid" ? message : allWordsOf(error) };
}

function allWordsOf({ message, details }: McpRunError): string {
  return [message, ...details].join("; ");
}
