/**
 * YAML 1.2 to plain values, bounded: tokens, depth, and values after aliases are expanded. Positions stay in
 * the node tree and are asked for only when there is something to report. Only what a profile needs is
 * accepted: one document, text keys, no tags, no duplicate keys.
 */
import {
  Composer,
  type CST,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  type Node,
  Parser,
} from "yaml";
import type { Finding } from "./findings.ts";
import { keyText, YamlDocument } from "./yaml-document.ts";

const MOST_DEPTH = 32;
const MOST_TOKENS = 200_000;
const MOST_VALUES = 50_000;

/** The tags of YAML's core schema; any other makes a value that no profile has a use for. */
const CORE_TAG = /^(?:!|tag:yaml\.org,2002:(?:str|int|float|bool|null|map|seq))$/;

/** The parser's stack holds, besides the collections, the document and the scalar that is being read. */
const STACK_BESIDES_COLLECTIONS = 2;

/** What a cron line without quotes is taken for. */
const QUOTES_FOR_STAR = "quotes around it, if it is a text that begins with `*`";

/** The first thing that is wrong with the text, or undefined when `document` is there. */
export type ReadYaml =
  | { readonly document: YamlDocument; readonly problem?: undefined }
  | { readonly document?: undefined; readonly problem: Finding };

/** Never throws for what `source` holds. */
export function readYaml(source: string): ReadYaml {
  try {
    const composed = compose(source);
    const walk = new Walk();
    const value = walk.plain(composed.contents, 0);
    return { document: new YamlDocument(source, composed.contents, walk.targets, value) };
  } catch (error) {
    if (error instanceof Refusal) return { problem: error.finding };
    throw error;
  }
}

class Refusal extends Error {
  readonly finding: Finding;

  constructor(start: number, end: number, message: string, hint?: string) {
    super(message);
    this.finding = { place: { offset: start, end }, message, ...(hint && { hint }) };
  }
}

function compose(source: string): Document.Parsed {
  const composer = new Composer({ version: "1.2", uniqueKeys: false, logLevel: "error" });
  let first: Document.Parsed | undefined;
  for (const document of composer.compose(tokens(source), true, source.length)) {
    if (!first) first = document;
    else throw new Refusal(document.range[0], document.range[0] + 1, "the file holds more than one document");
  }
  const document = first as Document.Parsed;
  const [error] = document.errors;
  if (error) {
    const [start, end] = error.pos;
    const hint = /alias/i.test(error.message) ? QUOTES_FOR_STAR : undefined;
    throw new Refusal(start, end, `not valid YAML: ${lowerFirst(error.message)}`, hint);
  }
  const [warning] = document.warnings;
  if (warning) throw new Refusal(warning.pos[0], warning.pos[1], lowerFirst(warning.message));
  if (document.directives.yaml.version !== "1.2")
    throw new Refusal(0, 1, "the file asks for another version of YAML than 1.2");
  return document;
}

/** Checks the bounds before anything is built that could be deep or large. */
function* tokens(source: string): Generator<CST.Token> {
  const parser = new Parser();
  let count = 0;
  for (const lexeme of new Lexer().lex(source)) {
    const here = parser.offset;
    if (++count > MOST_TOKENS) throw new Refusal(here, here + 1, "the file holds too much for a profile");
    yield* checked(parser.next(lexeme));
    if (parser.stack.length > MOST_DEPTH + STACK_BESIDES_COLLECTIONS) throw tooDeep(here, here + 1);
  }
  yield* checked(parser.end());
}

function* checked(parsed: Generator<CST.Token>): Generator<CST.Token> {
  for (const token of parsed) {
    if (token.type === "error") {
      const { offset, source } = token;
      throw new Refusal(offset, offset + source.length, `not valid YAML: ${lowerFirst(token.message)}`);
    }
    yield token;
  }
}

function tooDeep(start: number, end: number): Refusal {
  return new Refusal(start, end, `nested more than ${MOST_DEPTH} deep`);
}

/** Nodes to values, in document order, so that an alias means the last anchor of its name before it. */
class Walk {
  readonly targets = new Map<Node, Node>();
  readonly #anchors = new Map<string, Node>();
  readonly #open: Node[] = [];
  #values = 0;
  #aliases = 0;

  plain(node: Node | null, depth: number): unknown {
    if (node === null) return null;
    const [start, end] = node.range ?? [0, 1];
    if (depth > MOST_DEPTH) throw tooDeep(start, end);
    if (++this.#values > MOST_VALUES) {
      const what = this.#aliases > 0 ? "its aliases expand to too much" : "the file holds too much";
      throw new Refusal(start, end, `${what} for a profile: more than ${MOST_VALUES} values`);
    }
    if (isAlias(node)) return this.#plainAlias(node, node.source, start, end, depth);
    if (node.tag !== undefined && !CORE_TAG.test(node.tag))
      throw new Refusal(start, end, "tags are not used in profiles");
    if ("anchor" in node && typeof node.anchor === "string") this.#anchors.set(node.anchor, node);
    if (isScalar(node)) return node.value;
    this.#open.push(node);
    const value = isSeq(node)
      ? node.items.map((item) => this.plain(item as Node | null, depth + 1))
      : this.#plainMap(node, depth);
    this.#open.pop();
    return value;
  }

  #plainAlias(node: Node, name: string, start: number, end: number, depth: number): unknown {
    const target = this.#anchors.get(name);
    if (!target) {
      throw new Refusal(start, end, "an alias whose anchor does not stand before it", QUOTES_FOR_STAR);
    }
    if (this.#open.includes(target)) throw new Refusal(start, end, "an alias inside its own anchor");
    this.#aliases++;
    this.targets.set(node, target);
    return this.plain(target, depth);
  }

  #plainMap(node: Node, depth: number): Record<string, unknown> {
    const record: Record<string, unknown> = {};
    if (!isMap<Node, Node | null>(node)) return record;
    for (const { key, value } of node.items) {
      const name = keyText(key);
      const [start, end] = key?.range ?? node.range ?? [0, 1];
      if (name === undefined) throw new Refusal(start, end, "a key that is not text");
      if (name === "__proto__") throw new Refusal(start, end, "`__proto__` can't be a key");
      if (Object.hasOwn(record, name)) throw new Refusal(start, end, `duplicate key \`${name}\``);
      record[name] = this.plain(value, depth + 1);
    }
    return record;
  }
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
