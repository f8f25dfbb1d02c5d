/**
 * How a body is encoded:
 *
 * - `none`: it is not encoded, whatever the header says.
 * - `decoded`: the runtime decodes an answer that is encoded so when it is read, and encodes it again for the agent.
 * - `gzip`: it is gzip, in a spelling that the runtime does not know.
 * - `unreadable`: in any other way, so that nothing would be found in it.
 */
export type ContentCoding = "none" | "decoded" | "gzip" | "unreadable";

/**
 * Words that name no coding and that servers write in its place: charsets, and the transfer encodings of MIME. No client decodes them.
 * Other unknown words may be codings that some client knows (`snappy`).
 */
const NO_CODING =
  /^(?:identity|none|utf-?(?:8|16)|(?:us-)?ascii|latin-?1|iso-8859-\d{1,2}|windows-125\d|binary|[78]bit)?$/;

/**
 * Reads a `Content-Encoding`. Codings are compared without regard to case, and `x-gzip` is `gzip` (RFC 9110 §8.4.1).
 *
 * @param value the header, null if there is none.
 */
export function contentCoding(value: string | null): ContentCoding {
  if (value === null) return "none";
  // The runtime knows these two, in exactly this spelling.
  if (value === "gzip" || value === "br") return "decoded";
  const codings = value
    .split(",")
    .map((coding) => coding.trim().toLowerCase())
    .filter((coding) => !NO_CODING.test(coding));
  if (codings.length === 0) return "none";
  return codings.length === 1 && /^(?:x-)?gzip$/.test(codings[0]!) ? "gzip" : "unreadable";
}
