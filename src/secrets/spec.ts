/** What a profile asks for, secret by secret: the input of the resolver. */
import type { GeneratedShape } from "./generated-shape.ts";
import type { RefRequest } from "./provider.ts";

/** How a secret reaches the server: a variable, a 0600 file whose path is in NAME_FILE, or not at all. */
export type Delivery = "env" | "file" | "none";

/** A ref, taken apart: `vault:mcp/github#token` is provider `vault`, path `mcp/github`, field `["token"]`. */
export interface Ref {
  readonly provider: string;
  readonly request: RefRequest;
  /** The way to a field of a JSON document; undefined for the whole value. */
  readonly field?: readonly string[];
  /** As the user wrote it; for messages. */
  readonly text: string;
}

export interface SecretSpec {
  /** The variable's name in the server's environment. */
  readonly name: string;
  readonly source:
    | { readonly type: "ref"; readonly ref: Ref }
    | { readonly type: "template"; readonly template: string };
  readonly optional: boolean;
  readonly deliver: Delivery;
  /** False leaves the value readable in stderr (user names, ports, regions). */
  readonly scrub: boolean;
  /** Where a new value comes from when it is rotated. */
  readonly rotate?: RotateSpec;
  /** Ms after which the value should have been rotated; only warned of. */
  readonly maxAgeMs?: number;
}

export interface RotateSpec {
  readonly source:
    | { readonly type: "generate"; readonly shape: GeneratedShape }
    | HookSpec
    /** A person makes it in a web console. */
    | { readonly type: "console"; readonly url: string }
    /** Its backend replaces it by itself, in the way that the backend says. */
    | { readonly type: "backend" };
  /** Other secrets of the profile that change with this one. */
  readonly with: readonly string[];
}

/** A program that talks to the issuer: docs/hooks.md. */
export interface HookSpec {
  readonly type: "hook";
  readonly argv: readonly [string, ...string[]];
  /** Whether it is told the old value, where that is to be revoked or verified. */
  readonly grantsOldValue: boolean;
  /** The key encrypts something, which the hook has to encrypt anew. */
  readonly reencrypts?: true;
  /** Ms; the issuer's own default without it. */
  readonly timeoutMs?: number;
}

/** `secretsFrom`: every field of a JSON document, or those of `only`, as `prefix` + field name. */
export interface SecretsFromSpec {
  readonly ref: Ref;
  readonly prefix: string;
  readonly only?: readonly string[];
  readonly optional: boolean;
}

/** One entry under `providers:`; its settings are checked by the provider's own schema when it is opened. */
export interface ProviderEntry {
  readonly name: string;
  readonly type: string;
  readonly settings: Readonly<Record<string, unknown>>;
}
