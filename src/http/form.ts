import { decodeFormText } from "../policy/parameter-name.ts";

/** The parameters of a form (RFC 6749 Appendix B). */
export interface Form {
  /** The value of a parameter; undefined if it is absent or empty, which is the same (RFC 6749 §3.2). */
  get(name: string): string | undefined;
  /** The values of a parameter that may be repeated. */
  all(name: string): readonly string[];
}

/** `resource` may be repeated (RFC 8707 §2), and no other parameter. */
const REPEATABLE = new Set(["resource"]);

const MEDIA_TYPE = /^application\/x-www-form-urlencoded\s*(?:;\s*charset\s*=\s*"?utf-?8"?\s*)?$/i;

/**
 * Parses the body of a request to an OAuth endpoint. Parameters that nobody knows are ignored (RFC 6749 §3.2).
 *
 * @returns what is wrong, as a sentence, for another media type or charset, an encoding that is not UTF-8, and a parameter that is given
 *   twice.
 */
export function parseForm(text: string, contentType: string | null): { form: Form } | { fault: string } {
  if (!MEDIA_TYPE.test(contentType ?? "")) {
    return { fault: "Send the parameters as application/x-www-form-urlencoded in UTF-8." };
  }
  const values = new Map<string, string[]>();
  for (const pair of text.split("&")) {
    if (pair === "") continue;
    const at = pair.indexOf("=");
    const name = decodeFormText(at === -1 ? pair : pair.slice(0, at));
    const value = decodeFormText(at === -1 ? "" : pair.slice(at + 1));
    if (name === undefined || value === undefined) return { fault: "The form is not percent-encoded UTF-8." };
    const given = values.get(name) ?? [];
    if (given.length > 0 && !REPEATABLE.has(name)) {
      return { fault: `${name.slice(0, 40)} is given more than once.` };
    }
    values.set(name, [...given, value]);
  }
  const all = (name: string) => (values.get(name) ?? []).filter((value) => value !== "");
  return { form: { all, get: (name) => all(name)[0] } };
}
