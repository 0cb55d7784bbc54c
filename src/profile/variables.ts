/** `${NAME}` and `${NAME:-default}`, and `$${` for a literal `${`. Nothing else of a shell's grammar. */
import { carriesCredential } from "./credential-names.ts";

export type Variables = Readonly<Record<string, string | undefined>>;

export interface VariableProblem {
  /** The text at which to point. */
  readonly find: string;
  readonly message: string;
  readonly hint: string;
}

export interface Expansion {
  readonly text: string;
  /** The variables that were asked for. */
  readonly names: readonly string[];
  readonly problems: readonly VariableProblem[];
}

const MARK = /\$\$\{|\$\{([^}]*)\}?/g;
const BODY = /^([A-Za-z_][A-Za-z0-9_]*)(?::-([\s\S]*))?$/;

/**
 * Puts the values of `env` in. An unset or empty variable takes its default; unset without a default, a name
 * that carries a credential, and anything that is not this grammar are problems.
 *
 * @param adviceFor what to do instead of expanding this credential, worded after «Try »
 */
export function expandVariables(
  text: string,
  env: Variables,
  adviceFor: (name: string) => string,
): Expansion {
  if (!text.includes("${")) return { text, names: [], problems: [] };
  const problems: VariableProblem[] = [];
  const names: string[] = [];
  const refuse = (find: string, message: string, hint: string) => {
    problems.push({ find, message, hint });
    return "";
  };
  const expanded = text.replace(MARK, (mark: string, body: string | undefined) => {
    if (body === undefined) return "${";
    const [, name, fallback] = BODY.exec(body) ?? [];
    if (!mark.endsWith("}") || name === undefined || fallback?.includes("${")) {
      return refuse(
        "${",
        `a \`\${\` is neither \`\${NAME}\` nor \`\${NAME:-default}\``,
        "`$${` for a `${` that is meant literally",
      );
    }
    if (carriesCredential(name)) {
      return refuse(
        `\${${name}`,
        `\`${name}\` looks like a credential, and a value that is put in here is not protected as a secret`,
        adviceFor(name),
      );
    }
    names.push(name);
    const value = env[name];
    if (value === undefined && fallback === undefined) {
      return refuse(
        `\${${name}`,
        `the variable \`${name}\` is not set`,
        `\`\${${name}:-default}\`, or setting it where mcp-run is started (a client passes only its own \`env\` on)`,
      );
    }
    return value || (fallback ?? "");
  });
  return { text: expanded, names, problems };
}

/** For places that are taken as they are written: a `${` is a problem there, `$${` a literal `${`. */
export function withoutVariables(text: string, place: string): Expansion {
  if (!text.includes("${")) return { text, names: [], problems: [] };
  const problem: VariableProblem = {
    find: "${",
    message: `\`\${…}\` is not expanded in ${place}`,
    hint: "`$${` for a `${` that is meant literally, or a variable under `env` that the server reads itself",
  };
  let isExpanded = false;
  const literal = text.replace(MARK, (mark: string, body: string | undefined) => {
    if (body === undefined) return "${";
    isExpanded = true;
    return mark;
  });
  return { text: literal, names: [], problems: isExpanded ? [problem] : [] };
}

/** The text without its variables: what somebody wrote there as a literal. */
export function literalPart(text: string): string {
  return text.includes("${") ? text.replace(MARK, (mark) => (mark === "$${" ? "${" : " ")) : text;
}
