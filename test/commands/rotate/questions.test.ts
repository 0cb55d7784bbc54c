import { describe, expect, it } from "vitest";
import { answerTo } from "../../../src/commands/rotate/questions.ts";
import type { LeaseHolder } from "../../../src/rotation/contract.ts";
import type { Question } from "../../../src/rotation/happening.ts";
import type { Ask } from "../../../src/rotation/issuers/ask.ts";

const signal = new AbortController().signal;
const holder: LeaseHolder = {
  ...{ host: "web-2", pid: 7, profile: "p", generation: 1, canSwap: false },
  leases: ["creds/app/a", "creds/app/b"],
};
const lost: LeaseHolder = { ...holder, host: "the fleet's bus", pid: 0, reason: "no answer in time" };
const question: Question = { type: "leases-in-use", target: "vault:creds/app", holders: [holder, lost] };

function person(says: boolean) {
  const shown: string[] = [];
  const ask: Ask = {
    tell: (line) => shown.push(line),
    confirm: async (text) => {
      shown.push(text);
      return says;
    },
    secret: () => Promise.reject(new Error("no secret is asked for")),
    fingerprint: () => "",
  };
  return { shown, ask };
}

describe("leases that are in use", () => {
  it.each([
    [true, "go-on"],
    [false, "stop"],
  ] as const)("are ended only if the person says so: %s", async (says, answer) => {
    const { ask, shown } = person(says);

    expect(await answerTo(question, ask, false, signal)).toBe(answer);
    expect(shown).toEqual([
      "  p on web-2 (pid 7) has creds/app/a, creds/app/b",
      "  nobody can say who has creds/app/a, creds/app/b: the fleet's bus: no answer in time",
      "These leases of vault:creds/app are in use still. Revoke them all the same?",
    ]);
  });

  it("are kept where nobody is asked", async () => {
    const { ask, shown } = person(true);

    expect(await answerTo(question, ask, true, signal)).toBe("stop");
    expect(await answerTo(question, undefined, false, signal)).toBe("stop");
    expect(shown).toEqual([]);
  });
});

describe("a store at another address", () => {
  const moved: Question = { type: "elsewhere", target: "vault:app", planned: "one/app", place: "two/app" };

  it("is the planned one only if the person says so", async () => {
    const { ask, shown } = person(true);

    expect(await answerTo(moved, ask, false, signal)).toBe("go-on");
    expect(await answerTo(moved, person(false).ask, false, signal)).toBe("stop");
    expect(await answerTo(moved, ask, true, signal)).toBe("stop");
    expect(await answerTo(moved, undefined, false, signal)).toBe("stop");
    expect(shown).toEqual([
      "vault:app is at two/app by the profile now, and the rotation was planned for one/app.",
      "Are both one and the same store?",
    ]);
  });
});
