/** Items of the keychain, read and written through the helper; and the lock that all writers of ours take. */
import { dirname, join } from "node:path";
import { ProviderError, systemErrorCode } from "../../src/errors.ts";
import type { ProviderContext } from "../../src/secrets/provider.ts";
import { shellWord } from "../../src/shell-word.ts";
import { askHelper } from "./ask-helper.ts";
import { helperEnvironment } from "./environment.ts";
import type { HelperItem, HelperReply, HelperRequest, ItemAnswer, ItemChange } from "./protocol.ts";
import { troubleError } from "./trouble.ts";

/** Ms that a writer waits for another, before whom a dialog may be open. */
const PATIENCE_MS = 60_000;

/** What every method throws is ProviderError, or the signal's reason. */
export class KeychainItems {
  readonly #context: ProviderContext;

  constructor(context: ProviderContext) {
    this.#context = context;
  }

  /** One answer for each item, in their order; those after a locked one are not asked for. */
  async get(items: readonly HelperItem[], signal: AbortSignal): Promise<readonly ItemAnswer[]> {
    const reply = await this.#ask({ operation: "get", items }, signal);
    if (reply.type !== "answers") throw unexpected(reply);
    return reply.answers;
  }

  /** Each item's text, undefined where there is none; any trouble is thrown. */
  async texts(items: readonly HelperItem[], signal: AbortSignal): Promise<readonly (string | undefined)[]> {
    return (await this.get(items, signal)).map((answer) => {
      if (answer.type === "trouble") throw troubleError(answer);
      return textOf(answer);
    });
  }

  async change(changes: readonly ItemChange[], signal: AbortSignal): Promise<void> {
    const reply = await this.#ask({ operation: "change", changes }, signal);
    if (reply.type !== "done") throw unexpected(reply);
  }

  /** All items of a service. */
  async list(service: string, signal: AbortSignal): Promise<readonly { account: string; value: string }[]> {
    const reply = await this.#ask({ operation: "list", service }, signal);
    if (reply.type !== "items") throw unexpected(reply);
    return reply.items;
  }

  /** Runs `work` while no other mcp-run of this user writes, since a keychain can't compare and set in one step. */
  async locked<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    // Where there can be no keychain, no lock is made either.
    await helperEnvironment(this.#context);
    const { withFileLock } = await import("../../src/file-lock.ts");
    const { paths, clock } = this.#context;
    const path = join(paths.state, "keychain.lock");
    const refused = (error: unknown) =>
      new ProviderError("unavailable", `the lock ${path} can't be made (${systemErrorCode(error)})`, {
        hint: `ls -ld ${shellWord(dirname(path))}, to see who may write there`,
      });
    return withFileLock({ path, makesFolder: true, patienceMs: PATIENCE_MS, clock, signal, refused }, work);
  }

  async #ask(request: HelperRequest, signal: AbortSignal): Promise<HelperReply> {
    signal.throwIfAborted();
    return askHelper(this.#context, request, await helperEnvironment(this.#context), signal);
  }
}

export function textOf(answer: ItemAnswer | undefined): string | undefined {
  return answer?.type === "value" ? answer.value : undefined;
}

function unexpected(reply: HelperReply) {
  return troubleError(
    reply.type === "trouble" ? reply : { trouble: "failed", detail: "its helper program gave no answer" },
  );
}
