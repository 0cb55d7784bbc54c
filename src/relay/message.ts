/** A line read as JSON, for the few messages whose content matters to a session. */

export type JsonObject = Readonly<Record<string, unknown>>;

/** An empty object for what is not a JSON object. */
export function messageOf(line: Buffer | string): JsonObject {
  try {
    return objectOf(JSON.parse(line.toString()));
  } catch (error) {
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}

/** The value if it is an object, else an empty one. */
export function objectOf(value: unknown): JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonObject) : {};
}

/** What stands at the end of a path of keys; undefined if the path breaks off. */
export function at(value: unknown, ...path: readonly string[]): unknown {
  let here: unknown = value;
  for (const key of path) {
    const object = objectOf(here);
    here = Object.hasOwn(object, key) ? object[key] : undefined;
  }
  return here;
}
