/**
 * How programs write a text when they quote it: in JSON, in a URL, in HTML or XML, for a shell.
 * Each function gives every usual spelling of the text; where nothing has to be escaped, the text itself.
 */

type Replace = (text: string) => string;

/** Plain JSON and encodeURIComponent: enough for a text so long that the rarer forms would cost too much. */
export function mainTextForms(text: string): string[] {
  const wellFormed = Buffer.from(text).toString();
  const encoded = encodeURIComponent(wellFormed);
  return [
    JSON.stringify(text).slice(1, -1),
    encoded,
    encoded.replace(/%[0-9A-F]{2}/g, (escaped) => escaped.toLowerCase()),
  ];
}

/** JSON strings without the outer quotes, as JavaScript, Go, Python, PHP and .NET write them; also doubly escaped. */
export function jsonForms(text: string): string[] {
  const plain = JSON.stringify(text).slice(1, -1);
  const ascii = plain.replace(NOT_ASCII, (unit) => unicodeEscape(unit, "lower"));
  return [
    plain,
    ascii,
    plain.replace(NOT_ASCII, (unit) => unicodeEscape(unit, "upper")),
    plain.replace(/[<>&\u2028\u2029]/g, (unit) => unicodeEscape(unit, "lower")),
    plain.replaceAll("/", "\\/"),
    ascii.replaceAll("/", "\\/"),
    dotnetJson(plain),
    JSON.stringify(plain).slice(1, -1),
  ];
}

const NOT_ASCII = /[\u007f-\uffff]/g;

/** System.Text.Json's default encoder also escapes what could end an HTML attribute, and the plus sign. */
function dotnetJson(plain: string): string {
  return plain
    .replaceAll('\\"', "\\u0022")
    .replace(/[<>&'+`\u007f-\uffff]/g, (unit) => unicodeEscape(unit, "upper"));
}

function unicodeEscape(unit: string, letters: "lower" | "upper"): string {
  const hex = unit.charCodeAt(0).toString(16).padStart(4, "0");
  return `\\u${letters === "upper" ? hex.toUpperCase() : hex}`;
}

/** What stays readable besides letters and digits, by the rule that the encoder follows. */
const URL_RULES: readonly { readonly keeps: string; readonly blank?: string }[] = [
  { keeps: "-._~" }, // RFC 3986 section 2.3, unreserved
  { keeps: "-._~!'()*" }, // encodeURIComponent
  { keeps: "-._~/" }, // Python's quote()
  { keeps: "-._~$&+=:@" }, // a path segment, as Go writes it
  { keeps: "-._~$&+,/:;=@" }, // a path, as Go writes it
  { keeps: "-._~$&+,;=" }, // user name and password, as Go writes them
  { keeps: "-._~!'()*;,/?:@&=+$#" }, // encodeURI
  { keeps: "-._~!$&'()*+,%" }, // user name and password of a WHATWG URL
  { keeps: "-._*", blank: "+" }, // application/x-www-form-urlencoded
  { keeps: "-._~", blank: "+" }, // the same, as Python and Go write it
];

/** Percent-encoded UTF-8, with capital and with small hex digits. */
export function percentForms(text: string): string[] {
  // Every second part is one character that some rule escapes.
  const parts = text.split(/([^A-Za-z0-9])/u);
  const lower = parts.map((part, index) => (index % 2 === 0 ? part : percentEscape(part)));
  const upper = lower.map((part, index) => (index % 2 === 0 ? part : part.toUpperCase()));
  return URL_RULES.flatMap(({ keeps, blank }) =>
    [upper, lower].map((escaped) =>
      parts
        .map((part, index) => {
          if (index % 2 === 0 || keeps.includes(part)) return part;
          return part === " " && blank ? blank : escaped[index];
        })
        .join(""),
    ),
  );
}

function percentEscape(character: string): string {
  return Buffer.from(character).toString("hex").replace(/../g, "%$&");
}

/** Character references of HTML and XML, by the four habits of writing the quotes. */
export function markupForms(text: string): string[] {
  const bare = text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const quoted = bare.replaceAll('"', "&quot;");
  return [
    bare,
    quoted,
    quoted.replaceAll("'", "&#39;"),
    quoted.replaceAll("'", "&#x27;"),
    quoted.replaceAll("'", "&apos;"),
    bare.replaceAll('"', "&#34;").replaceAll("'", "&#39;"),
  ];
}

const SHELL_RULES: readonly Replace[] = [
  (text) => text.replaceAll("'", "'\\''"), // inside single quotes, as `set -x` shows it
  (text) => text.replaceAll("'", `'"'"'`), // Python's shlex.quote
  (text) => text.replaceAll("'", "''"), // SQL, YAML, PowerShell
  (text) => text.replaceAll('"', '""'), // CSV
  (text) => text.replace(/[\\"$`]/g, "\\$&"), // inside double quotes
  (text) => text.replace(/[\s\\'"|&;()<>!{}*[?\]^$`,]|^[#~]|(?<=[:=])~/g, "\\$&"), // bash's `printf %q`
  (text) => text.replace(/[^\w@%+=:,./\-\u0080-\uffff]/g, "\\$&"), // zsh's ${(q)}
  (text) => text.replace(/[^\w@+:,./\-\u0080-\uffff]/g, "\\$&"), // Ruby's Shellwords.escape
  (text) => jsonLike(text).replaceAll("'", "\\'"), // $'…', Python's and JavaScript's single quotes
];

/** Quoted for shells and the languages that quote like them, including doubled quotes. */
export function shellForms(text: string): string[] {
  return SHELL_RULES.map((rule) => rule(text));
}

function jsonLike(text: string): string {
  return JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"');
}
