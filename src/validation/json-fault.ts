/** V8's messages for a text that ends too early; most others name the position at which they stopped. */
const INCOMPLETE = /end of JSON input|Bad Unicode escape/;
const POSITION = /at position (\d+)/;

/**
 * Returns why a text is not valid JSON, as the end of a sentence that begins with the name of a setting. Unlike the message of
 * `JSON.parse`, it quotes nothing of the text, which may be a secret.
 *
 * @returns for example `is not valid JSON (at character 9)`, counted from 1, or undefined if the text is valid.
 */
export function jsonFault(text: string): string | undefined {
  if (isValidSoFar(text, true)) return undefined;
  if (isValidSoFar(text, false)) return "is not valid JSON (it ends too early)";
  // The longest prefix that could still become valid JSON ends before the faulty character.
  let valid = 0;
  let invalid = text.length;
  while (invalid - valid > 1) {
    const middle = Math.floor((valid + invalid) / 2);
    if (isValidSoFar(text.slice(0, middle), false)) valid = middle;
    else invalid = middle;
  }
  return `is not valid JSON (at character ${invalid})`;
}

/** Whether a text is JSON or, unless it has to be `whole`, could become JSON with more characters after it. */
function isValidSoFar(text: string, whole: boolean): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch (error) {
    const { message } = error as Error;
    return !whole && (INCOMPLETE.test(message) || Number(POSITION.exec(message)?.[1]) === text.length);
  }
}
