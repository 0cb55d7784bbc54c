/** Walks a zod schema to learn which keys it would take at some place, so that a slip can be named. */
import type * as z from "zod/mini";
import type { DocumentPath } from "./findings.ts";

/** The keys that the schema knows at a path, so that a slip can be named. */
export function keysAt(schema: z.ZodMiniType, path: DocumentPath): readonly string[] {
  let here: readonly z.core.$ZodType[] = [schema as z.core.$ZodType];
  for (const step of path) here = here.flatMap((inner) => stepInto(inner, step));
  const own = here.flatMap(branches).flatMap((inner) => Object.entries(shapeOf(inner)));
  return [...new Set(own.filter(([, value]) => !isNever(value)).map(([key]) => key))];
}

/** What zod keeps about a schema, as far as it is needed to walk it. */
interface Definition {
  readonly type: string;
  readonly shape?: Readonly<Record<string, z.core.$ZodType>>;
  readonly element?: z.core.$ZodType;
  readonly valueType?: z.core.$ZodType;
  readonly innerType?: z.core.$ZodType;
  readonly in?: z.core.$ZodType;
  readonly options?: readonly z.core.$ZodType[];
}

function definitionOf(schema: z.core.$ZodType): Definition {
  return schema._zod.def as unknown as Definition;
}

function branches(schema: z.core.$ZodType): readonly z.core.$ZodType[] {
  const { innerType, in: input, options } = definitionOf(schema);
  const inner = innerType ? [innerType] : input ? [input] : options;
  return inner ? inner.flatMap(branches) : [schema];
}

function stepInto(schema: z.core.$ZodType, step: string | number): readonly z.core.$ZodType[] {
  return branches(schema).flatMap((branch) => {
    const { shape, element, valueType } = definitionOf(branch);
    const next = shape?.[step] ?? element ?? valueType;
    return next ? [next] : [];
  });
}

function shapeOf(schema: z.core.$ZodType): Readonly<Record<string, z.core.$ZodType>> {
  return definitionOf(schema).shape ?? {};
}

function isNever(schema: z.core.$ZodType): boolean {
  return branches(schema).some((branch) => definitionOf(branch).type === "never");
}
