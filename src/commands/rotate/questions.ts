/** What a rotation asks the person who runs it. Without a person every answer is the one that ends nothing. */
import { escapeControl } from "../../escape.ts";
import type { Acknowledgement, LeaseHolder } from "../../rotation/contract.ts";
import { fingerprintUnder } from "../../rotation/fingerprints.ts";
import type { Answer, Question } from "../../rotation/happening.ts";
import type { Ask } from "../../rotation/issuers/ask.ts";
import { promptHidden, promptLine } from "../../ui/prompt.ts";
import type { CommandContext } from "../context.ts";
import { number, whoIs } from "./members.ts";

/** So much of a fingerprint is enough for a person to compare. */
const SHOWN_CHARACTERS = 12;

/**
 * Undefined where nobody can be asked: stdin is no terminal.
 *
 * @param key of the rotation: what is entered can be compared with its plan and its report
 */
export function askOn({ stdin, stderr }: CommandContext, key: string): Ask | undefined {
  if (!stdin.isTTY) return undefined;
  const tell = (line: string) => void stderr.write(`${escapeControl(line)}\n`);
  return {
    tell,
    secret: (question, signal) => promptHidden(escapeControl(question), stdin, stderr, signal),
    confirm: async (question, signal) =>
      /^y(es)?$/i.test(await promptLine(`${escapeControl(question)} [y/N] `, stdin, stderr, signal)),
    fingerprint: (value) => fingerprintUnder(key, value).slice(0, SHOWN_CHARACTERS),
  };
}

/** @param isSure `--yes`: what was planned is wanted, and nothing more than that */
export async function answerTo(
  question: Question,
  ask: Ask | undefined,
  isSure: boolean,
  signal: AbortSignal,
): Promise<Answer> {
  if (question.type === "put-back" && isSure) return "go-on";
  if (!ask || isSure) return "stop";
  const goOn = async (asked: string): Promise<Answer> =>
    (await ask.confirm(asked, signal)) ? "go-on" : "stop";
  switch (question.type) {
    case "not-acknowledged":
      // Who they are stands above: the progress ends with them.
      if (await ask.confirm(`${withoutIt(question.members)}. Wait for them once more?`, signal))
        return "again";
      return goOn("Go on without them? The old key stops working for them");
    case "revoked-by-hand": {
      const key = question.keyId === undefined ? "" : ` (${question.keyId})`;
      return goOn(`Is the old ${question.secret}${key} of ${question.target} revoked where it was made?`);
    }
    case "leases-in-use":
      for (const holder of question.holders) ask.tell(`  ${holderText(holder)}`);
      return goOn(`These leases of ${question.target} are in use still. Revoke them all the same?`);
    case "revoke-without-new":
      return goOn(`There is no new key (${question.reason}). Revoke the old one all the same?`);
    case "put-back":
      return goOn(
        `Put the old value of ${question.targets.join(", ")} back? If it has leaked, it works again`,
      );
    case "elsewhere": {
      const { target, planned, place } = question;
      ask.tell(`${target} is at ${place} by the profile now, and the rotation was planned for ${planned}.`);
      return goOn("Are both one and the same store?");
    }
  }
}

function holderText(holder: LeaseHolder): string {
  const leases = holder.leases.join(", ");
  return holder.reason === undefined
    ? `${whoIs(holder)} has ${leases}`
    : `nobody can say who has ${leases}: ${whoIs(holder)}: ${holder.reason}`;
}

function withoutIt({ length }: readonly Acknowledgement[]): string {
  return length === 1
    ? "One server does not have the new value"
    : `${number(length)} servers do not have the new value`;
}
