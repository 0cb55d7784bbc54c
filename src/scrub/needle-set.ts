/**
 * What has to be hidden: the values of every secret, in all their variants. The set may grow while streams
 * run. It remembers the last 8 values of each secret, because a server that was started with an old one may
 * still print it, and for the same reason any value that somebody keeps.
 */
import type { Secret } from "../secrets/secret.ts";
import { isTooShort, variantsOf } from "./encodings.ts";
import { Matcher } from "./matcher.ts";
import type { Needle } from "./needle-table.ts";
import type { NeedleSource } from "./scrubber.ts";

/** How many values of one secret are remembered without being kept. */
const REMEMBERED_VALUES = 8;

/** Longer variants are looked for in pieces of equal size: less has to be held back, and less hides. */
const LONGEST_NEEDLE = 4096;
/** Bytes in which a good place for a cut is looked for. */
const CUT_REACH = 256;

/** Somebody (a child that runs) still knows a value; `release` once, when it has gone and its output is read. */
export interface KeptValue {
  release(): void;
}

interface RememberedValue {
  readonly secret: Secret;
  keepers: number;
  /** Made when they are first needed. */
  needles?: readonly Buffer[];
}

export class NeedleSet implements NeedleSource {
  /** By name, oldest value first; names in the order in which they came. */
  readonly #values = new Map<string, RememberedValue[]>();
  #revision = 0;
  #masks = 0;
  #matcher: Matcher | undefined;
  readonly onMasked = () => {
    this.#masks++;
  };

  /** Counts the changes of the set. */
  get revision(): number {
    return this.#revision;
  }

  /** Counts the masks in streams. */
  get masks(): number {
    return this.#masks;
  }

  /** Hides `value` from now on, under `name`; a value that is too short is remembered without effect. */
  add(name: string, value: Secret): void {
    this.#remember(name, value);
  }

  /** Like `add`, and the value stays in the set until it is released, however many follow it. */
  keep(name: string, value: Secret): KeptValue {
    const remembered = this.#remember(name, value, 1);
    let released = false;
    return {
      release: () => {
        if (released) return;
        released = true;
        remembered.keepers--;
        this.#forgetOldest(name);
      },
    };
  }

  /** True if a value can't be scrubbed, because hiding it would make every log unreadable. */
  tooShort(value: Secret): boolean {
    return isTooShort(value.reveal());
  }

  /** The search for what is in the set now; the same object until the set changes. */
  matcher(): Matcher {
    this.#matcher ??= new Matcher(this.#needles());
    return this.#matcher;
  }

  #remember(name: string, secret: Secret, keepers = 0): RememberedValue {
    const values = this.#values.get(name) ?? [];
    this.#values.set(name, values);
    const known = values.find((other) => other.secret.equals(secret));
    const remembered = known ?? { secret, keepers: 0 };
    remembered.keepers += keepers;
    if (known) values.splice(values.indexOf(known), 1);
    else this.#changed();
    values.push(remembered);
    this.#forgetOldest(name);
    return remembered;
  }

  #forgetOldest(name: string): void {
    const values = this.#values.get(name) ?? [];
    const old = values.slice(0, -REMEMBERED_VALUES);
    const kept = old.filter((value) => value.keepers > 0);
    if (kept.length === old.length) return;
    this.#values.set(name, [...kept, ...values.slice(-REMEMBERED_VALUES)]);
    this.#changed();
  }

  #changed(): void {
    this.#revision++;
    this.#matcher = undefined;
  }

  /**
   * Without duplicates. Where two secrets share a needle, it is called after the one of which it is the value
   * rather than a variant, and among those after the one that came first.
   */
  #needles(): Needle[] {
    const needles = new Map<string, Needle>();
    const add = (label: string, bytes: Buffer) => {
      const key = bytes.toString("latin1");
      if (!needles.has(key)) needles.set(key, { label, bytes });
    };
    const all = [...this.#values].flatMap(([name, values]) => values.map((value) => ({ name, value })));
    for (const { value } of all) value.needles ??= variantsOf(value.secret.reveal());
    for (const { name, value } of all) for (const piece of piecesOf(value.needles?.[0])) add(name, piece);
    for (const { name, value } of all) {
      for (const variant of value.needles ?? []) for (const piece of piecesOf(variant)) add(name, piece);
    }
    return [...needles.values()];
  }
}

function piecesOf(variant: Buffer | undefined): Buffer[] {
  if (!variant) return [];
  const count = Math.ceil(variant.length / LONGEST_NEEDLE);
  const pieces: Buffer[] = [];
  let from = 0;
  for (let piece = 1; piece <= count; piece++) {
    const to =
      piece === count ? variant.length : cutNear(variant, Math.floor((variant.length * piece) / count));
    pieces.push(variant.subarray(from, to));
    from = to;
  }
  return pieces;
}

/** A place at `at` or shortly before it, between two letters or digits: a mask begins and ends with others. */
function cutNear(variant: Buffer, at: number): number {
  for (let cut = at; cut > at - CUT_REACH; cut--) {
    if (isAlphanumeric(variant[cut - 1]!) && isAlphanumeric(variant[cut]!)) return cut;
  }
  return at;
}

function isAlphanumeric(byte: number): boolean {
  return (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a);
}
