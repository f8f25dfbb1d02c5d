/** A name that is this many edits away is not a typing error. */
const MAX_DISTANCE = 3;

/** Returns the name that a misspelt one most probably stands for, or undefined if none of them is similar. */
export function nearestName(text: string, names: Iterable<string>): string | undefined {
  const limit = Math.min(MAX_DISTANCE, Math.floor(text.length / 2));
  let nearest: { name: string; distance: number } | undefined;
  for (const name of names) {
    const distance = editDistance(text.toLowerCase(), name.toLowerCase());
    if (distance <= limit && distance < (nearest?.distance ?? Infinity)) nearest = { name, distance };
  }
  return nearest?.name;
}

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
