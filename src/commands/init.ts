/** `mcp-run init [TEMPLATE]`: start from a ready-made profile. */
import { mkdir, open, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { McpRunError, systemErrorCode } from "../errors.ts";
import { nearest } from "../nearest.ts";
import { PROFILE_NAME, RESERVED_PROFILE_NAMES } from "../profile/reserved-names.ts";
import { formatTable } from "../ui/table.ts";
import { clientSnippet } from "./client-snippet.ts";
import type { CommandContext } from "./context.ts";

export async function init(
  context: CommandContext,
  template: string | undefined,
  options: { readonly name?: string },
): Promise<number> {
  const templates = await readTemplates(context.packageRoot);
  if (template === undefined) {
    context.stdout.write(formatTable([...templates].map(([name, text]) => [name, descriptionOf(text)])));
    context.printer.emit({ type: "notice", message: "Take one with mcp-run init NAME" });
    return 0;
  }
  const text = templates.get(template);
  if (text === undefined) {
    const near = nearest(template, templates.keys());
    throw new McpRunError("usage", `Cannot start from template "${template}": there is no such template`, {
      hint: `mcp-run init ${near ?? "to list them"}; or, for a server of your own, mcp-run init github --name ${template}, and change that file`,
    });
  }
  const name = options.name ?? template;
  const objection = objectionTo(name);
  if (objection !== undefined) {
    throw new McpRunError("usage", `Cannot name a profile "${name}": ${objection}`, {
      hint: "--name with another one",
    });
  }
  const file = join(context.paths.config, "profiles", `${name}.yaml`);
  await writeNewFile(file, text);
  context.stdout.write(nextSteps(context, name, file, text));
  return 0;
}

/** Undefined for a name that `loadProfile` will take. */
function objectionTo(name: string): string | undefined {
  if (RESERVED_PROFILE_NAMES.includes(name)) return "it is a command";
  if (/\.ya?ml$/.test(name)) return "it would be taken for the path of a file";
  if (PROFILE_NAME.test(name)) return undefined;
  return "it is not made of at most 64 letters, digits, dots, dashes and underscores, a letter or digit first";
}

async function readTemplates(packageRoot: string): Promise<ReadonlyMap<string, string>> {
  const folder = join(packageRoot, "profiles");
  const files = (await readdir(folder)).filter((file) => file.endsWith(".yaml")).sort();
  return new Map(
    await Promise.all(
      files.map(
        async (file) => [file.slice(0, -".yaml".length), await readFile(join(folder, file), "utf8")] as const,
      ),
    ),
  );
}

function descriptionOf(text: string): string {
  return /^description: (.*)$/m.exec(text)?.[1] ?? "";
}

async function writeNewFile(file: string, text: string): Promise<void> {
  try {
    await mkdir(join(file, ".."), { recursive: true, mode: 0o700 });
    const created = await open(file, "wx", 0o600);
    try {
      await created.writeFile(text);
    } catch (error) {
      await rm(file);
      throw error;
    } finally {
      await created.close();
    }
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === "EEXIST") {
      throw new McpRunError("usage", `Cannot write ${file}: it is there already`, {
        hint: "--name with another name",
      });
    }
    throw new McpRunError("access-denied", `Cannot write ${file}: ${code ?? "unknown failure"}`, {
      hint: "a folder that you can write to: MCP_RUN_HOME moves all of mcp-run's files",
    });
  }
}

/** The refs of a template that a person has to fill, and how to go on from there. */
function nextSteps(context: CommandContext, name: string, file: string, text: string): string {
  const refs = [...new Set([...text.matchAll(/\b(?:local|keychain):[\w./-]+/g)].map(([ref]) => ref))];
  const command = context.platform === "win32" ? "mcp-run.cmd" : "mcp-run";
  return [
    `Wrote ${file}`,
    "",
    "Next:",
    ...refs.map((ref) => `  ${command} secrets set ${ref}`),
    `  ${command} check --start ${name}`,
    "",
    "Then in the client's config file:",
    clientSnippet(context, name),
    "",
  ].join("\n");
}
