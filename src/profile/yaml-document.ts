/** A YAML file as plain values that still know where they stand. Positions are worked out when asked for. */
import { isMap, isScalar, isSeq, type Node, type Pair, type YAMLMap } from "yaml";
import type { DocumentPath, Place } from "./findings.ts";

export interface Span {
  readonly start: number;
  readonly end: number;
}

export class YamlDocument {
  readonly source: string;
  /** Mappings as plain objects, lists, text, numbers, booleans, null. */
  readonly value: unknown;
  readonly #root: Node | null;
  readonly #targets: ReadonlyMap<Node, Node>;
  readonly #pairs = new Map<Node, ReadonlyMap<string, Pair<Node, Node | null>>>();

  /** @param targets what each alias stands for */
  constructor(source: string, root: Node | null, targets: ReadonlyMap<Node, Node>, value: unknown) {
    this.source = source;
    this.value = value;
    this.#root = root;
    this.#targets = targets;
  }

  /** A number or boolean as it was written (`1.10`), or text; undefined for anything else. */
  writtenAt(path: DocumentPath): string | undefined {
    const { value, isWhole } = this.#walk(path);
    const node = this.#targetOf(value);
    return isWhole && isScalar(node) && node.value !== null ? node.source : undefined;
  }

  /** Offsets of a place in the source; of the nearest thing around it when the place itself is not there. */
  spanOf(place: Place): Span {
    if ("offset" in place) return { start: place.offset, end: place.end };
    const { key, value, isWhole } = this.#walk(place.path);
    const keySpan = spanOfNode(key);
    const valueSpan = spanOfNode(value);
    const isEmpty = valueSpan === undefined || valueSpan.start === valueSpan.end;
    const span = place.part === "key" || !isWhole || isEmpty ? (keySpan ?? valueSpan) : valueSpan;
    if (!span) return { start: 0, end: 1 };
    if (place.find === undefined) return span;
    const found = this.source.slice(span.start, span.end).indexOf(place.find);
    return found < 0 ? span : { start: span.start + found, end: span.start + found + place.find.length };
  }

  /** Follows the path as far as it goes; `isWhole` when to its end. */
  #walk(path: DocumentPath): { key: Node | null; value: Node | null; isWhole: boolean } {
    let key: Node | null = null;
    let value = this.#root;
    for (const step of path) {
      const node = this.#targetOf(value);
      if (isSeq(node) && typeof step === "number" && step < node.items.length) {
        key = null;
        value = node.items[step] as Node | null;
        continue;
      }
      const pair = isMap<Node, Node | null>(node) ? this.#pairsOf(node).get(String(step)) : undefined;
      if (!pair) return { key: key ?? (isMap(value) ? firstKey(value) : value), value, isWhole: false };
      key = pair.key;
      value = pair.value;
    }
    return { key, value, isWhole: true };
  }

  /** Thousands of mistakes may stand in one mapping. */
  #pairsOf(map: YAMLMap<Node, Node | null>): ReadonlyMap<string, Pair<Node, Node | null>> {
    const known =
      this.#pairs.get(map) ?? new Map(map.items.map((pair) => [keyText(pair.key) ?? "", pair] as const));
    this.#pairs.set(map, known);
    return known;
  }

  #targetOf(node: Node | null): Node | null {
    return (node && this.#targets.get(node)) ?? node;
  }
}

/** A key as it is written, so that `1:` and `true:` are names; undefined for a key that is no scalar. */
export function keyText(key: Node | null): string | undefined {
  if (!isScalar(key)) return undefined;
  return key.source ?? String(key.value);
}

function firstKey(map: Node): Node | null {
  return isMap<Node, Node | null>(map) ? (map.items[0]?.key ?? map) : map;
}

function spanOfNode(node: Node | null): Span | undefined {
  return node?.range ? { start: node.range[0], end: node.range[1] } : undefined;
}
