const encoder = new TextEncoder();

/** SHA-256 of a text in UTF-8. */
export const sha256 = async (text: string): Promise<Uint8Array> =>
  new Uint8Array(await crypto.subtle.digest("SHA-256", encoder.encode(text)));

/** SHA-256 of a text as 32 characters, each of which is a byte: the shortest key of a map. */
export const digestKey = async (text: string): Promise<string> => String.fromCharCode(...(await sha256(text)));
