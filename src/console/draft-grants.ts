import type { Grant, GrantConditions } from "../client/wire.ts";

/** What is said of a grant that is being written. */
export interface DraftGrant {
  readonly permission: string;
  readonly where?: Readonly<Record<string, GrantConditions>> | undefined;
  readonly expires_at?: string | undefined;
}

/** A grant as a record of the log has it. */
export interface RecordedGrant {
  readonly permission: string;
  readonly where?: DraftGrant["where"] | null;
  readonly expires_at?: string | null | undefined;
}

export const toDraft = ({ permission, where, expires_at: end }: Grant): DraftGrant => ({
  permission,
  ...(where && { where }),
  ...(end && { expires_at: end }),
});

const OPERATORS = {
  eq: "is",
  in: "is one of",
  not_in: "is none of",
  min: "at least",
  max: "at most",
  glob: "matches",
} as const;

/** The limits of a grant as sentences. */
export const limitsInWords = (where: RecordedGrant["where"]): string[] =>
  Object.entries(where ?? {}).flatMap(([field, conditions]) =>
    Object.entries(conditions).map(([operator, value]) => {
      const said = Array.isArray(value) ? value.map(String).join(", ") : String(value);
      return `${field} ${OPERATORS[operator as keyof typeof OPERATORS] ?? operator} ${said}`;
    }),
  );

/** A grant as one line, for comparing what was with what will be. */
export const grantLine = ({ permission, where, expires_at: end }: RecordedGrant): string =>
  [permission, ...limitsInWords(where), ...(end ? [`until ${end.slice(0, 16).replace("T", " ")} UTC`] : [])].join(
    " · ",
  );

/** A line of what a change takes away, leaves or adds. */
export interface Line {
  readonly kind: "removed" | "same" | "added";
  readonly line: string;
}

/** What is taken away, left and added between two lists, in the order of the texts, so that similar ones stand together. */
export function compareLines(before: readonly string[], after: readonly string[]): Line[] {
  const [was, will] = [new Set(before), new Set(after)];
  const lines = [...new Set([...was, ...will])];
  // One value in place of another: the former first.
  if (lines.length > 2) lines.sort();
  return lines.map((line) => ({ kind: !will.has(line) ? "removed" : was.has(line) ? "same" : "added", line }));
}

/** What a change of grants takes away, leaves and adds. */
export const compareGrants = (before: readonly DraftGrant[], after: readonly DraftGrant[]): Line[] =>
  compareLines(before.map(grantLine), after.map(grantLine));

export const CONDITION_OPERATORS = Object.entries(OPERATORS).map(([value, label]) => ({ value, label }));

/**
 * Reads the value of a condition as it is typed: several values with commas between for `in` and `not_in`, a number for `min` and `max`.
 * For a field of the body, a bare number or `true` is that, and in quotes it is a text; everything else is text.
 *
 * @returns undefined if it is not a value of this operator.
 */
export function parseCondition(field: string, operator: string, typed: string): GrantConditions | undefined {
  const text = typed.trim();
  if (text === "") return undefined;
  const scalar = (one: string): string | number | boolean => {
    const quoted = /^"(.*)"$/s.exec(one)?.[1];
    if (quoted !== undefined) return quoted;
    if (!field.startsWith("body.")) return one;
    if (one === "true" || one === "false") return one === "true";
    return /^-?(?:0|[1-9]\d{0,14})(?:\.\d{1,6})?$/.test(one) ? Number(one) : one;
  };
  switch (operator) {
    case "in":
    case "not_in":
      return {
        [operator]: text
          .split(",")
          .map((one) => one.trim())
          .filter((one) => one !== "")
          .map(scalar),
      };
    case "min":
    case "max":
      return Number.isFinite(Number(text)) ? { [operator]: Number(text) } : undefined;
    case "glob":
      return { glob: text };
    default:
      return { eq: scalar(text) };
  }
}

/** The value of a condition as it would be typed. */
export function typedCondition(field: string, value: GrantConditions[keyof GrantConditions]): string {
  const one = (scalar: unknown): string => {
    const text = String(scalar);
    const wouldBeOther =
      field.startsWith("body.") && typeof scalar === "string" && /^(?:true|false|-?[\d.]+)$/.test(text);
    return wouldBeOther ? `"${text}"` : text;
  };
  return Array.isArray(value) ? value.map(one).join(", ") : one(value);
}
