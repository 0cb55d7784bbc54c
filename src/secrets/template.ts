/**
 * `{{NAME}}` and `{{NAME|filter}}` inside a template or, where the profile allows it, inside an argument.
 * A backslash before the braces keeps them: `\{{` is a literal `{{`.
 */

const FILTERS = {
  uri: (value: string) => encodeURIComponent(value).replace(/[!'()*]/g, percentEncoded),
  json: (value: string) => JSON.stringify(value).slice(1, -1),
  base64: (value: string) => Buffer.from(value, "utf8").toString("base64"),
} as const;

export type TemplateFilter = keyof typeof FILTERS;
export const TEMPLATE_FILTERS = Object.keys(FILTERS) as readonly TemplateFilter[];

export type TemplatePart = string | { readonly name: string; readonly filter?: TemplateFilter };

export type ParsedTemplate =
  | { readonly ok: true; readonly parts: readonly TemplatePart[] }
  | { readonly ok: false; readonly reason: string };

/** Takes a template apart; the reason of a refusal is a state that reads after «because». */
export function parseTemplate(text: string): ParsedTemplate {
  const parts: TemplatePart[] = [];
  let literal = "";
  for (let at = 0; at < text.length; ) {
    if (text.startsWith("\\{{", at)) {
      literal += "{{";
      at += 3;
    } else if (text.startsWith("{{", at)) {
      const end = text.indexOf("}}", at + 2);
      if (end < 0) return { ok: false, reason: "a {{ is not closed by }}" };
      const inside = text.slice(at + 2, end);
      const match = /^\s*([A-Za-z_][A-Za-z0-9_]*)\s*(?:\|\s*([a-z0-9]+)\s*)?$/.exec(inside);
      if (!match?.[1]) return { ok: false, reason: `{{${inside}}} is not {{NAME}} or {{NAME|filter}}` };
      const filter = match[2];
      if (filter !== undefined && !isFilter(filter)) {
        return {
          ok: false,
          reason: `there is no filter "${filter}" (there are ${TEMPLATE_FILTERS.join(", ")})`,
        };
      }
      if (literal !== "") parts.push(literal);
      literal = "";
      parts.push(filter ? { name: match[1], filter } : { name: match[1] });
      at = end + 2;
    } else {
      literal += text[at++];
    }
  }
  if (literal !== "") parts.push(literal);
  return { ok: true, parts };
}

/** The names a template uses, each once, in order. */
export function templateNames(parts: readonly TemplatePart[]): readonly string[] {
  return [...new Set(parts.flatMap((part) => (typeof part === "string" ? [] : [part.name])))];
}

/** @param lookUp gives the plain value of every name that `templateNames` lists */
export function renderTemplate(parts: readonly TemplatePart[], lookUp: (name: string) => string): string {
  return parts
    .map((part) => {
      if (typeof part === "string") return part;
      const value = lookUp(part.name);
      return part.filter ? FILTERS[part.filter](value) : value;
    })
    .join("");
}

const REFERENCE = /\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*(?:\|\s*([a-z0-9]+)\s*)?\}\}/g;

/** Replaces the references to these names and leaves every other brace as it stands: for arguments. */
export function insertNamed(text: string, values: ReadonlyMap<string, string>): string {
  return text.replace(REFERENCE, (whole, name: string, filter: string | undefined) => {
    const value = values.get(name);
    if (value === undefined) return whole;
    if (filter === undefined) return value;
    return isFilter(filter) ? FILTERS[filter](value) : whole;
  });
}

function isFilter(word: string): word is TemplateFilter {
  return Object.hasOwn(FILTERS, word);
}

/** encodeURIComponent leaves RFC 3986's sub-delims `!'()*` alone; in a userinfo or query they may not stand. */
function percentEncoded(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
}
