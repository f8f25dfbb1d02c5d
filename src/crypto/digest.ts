/** SHA-256 of a text as 32 characters, each of which is a byte: the shortest key of a map. */
export async function digestKey(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return String.fromCharCode(...new Uint8Array(digest));
}
