import { fromBase64 } from "../crypto/base64.ts";
import { decodeUtf8 } from "../validation/utf8.ts";

/** Returns the user and the password of HTTP Basic (RFC 7617 §2), or undefined if the text is not base64 of UTF-8 or has no colon. */
export function decodeBasic(text: string): readonly [user: string, password: string] | undefined {
  let pair: string | undefined;
  try {
    pair = decodeUtf8(fromBase64(text));
  } catch {
    return undefined;
  }
  const colon = pair?.indexOf(":") ?? -1;
  return pair === undefined || colon === -1 ? undefined : [pair.slice(0, colon), pair.slice(colon + 1)];
}
