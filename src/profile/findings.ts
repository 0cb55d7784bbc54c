/**
 * What is wrong with a profile file, said by place in the document; line and column are worked out only when
 * something is printed. A message never holds a value that could be a secret.
 */

export type DocumentPath = readonly (string | number)[];

export type Place =
  | {
      readonly path: DocumentPath;
      /** Point at the key instead of its value. */
      readonly part?: "key";
      /** Point at this text inside the value, where it can be found. */
      readonly find?: string;
    }
  | { readonly offset: number; readonly end: number };

export interface Finding {
  readonly place: Place;
  /** A state, without a full stop. */
  readonly message: string;
  /** Reads after «Try ». */
  readonly hint?: string;
  /** The value at this place must not be shown in the excerpt. */
  readonly hidesValue?: boolean;
}

export type FindingOptions = Pick<Finding, "hint" | "hidesValue">;

export class Findings {
  readonly errors: Finding[] = [];
  readonly warnings: Finding[] = [];

  error(place: Place, message: string, options: FindingOptions = {}): void {
    this.errors.push({ place, message, ...options });
  }

  warning(place: Place, message: string, options: FindingOptions = {}): void {
    this.warnings.push({ place, message, ...options });
  }
}
