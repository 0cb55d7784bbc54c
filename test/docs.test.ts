/** The documentation against the program: profiles load, command lines parse, links lead somewhere. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { commandTree } from "../src/cli.ts";
import { Installation, ROOT } from "./helpers/installation.ts";

const PAGES = [
  "README.md",
  "CHANGELOG.md",
  ...readdirSync(join(ROOT, "docs"), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".md"))
    .map((file) => join("docs", file))
    .sort(),
];

/** What stands in the docs where a reader writes the name or the file of a profile. */
const PROFILES = ["PROFILE", "NAME", "P", "github", "./team.yaml"];

interface Block {
  readonly page: string;
  readonly language: string;
  readonly text: string;
}

const blocks: readonly Block[] = PAGES.flatMap((page) =>
  [...textOf(page).matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(([, language = "", text = ""]) => ({
    page,
    language,
    text,
  })),
);

describe("the README", () => {
  it("holds the two commands", () => {
    expect(textOf("README.md")).toContain("npm ci && npm run demo");
    expect(textOf("README.md")).toContain("npm ci && npm test");
  });
});

describe("a profile in the docs", () => {
  const profiles = blocks.filter(
    ({ language, text }) => language === "yaml" && /^\w+:/m.test(text) && !/…|\$\{\{/.test(text),
  );
  let mcpRun: Installation;

  beforeAll(() => {
    mcpRun = new Installation();
    // What the `fleet:` of the guide names: the check looks at those files, too.
    mcpRun.write("nats-ca.pem", "-----BEGIN CERTIFICATE-----\n");
    mcpRun.write("hosts.txt", "web-1\n");
  });

  afterAll(() => mcpRun.remove());

  it("is there", () => {
    expect(profiles.length).toBeGreaterThan(10);
  });

  it.each(profiles)("loads: $page: $text", ({ text }) => {
    const here = text.replace("/etc/mcp-run/nats-ca.pem", "nats-ca.pem");
    const file = mcpRun.write("snippet.yaml", wholeProfile(here));

    const ran = mcpRun.run(["--config", file, "check", "--offline"], { env: { PWD: mcpRun.home } });

    expect(ran, ran.stdout).toMatchObject({ status: 0, stderr: "" });
    expect(ran.stdout).toMatch(/^✔/);
  });
});

describe("a command line in the docs", () => {
  const lines = [...new Set(PAGES.flatMap(commandLines))];

  it("is there", () => {
    expect(lines.length).toBeGreaterThan(30);
  });

  it.each(lines)("parses: mcp-run %s", async (line) => {
    const words = [...line.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map((word) => word.slice(1).join(""));
    let parsed: string | undefined;
    const program = await commandTree(words, (_flags, _action) => async () => {
      parsed = "a command";
    });
    const verbs = program.commands.flatMap((verb) => [verb, ...verb.commands]);
    for (const command of [program, ...verbs])
      command.configureOutput({ writeOut: () => undefined, writeErr: () => undefined });
    program.hook("preAction", (_program, command) => {
      const [profile] = command.args;
      if (command.name() === "run" && profile !== undefined) expect(PROFILES).toContain(profile);
    });

    await program.parseAsync(words, { from: "user" }).catch((error: { code?: string }) => {
      // Prose names a command without its arguments.
      if (error.code !== "commander.missingArgument" && error.code !== "commander.version") throw error;
      parsed = "a mention";
    });

    expect(parsed).toBeDefined();
  });
});

describe("a link in the docs", () => {
  it.each(PAGES)("of %s leads to a file that is there", (page) => {
    const targets = [...textOf(page).matchAll(/\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)/g)].map(
      ([, target = ""]) => join(dirname(page), target),
    );

    expect(targets.filter((target) => !existsSync(join(ROOT, target)))).toEqual([]);
  });
});

function textOf(page: string): string {
  return readFileSync(join(ROOT, page), "utf8");
}

/** Adds what a part of a profile leaves out. */
function wholeProfile(text: string): string {
  if (/^(profiles|command):/m.test(text)) return text;
  if (/^providers:/m.test(text)) return `version: 1\n${text}\nprofiles: { snippet: { command: node } }\n`;
  return `command: node\n${text}`;
}

/** Each `mcp-run …` of a page, in a shell block, a workflow step or inline code; alternatives one by one. */
function commandLines(page: string): readonly string[] {
  const shell = blocks
    .filter((block) => block.page === page && ["sh", "console", "yaml"].includes(block.language))
    .flatMap(({ language, text }) =>
      text.split("\n").filter((line) => language !== "yaml" || line.includes("run: ")),
    );
  const inline = [
    ...textOf(page)
      .replace(/^```[\s\S]*?^```$/gm, "")
      .matchAll(/`([^`]+)`/g),
  ].map(([, code = ""]) => code.replaceAll("\n", " "));
  return [...shell, ...inline].flatMap((line) => {
    const text = line.replaceAll("\\|", "¦").replace(/\s+#.*$/, "");
    const command = /(?:^|\$ |\| |run: )(?:\w+=\S+ )*(?:npx --no -- )?mcp-run ([^|&<>;]+)/.exec(text)?.[1];
    return command === undefined ? [] : alternatives(command.replace(/[[\]]/g, "").trim());
  });
}

/** `secrets set¦get REF` is `secrets set REF` and `secrets get REF`. */
function alternatives(line: string): readonly string[] {
  const choice = /\S+¦\S+/.exec(line)?.[0];
  return choice ? choice.split("¦").map((one) => line.replace(choice, one)) : [line];
}
