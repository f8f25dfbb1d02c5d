/** A name that is this many edits away is not a typing error. */
const MAX_DISTANCE = 3;

/** The beginning of a name says which one is meant if it has at least so many characters. */
const MIN_PREFIX_LENGTH = 4;

/**
 * Returns the name that a misspelt one most probably stands for, or undefined if none of them is similar: one with a typing error,
 * and otherwise one of which the text is the beginning (`overlap` for `overlap_seconds`) or that is its beginning.
 */
export function nearestName(text: string, names: Iterable<string>): string | undefined {
  const limit = Math.min(MAX_DISTANCE, Math.floor(text.length / 2));
  const written = text.toLowerCase();
  let nearest: { name: string; distance: number } | undefined;
  let begun: string | undefined;
  for (const name of names) {
    const candidate = name.toLowerCase();
    const distance = editDistance(written, candidate);
    if (distance <= limit && distance < (nearest?.distance ?? Infinity)) nearest = { name, distance };
    begun ??= isBeginning(written, candidate) || isBeginning(candidate, written) ? name : undefined;
  }
  return nearest?.name ?? begun;
}

const isBeginning = (part: string, whole: string): boolean =>
  part.length >= MIN_PREFIX_LENGTH && whole.startsWith(part);

/** The Levenshtein distance: how many characters have to be inserted, deleted or replaced. */
function editDistance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let i = 1; i <= one.length; i++) {
    const next = [i];
    for (let j = 1; j <= other.length; j++) {
      const replaced = row[j - 1]! + (one[i - 1] === other[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[other.length]!;
}
