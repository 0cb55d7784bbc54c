import { expect, it } from "vitest";
import { eventText } from "../../../src/commands/rotate/lines.ts";

const ended = { type: "step-done", step: "revoke-new", target: "local:key", ms: 100 } as const;

it.each([
  ["revoked", "✔ revoke-new local:key (0.1 s)\n"],
  ["none", "✔ revoke-new local:key (0.1 s)\n"],
  ["unknown", "- revoke-new local:key: nobody has revoked it (0.1 s)\n"],
] as const)("the end of a new key that is %s is shown as what it is", (result, text) => {
  expect(eventText({ ...ended, facts: { parts: [{ name: "KEY", result }] } })).toBe(text);
});
