import type * as z from "zod/mini";

const ENTRIES: Record<string, string> = { string: "characters", array: "entries" };
const KINDS: Record<string, string> = { object: "an object", array: "an array", int: "a whole number" };
const FORMATS: Record<string, string> = {
  email: "an e-mail address",
  url: "a URL",
  datetime: "a time such as 2026-11-23T10:00:00Z",
};

/**
 * Returns what a value must be, as the rest of a sentence that begins with the field's name. Does not repeat the value.
 *
 * `zod/mini` has no messages of its own. Those of `zod` ("Too small: expected string to have >=3 characters") do not follow a
 * name, so `zod` would need this function too, and its schemas cost 20 KB gzipped more and take twice the time to build.
 */
export const explainIssue: z.core.$ZodErrorMap = (issue) => {
  switch (issue.code) {
    case "invalid_type":
      return issue.input === undefined ? "is required" : `must be ${KINDS[issue.expected] ?? `a ${issue.expected}`}`;
    case "invalid_value":
      return `must be ${issue.values.length > 1 ? "one of " : ""}${issue.values.join(", ")}`;
    case "too_small":
      return ENTRIES[issue.origin]
        ? `must have ${issue.minimum} or more ${ENTRIES[issue.origin]}`
        : `must be at least ${issue.minimum}`;
    case "too_big":
      return ENTRIES[issue.origin]
        ? `must have ${issue.maximum} or fewer ${ENTRIES[issue.origin]}`
        : `must be at most ${issue.maximum}`;
    case "invalid_format":
      return `must be ${FORMATS[issue.format] ?? "in the form that is documented"}`;
    default:
      return "is not as documented";
  }
};
