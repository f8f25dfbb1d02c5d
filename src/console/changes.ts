import { compareLines, grantLine, type Line, type RecordedGrant } from "./draft-grants.ts";

/** One field of what a record tells of, line by line. */
export interface Change {
  readonly name: string;
  readonly lines: readonly Line[];
  /** Whether the field is one value, and not a list. */
  readonly isSingle: boolean;
}

type Values = Readonly<Record<string, unknown>>;

const isObject = (value: unknown): value is Values =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Whether a value has the form of a grant: the record may be of another version, or of something else. */
const isGrant = (value: unknown): value is RecordedGrant =>
  isObject(value) &&
  typeof value.permission === "string" &&
  (value.expires_at === null || value.expires_at === undefined || typeof value.expires_at === "string") &&
  (value.where === null ||
    value.where === undefined ||
    (isObject(value.where) && Object.values(value.where).every((conditions) => isObject(conditions))));

const textOf = (value: unknown): string => {
  if (typeof value === "string") return value;
  return isGrant(value) ? grantLine(value) : (JSON.stringify(value) ?? "");
};

/** A value as lines: each entry of a list, each field of an object, or the value itself. */
const linesOf = (value: unknown): string[] => {
  if (value === null || value === undefined) return [];
  if (Array.isArray(value)) return value.map(textOf);
  if (isObject(value)) return Object.entries(value).map(([name, one]) => `${name}: ${textOf(one)}`);
  return [textOf(value)];
};

/**
 * What a record says of before and after, field by field: grants as in the console's other places, lists entry by entry.
 *
 * @param before null for what is new, whose lines are no additions.
 * @param after null for what is gone, whose lines are no removals.
 */
export function changesOf(before: Values | null, after: Values | null): Change[] {
  const names = new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})]);
  return [...names].map((name) => {
    const values = [before, after].map((one) => (one && Object.hasOwn(one, name) ? one[name] : undefined));
    const [was, will] = values.map(linesOf) as [string[], string[]];
    const isSingle = !values.some((value) => typeof value === "object" && value !== null);
    const isWhole = before === null || after === null;
    const lines = isWhole
      ? [...was, ...will].map((line) => ({ kind: "same", line }) as const)
      : compareLines(was, will);
    return { name, lines, isSingle };
  });
}

/** What a change set, in one line: `status active → suspended`; of lists what came and what went. */
export const changeInWords = (before: Values | null, after: Values): string =>
  changesOf(before ?? {}, after)
    .map(({ name, lines, isSingle }) => {
      const of = (kind: Line["kind"]) => lines.filter((line) => line.kind === kind).map(({ line }) => line);
      const [added, removed] = [of("added"), of("removed")];
      if (added.length + removed.length === 0) return "";
      if (!isSingle)
        return `${name} ${[...added.map((one) => `+ ${one}`), ...removed.map((one) => `− ${one}`)].join(" ")}`;
      return removed.length === 0 ? `${name} ${added.join()}` : `${name} ${removed.join()} → ${added.join() || "none"}`;
    })
    .filter((one) => one !== "")
    .join(", ");
