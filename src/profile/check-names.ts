/** Rules between the parts of a profile: names that meet, templates, and secrets in arguments. */

import { nearest } from "../nearest.ts";
import { parseTemplate, TEMPLATE_FILTERS, templateNames } from "../secrets/template.ts";
import { type Compilation, plaintextFinding } from "./compilation.ts";
import { findCredential } from "./credential-literals.ts";
import type { DocumentPath } from "./findings.ts";
import type { Profile } from "./profile.ts";

type Named = Pick<Profile, "args" | "env" | "secrets" | "secretsFrom" | "secretsInArgs">;

export function checkNames(profile: Named, compilation: Compilation): void {
  checkCollisions(profile, compilation);
  const templates = new Map<string, readonly string[]>();
  for (const { name, source } of profile.secrets) {
    if (source.type === "template")
      templates.set(name, checkTemplate(name, source.template, profile, compilation));
  }
  reportCircle(templates, compilation);
  checkSecretsInArgs(profile, compilation);
}

/** One variable has one source; a delivered file's path is in NAME_FILE. */
function checkCollisions({ env, secrets }: Named, { pathOf, findings, request }: Compilation): void {
  const comparable = (name: string) => (request.platform === "win32" ? name.toUpperCase() : name);
  const taken = new Map<string, string>();
  const take = (variable: string, path: DocumentPath, what: string) => {
    const other = taken.get(comparable(variable));
    if (other !== undefined)
      findings.error({ path, part: "key" }, `\`${variable}\` is set twice: ${what} and ${other}`);
    else taken.set(comparable(variable), what);
  };
  for (const name of Object.keys(env)) take(name, pathOf("env", name), "under `env`");
  for (const { name, deliver } of secrets.filter(({ deliver }) => deliver !== "none")) {
    const path = pathOf("secrets", name);
    if (deliver === "file") take(`${name}_FILE`, path, `as the file of the secret \`${name}\``);
    else take(name, path, "under `secrets`");
  }
}

/** Returns the names that the template needs. */
function checkTemplate(
  name: string,
  template: string,
  { env, secretsFrom }: Named,
  compilation: Compilation,
): readonly string[] {
  const { pathOf, findings, secretNames } = compilation;
  const path = [...pathOf("secrets", name), "template"];
  const parsed = parseTemplate(template);
  if (!parsed.ok) {
    findings.error({ path }, `the template of \`${name}\` can't be used: ${parsed.reason}`);
    return [];
  }
  const found = findCredential(template);
  if (found) {
    plaintextFinding(
      compilation,
      { path },
      `the template of \`${name}\` holds what looks like ${found.what}`,
      `\`mcp-run secrets set local:${name}_PART\`, a line for it under \`secrets:\` with \`deliver: none\`, and \`{{${name}_PART}}\` here`,
    );
  }
  const names = templateNames(parsed.parts);
  if (names.length === 0) {
    findings.error({ path }, `the template of \`${name}\` names no secret`, {
      hint: "a plain value under `env:`, or `{{NAME}}` in the template",
    });
  }
  for (const needed of names) {
    // The names that `secretsFrom` brings are known only when it has been fetched.
    if (secretNames.has(needed) || secretsFrom.length > 0) continue;
    const near = nearest(needed, secretNames);
    const isPlain = Object.hasOwn(env, needed);
    findings.error(
      { path, find: `{{${needed}` },
      `there is no secret \`${needed}\`${near ? `, did you mean \`${near}\`?` : ""}`,
      { ...(isPlain && { hint: `\`${needed}\` under \`secrets:\`; a template can't use \`env\`` }) },
    );
  }
  return names;
}

function reportCircle(
  templates: ReadonlyMap<string, readonly string[]>,
  { pathOf, findings }: Compilation,
): void {
  const done = new Set<string>();
  const visit = (name: string, above: readonly string[]): void => {
    const from = above.indexOf(name);
    if (from >= 0) {
      const circle = [...above.slice(from), name].join(" -> ");
      findings.error(
        { path: [...pathOf("secrets", name), "template"] },
        `templates need each other in a circle: ${circle}`,
      );
      return;
    }
    if (done.has(name)) return;
    for (const needed of templates.get(name) ?? []) visit(needed, [...above, name]);
    done.add(name);
  };
  for (const name of templates.keys()) visit(name, []);
}

/** Lower-case words in braces are other programs' templates (`{{json .}}`, `{{name}}`), unless they are names here. */
const REFERENCE = /\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*(?:\|\s*(\w+)\s*)?\}\}/g;

function checkSecretsInArgs(
  { args, secretsFrom, secretsInArgs }: Named,
  { pathOf, findings, secretNames }: Compilation,
): void {
  for (const [index, name] of secretsInArgs.entries()) {
    if (secretNames.has(name) || secretsFrom.length > 0) continue;
    const near = nearest(name, secretNames);
    findings.error(
      { path: pathOf("secretsInArgs", index) },
      `there is no secret \`${name}\`${near ? `, did you mean \`${near}\`?` : ""}`,
    );
  }
  for (const [index, argument] of args.entries()) {
    for (const [, name = "", filter] of argument.matchAll(REFERENCE)) {
      const place = { path: pathOf("args", index), find: `{{${name}` };
      const isName = secretNames.has(name) || secretsInArgs.includes(name) || /^[A-Z][A-Z0-9_]*$/.test(name);
      if (!isName) continue;
      if (!secretsInArgs.includes(name)) {
        findings.error(place, ...argumentRefusal(name, secretNames, secretsFrom.length > 0));
      } else if (filter !== undefined && !TEMPLATE_FILTERS.some((known) => known === filter)) {
        findings.error(place, `there is no filter \`${filter}\``, {
          hint: `one of ${TEMPLATE_FILTERS.join(", ")}`,
        });
      }
    }
  }
}

function argumentRefusal(
  name: string,
  secretNames: ReadonlySet<string>,
  mayBeFetched: boolean,
): [message: string, options: { hint: string }] {
  if (!secretNames.has(name) && !mayBeFetched) {
    const near = nearest(name, secretNames);
    return [
      `there is no secret \`${name}\`${near ? `, did you mean \`${near}\`?` : ""}`,
      { hint: "a name under `secrets:` that `secretsInArgs` allows here" },
    ];
  }
  return [
    `\`{{${name}}}\` puts a secret into the arguments, where \`ps\` shows it to every user of the machine`,
    {
      hint: `the variable \`${name}\`, which the server gets anyway; if it takes it only as an argument, \`secretsInArgs: [${name}]\``,
    },
  ];
}
