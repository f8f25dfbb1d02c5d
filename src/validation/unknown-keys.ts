import type * as z from "zod/mini";
import { nearestName } from "./nearest-name.ts";

/** A key of a value that the schema of its object does not name. */
export interface UnknownKey {
  /** The keys and indexes that lead to it, the key itself last. */
  readonly path: readonly string[];
  /** The keys that the object may have. */
  readonly known: readonly string[];
}

/** More of them are not reported. */
const MAX_UNKNOWN_KEYS = 20;
/** Names that are longer are compared, and shown, up to this length. */
const MAX_NAME_LENGTH = 40;

/** What a schema says about objects and lists, whatever it is wrapped into. Every other schema says nothing about keys. */
type Described =
  | { readonly object: Readonly<Record<string, z.core.$ZodType>> }
  | { readonly element: z.core.$ZodType }
  | { readonly value: z.core.$ZodType };

/**
 * Returns the keys of a value, at any depth, that its schema does not name. Schemas need not be strict: that a key is unknown does
 * not depend on how a schema is declared. A `record` names every key, and in a `union` each alternative names its own.
 *
 * @param value as it was received, before the schema has parsed it.
 * @returns at most 20 of them, in the value's order.
 */
export function unknownKeys(schema: z.core.$ZodType, value: unknown): UnknownKey[] {
  const found: UnknownKey[] = [];
  visit([schema], value, [], found);
  return found;
}

/** Returns the end of a sentence about an unknown name: the known name that was probably meant, or all of them. */
export function nameHint(name: string, known: readonly string[]): string {
  const nearest = nearestName(name.slice(0, MAX_NAME_LENGTH), known);
  if (nearest !== undefined) return ` Did you mean ${nearest}?`;
  return known.length === 0 ? " There are none." : ` Known are ${known.join(", ")}.`;
}

/** A name as an error shows it. */
export const shownName = (path: readonly string[]): string =>
  path.map((key) => (key.length > MAX_NAME_LENGTH ? `${key.slice(0, MAX_NAME_LENGTH)}…` : key || '""')).join(".");

function visit(
  schemas: readonly z.core.$ZodType[],
  value: unknown,
  path: readonly string[],
  found: UnknownKey[],
): void {
  if (typeof value !== "object" || value === null) return;
  const described = schemas.flatMap(describe);
  if (Array.isArray(value)) {
    const elements = described.flatMap((one) => ("element" in one ? [one.element] : []));
    if (elements.length === 0) return;
    for (const [index, one] of value.entries()) {
      if (found.length >= MAX_UNKNOWN_KEYS) return;
      visit(elements, one, [...path, String(index)], found);
    }
    return;
  }
  const shapes = described.flatMap((one) => ("object" in one ? [one.object] : []));
  const records = described.flatMap((one) => ("value" in one ? [one.value] : []));
  if (shapes.length + records.length === 0) return;
  // A record leaves the key `__proto__` out without a word, so for the sender it is unknown.
  const ofRecord = (key: string) => (key === "__proto__" ? [] : records);
  for (const [key, one] of Object.entries(value)) {
    if (found.length >= MAX_UNKNOWN_KEYS) return;
    const of = [...shapes.flatMap((shape) => (Object.hasOwn(shape, key) ? [shape[key]!] : [])), ...ofRecord(key)];
    if (of.length > 0) visit(of, one, [...path, key], found);
    else found.push({ path: [...path, key], known: [...new Set(shapes.flatMap((shape) => Object.keys(shape)))] });
  }
}

function describe(schema: z.core.$ZodType): Described[] {
  const { def } = (schema as z.core.$ZodTypes)._zod;
  switch (def.type) {
    case "object":
      return [
        { object: def.shape },
        ...(def.catchall && def.catchall._zod.def.type !== "never" ? [{ value: def.catchall }] : []),
      ];
    case "array":
      return [{ element: def.element }];
    case "record":
      return [{ value: def.valueType }];
    case "union":
      return def.options.flatMap(describe);
    case "pipe":
      return describe(def.in);
    case "optional":
    case "nullable":
    case "default":
    case "prefault":
    case "nonoptional":
    case "readonly":
    case "catch":
      return describe(def.innerType);
    default:
      return [];
  }
}
