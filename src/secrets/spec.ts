/** What a profile asks for, secret by secret: the input of the resolver. */
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
