import { describe, expect, it } from "vitest";
import { McpRunError } from "../../src/errors.ts";
import { NeedleSet } from "../../src/scrub/needle-set.ts";
import { scrubText } from "../../src/scrub/scrub-stream.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { createPrinter, LOG_FORMATS, type LogFormat, type LogLevel } from "../../src/ui/printer.ts";

function printed(level: LogLevel = "info", format: LogFormat = "text") {
  let text = "";
  const printer = createPrinter({
    level,
    format,
    write: (chunk) => {
      text += chunk;
    },
  });
  return { printer, text: () => text };
}

describe("the printer", () => {
  it("says what started in one line, with the names of the secrets and where they came from", () => {
    const { printer, text } = printed();

    printer.emit({
      type: "started",
      profile: "github",
      generation: 1,
      pid: 7,
      ms: 51.6,
      secrets: [
        { name: "TOKEN", from: "vault:mcp/github#token" },
        { name: "B", from: "local:b" },
      ],
    });

    expect(text()).toBe(
      "mcp-run: github: generation 1 started in 52 ms with TOKEN (vault:mcp/github#token), B (local:b)\n",
    );
  });

  it.each(LOG_FORMATS)("hides a secret that holds control characters, as %s", (format) => {
    const { printer, text } = printed("info", format);
    const needles = new NeedleSet();
    needles.add("TOKEN", new Secret("canary\u001b[0m\u202e1234"));
    printer.scrubWith((line) => scrubText(line, needles));

    printer.emit({ type: "notice", message: "got canary\u001b[0m\u202e1234" });

    expect(text()).toContain("got [mcp-run:TOKEN]");
  });

  it("prints an error as action, state and mend, its details below it", () => {
    const { printer, text } = printed();

    printer.printError(
      new McpRunError("usage", "Cannot open x: it is shut", {
        hint: "a key",
        details: ["first\nsecond", "third"],
      }),
    );

    expect(text()).toBe("mcp-run: Cannot open x: it is shut. Try a key.\n  first\n  second\n  third\n");
  });

  it("calls anything else a bug, and shows its stack only at level debug", () => {
    const usual = printed();
    const debug = printed("debug");
    const bug = new TypeError("x is not a function");

    usual.printer.printError(bug);
    debug.printer.printError(bug);

    expect(usual.text()).toMatch(/^mcp-run: Cannot go on: TypeError: x is not a function\. This is a bug/);
    expect(usual.text()).not.toContain("printer.test.ts");
    expect(debug.text()).toContain("printer.test.ts");
  });

  it("scrubs every line once it knows how, also at level debug", () => {
    const { printer, text } = printed("debug");
    printer.scrubWith((line) => line.replaceAll("canary-1", "[mcp-run:T]"));

    printer.emit({ type: "notice", message: "it is canary-1" });
    printer.printError(new Error("broke on canary-1"));

    expect(text()).not.toContain("canary-1");
    expect(text()).toContain("[mcp-run:T]");
  });

  it("shows control characters instead of obeying them", () => {
    const { printer, text } = printed();

    printer.emit({ type: "warning", message: "a\u001b[2Jb\rc\u0007d\ne\u202ef" });

    expect(text()).toBe("mcp-run: Warning: a\\e[2Jb\\rc\\u0007d\\ne\\u202ef.\n");
  });

  it.each([
    ["error", []],
    ["warn", ["w"]],
    ["info", ["w", "n"]],
    ["debug", ["w", "n", "d"]],
  ] as const)("at level %s shows %j", (level, expected) => {
    const { printer, text } = printed(level, "json");

    printer.emit({ type: "warning", message: "w" });
    printer.emit({ type: "notice", message: "n" });
    printer.emit({ type: "debug", message: "d" });

    const lines = text()
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as { message: string });
    expect(lines.map(({ message }) => message)).toEqual(expected);
  });
});
