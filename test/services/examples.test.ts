/** The examples for systemd, Kubernetes and launchd against the program: what needs no validator of theirs. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { commandTree } from "../../src/cli.ts";
import { Installation, ROOT } from "../helpers/installation.ts";

const EXAMPLES = join(ROOT, "docs/services");
const names = readdirSync(EXAMPLES);
const textOf = (name: string) => readFileSync(join(EXAMPLES, name), "utf8");
const manifests = names.filter((name) => name.endsWith(".yaml"));

interface Manifest {
  readonly kind: string;
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: { readonly template?: { readonly spec: PodSpec } };
}

interface PodSpec {
  readonly terminationGracePeriodSeconds: number;
  readonly containers: readonly {
    readonly env: readonly { readonly name: string; readonly value: string }[];
    readonly volumeMounts: readonly {
      readonly name: string;
      readonly mountPath: string;
      readonly readOnly?: true;
    }[];
    readonly startupProbe: Probe;
    readonly readinessProbe: Probe;
    readonly livenessProbe?: Probe;
  }[];
}

interface Probe {
  readonly exec: { readonly command: readonly string[] };
}

function objectsOf(name: string): readonly Manifest[] {
  return parseAllDocuments(textOf(name)).map((document) => document.toJS() as Manifest);
}

/** Every mcp-run command line of an example, without the program. */
const commands: readonly (readonly [string, readonly string[]])[] = names.flatMap((name) => {
  const unit = [...textOf(name).matchAll(/^ExecStart=\S*\/mcp-run (.*)$/gm)].map(([, line = ""]) =>
    line.split(" "),
  );
  const plist = /main\.cjs<\/string>\s*((?:<string>[^<]*<\/string>\s*)*)/.exec(textOf(name))?.[1];
  const words = plist
    ? [[...plist.matchAll(/>([^<]*)</g)].map(([, word = ""]) => word.trim()).filter(Boolean)]
    : [];
  const pods = manifests.includes(name)
    ? objectsOf(name).flatMap((one) => one.spec?.template?.spec.containers ?? [])
    : [];
  const probes = pods
    .flatMap((pod) => [pod.startupProbe, pod.readinessProbe])
    .map(({ exec: { command } }) => command.slice(1));
  return [...unit, ...words, ...probes].map((args) => [name, args] as const);
});

describe("a command line in the examples", () => {
  it("is in each of them that starts something", () => {
    const without = names.filter((name) => !commands.some(([of]) => of === name));

    expect(without.sort()).toEqual(["mcp-github.socket", "mcp-rotate@.timer", "mcp-run.sysusers.conf"]);
  });

  it.each(commands)("of %s parses: %j", async (_name, args) => {
    let verb: string | undefined;
    const program = await commandTree(args, () => async () => undefined);
    program.hook("preAction", (_program, command) => {
      verb = command.name();
    });

    await program.parseAsync([...args], { from: "user" });

    expect(verb).toBe(["exec", "rotate", "status"].includes(args[0] ?? "") ? args[0] : "run");
  });
});

describe.each(manifests)("%s", (name) => {
  let mcpRun: Installation;
  beforeEach(() => {
    mcpRun = new Installation();
  });
  afterEach(() => mcpRun.remove());

  const objects = objectsOf(name);
  const pod = objects.find(({ kind }) => kind === "Deployment")?.spec?.template?.spec as PodSpec;
  const [agent] = pod.containers;

  it("has a profile that loads", () => {
    const text = objects.find(({ kind }) => kind === "ConfigMap")?.data?.["mcp-run.yaml"] ?? "";
    const file = mcpRun.write("mcp-run.yaml", text);

    const ran = mcpRun.run(["--config", file, "check", "--offline", "github"]);

    expect(ran, ran.stdout).toMatchObject({ status: 0, stderr: "" });
  });

  it("lets mcp-run write where its home is, and nowhere else", () => {
    const home = agent?.env.find((one) => one.name === "MCP_RUN_HOME")?.value;
    const writable = agent?.volumeMounts
      .filter(({ readOnly }) => !readOnly)
      .map(({ mountPath }) => mountPath);

    expect(writable).toEqual([home]);
  });

  it("has time for the longest stop, and no liveness probe that ends sessions", () => {
    // docs/stopping.md: unanswered requests, stopGrace, what can't be killed, the last bytes.
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(10 + 1.5 + 2 + 5);
    expect(agent?.livenessProbe).toBeUndefined();
  });
});
