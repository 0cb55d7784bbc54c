/** The walls of the house: who may import whom, and who may touch the process. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "..");
const GROUND_FLOOR = [
  "errors",
  "events",
  "clock",
  "paths",
  "nearest",
  "code-cache",
  "escape",
  "shell-word",
  "file-lock",
  "private-folder",
  "loopback",
];

/** Rooms by height; a room imports only from lower ones, from the ground floor, and from itself. */
const HEIGHT: Readonly<Record<string, number>> = {
  main: 6,
  cli: 5,
  commands: 4,
  rotation: 3.5,
  ui: 3,
  profile: 3,
  launch: 3,
  control: 2,
  relay: 1,
  scrub: 1,
  secrets: 1,
  audit: 1,
  ground: 0,
};

interface Import {
  readonly from: string;
  readonly to: string;
  readonly isLazy: boolean;
  readonly isTypeOnly: boolean;
}

function sourceFiles(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => join(folder, file));
}

function textOf(file: string): string {
  return readFileSync(join(ROOT, file), "utf8");
}

/** Without comments; strings stay, since imports are strings. */
function codeOf(file: string): string {
  return textOf(file)
    .replace(/\/\*[\s\S]*?\*\//g, "")
    .replace(/^\s*\/\/.*$/gm, "");
}

function importsOf(file: string): Import[] {
  const code = codeOf(file);
  const found: Import[] = [];
  for (const match of code.matchAll(/^\s*(?:import|export)\s(type\s)?[^;]*?from\s+"([^"]+)"/gm)) {
    found.push({
      from: file,
      to: resolved(file, match[2] as string),
      isLazy: false,
      isTypeOnly: match[1] !== undefined,
    });
  }
  for (const match of code.matchAll(/^\s*import\s+"([^"]+)"/gm)) {
    found.push({ from: file, to: resolved(file, match[1] as string), isLazy: false, isTypeOnly: false });
  }
  for (const match of code.matchAll(/\bimport\(\s*"([^"]+)"\s*\)/g)) {
    found.push({ from: file, to: resolved(file, match[1] as string), isLazy: true, isTypeOnly: false });
  }
  return found;
}

function resolved(file: string, specifier: string): string {
  return specifier.startsWith(".") ? relative(ROOT, join(ROOT, dirname(file), specifier)) : specifier;
}

function roomOf(file: string): string {
  const [, first = ""] = file.split("/");
  const name = first.replace(/\.ts$/, "");
  return GROUND_FLOOR.includes(name) ? "ground" : name;
}

const files = [...sourceFiles("src"), ...sourceFiles("providers")];
const imports = files.flatMap(importsOf);
const inSource = (file: string) => file.startsWith("src/");
const inProviders = (file: string) => file.startsWith("providers/");

describe("the walls", () => {
  it("are tested on the real tree", () => {
    expect(files.length).toBeGreaterThan(40);
    expect(imports.filter(({ to }) => inSource(to) || inProviders(to)).length).toBeGreaterThan(100);
    expect(imports.some(({ isLazy }) => isLazy)).toBe(true);
  });

  it("let a room import only from lower rooms and from itself", () => {
    const breaches = imports
      .filter(({ from, to }) => inSource(from) && inSource(to))
      .filter(({ from, to }) => {
        const [above, below] = [roomOf(from), roomOf(to)];
        // The one word that every room may know: a value that can't be printed.
        if (to === "src/secrets/secret.ts") return false;
        return above !== below && !((HEIGHT[above] ?? Number.NaN) > (HEIGHT[below] ?? Number.NaN));
      });
    expect(breaches).toEqual([]);
  });

  it("keep every file of src in a known room", () => {
    expect(
      files
        .filter(inSource)
        .map(roomOf)
        .filter((room) => !(room in HEIGHT)),
    ).toEqual([]);
  });

  it("let only cli.ts reach the providers, and only lazily", () => {
    const reaches = imports.filter(({ from, to }) => inSource(from) && inProviders(to));
    expect(reaches.filter(({ from, isLazy }) => from !== "src/cli.ts" || !isLazy)).toEqual([]);
    expect(reaches.length).toBeGreaterThan(0);
  });

  it("let a provider see the contract, the ground floor, its own parts, its SDK and zod", () => {
    const CONTRACT = ["provider", "secret", "program"].map((name) => `src/secrets/${name}.ts`);
    const breaches = imports
      .filter(({ from, to }) => inProviders(from) && (inSource(to) || inProviders(to)))
      .filter(({ to }) => !CONTRACT.includes(to) && !(inSource(to) && roomOf(to) === "ground"))
      .filter(({ from, to }) => !inProviders(to) || backendOf(from) !== backendOf(to));
    expect(breaches).toEqual([]);
  });

  it("have no circle", () => {
    const next = new Map(files.map((file) => [file, importsOf(file).map(({ to }) => to)]));
    const done = new Set<string>();
    const visit = (file: string, way: readonly string[]): void => {
      if (way.includes(file)) throw new Error(`circle: ${[...way, file].join(" -> ")}`);
      if (done.has(file)) return;
      for (const to of next.get(file) ?? []) visit(to, [...way, file]);
      done.add(file);
    };
    expect(() => {
      for (const file of files) visit(file, []);
    }).not.toThrow();
  });
});

describe("the process", () => {
  const MAY_TOUCH = /^src\/(main\.ts|cli\.ts|code-cache\.ts|commands\/|ui\/|launch\/environment\.ts)/;

  it("is touched only at the top and where the child's environment is built", () => {
    const touches = files.filter((file) =>
      /\bprocess\.(env|exitCode|std(in|out|err)|exit\b|argv)/.test(codeOf(file)),
    );
    expect(touches.filter((file) => !MAY_TOUCH.test(file))).toEqual([]);
    expect(touches).toContain("src/cli.ts");
  });

  it("gets its exit code from main.ts alone, and nobody else ends the process", () => {
    expect(files.filter((file) => /\bprocess\.exitCode\s*=/.test(codeOf(file)))).toEqual(["src/main.ts"]);
    expect(files.filter((file) => /\bprocess\.exit\(/.test(codeOf(file)))).toEqual(["src/main.ts"]);
  });

  it("starts servers in one file, helper programs in one other, and tools of the system where they are named", () => {
    const spawners = (module: RegExp) => [
      ...new Set(
        imports.filter(({ to, isTypeOnly }) => !isTypeOnly && module.test(to)).map(({ from }) => from),
      ),
    ];
    expect(spawners(/^execa$/).sort()).toEqual(["src/launch/spawn.ts", "src/secrets/run-program.ts"]);
    // docker, ps, taskkill and the watchdog's /bin/sh: fixed programs, none of them gets a secret.
    expect(spawners(/^node:child_process$/).sort()).toEqual([
      "src/launch/container.ts",
      "src/launch/process-table.ts",
      "src/launch/process-tree.ts",
      "src/launch/watchdog.ts",
    ]);
    expect(spawners(/^cross-spawn$/)).toEqual([]);
  });
});

describe("a file", () => {
  it("does one thing: none is over 400 lines", () => {
    expect(files.filter((file) => textOf(file).split("\n").length > 400)).toEqual([]);
  });
});

/** `providers/local/age.ts` and `providers/local.ts` are both `local`. */
function backendOf(file: string): string {
  return (file.split("/")[1] ?? "").replace(/\.ts$/, "");
}
