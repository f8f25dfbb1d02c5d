import { decodeUtf8 } from "../validation/utf8.ts";
import { decodeFormText, decodeName } from "./parameter-name.ts";

/** The names and values of an `application/x-www-form-urlencoded` body, decoded; undefined for a name without a `=`. */
export type FormFields = readonly (readonly [name: string, value: string | undefined])[];

/**
 * Parses a form. Only `&` separates. Characters that should have been encoded, but can be read in one way only, are accepted.
 *
 * @returns the fields, with every name that some parser could read, including parsers that also separate at `;`; or the fault, as a
 *   clause that begins with "it" or "a name".
 */
export function parseForm(body: ArrayBuffer): { fields: FormFields; names: readonly string[] } | string {
  const text = decodeUtf8(body);
  if (text === undefined) return "it is not UTF-8";
  if (/[\u0000-\u001f\u007f]/.test(text)) return "it contains a line break or a control character that is not encoded";
  const fields: [string, string | undefined][] = [];
  for (const pair of text.split("&")) {
    if (pair === "") continue;
    const end = pair.indexOf("=");
    const name = decodeName(end === -1 ? pair : pair.slice(0, end));
    if (name === undefined) return "a name is not plainly percent-encoded";
    const value = end === -1 ? undefined : decodeFormText(pair.slice(end + 1));
    if (end !== -1 && value === undefined) return `the value of ${name.slice(0, 40)} is not percent-encoded UTF-8`;
    fields.push([name, value]);
  }
  const splitNames = text.split(/[&;]/).map((pair) => decodeName(pair.split("=", 1)[0]!) ?? "");
  return { fields, names: [...fields.map(([name]) => name), ...splitNames] };
}

/** Serializes fields. Everything but the separators is encoded, so that a `;` in a value separates nothing. */
export const formatForm = (fields: FormFields): string =>
  fields.map(([name, value]) => (value === undefined ? encode(name) : `${encode(name)}=${encode(value)}`)).join("&");

const encode = (text: string): string => encodeURIComponent(text).replaceAll("%20", "+");
