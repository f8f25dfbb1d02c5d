/** Characters, as between the brackets of a regular expression, and how often they stand one behind the other. */
type Run = readonly [characters: string, least: number, most: number];

/** The forms that a text may have: it consists of the runs of one of them. */
export type Forms = readonly (readonly Run[])[];

const one = (characters: string): Run => [characters, 1, 1];
const exactly = (count: number, characters: string): Run => [characters, count, count];
const DIGIT = "0-9";
const HEX = "0-9A-Fa-f";
const ALPHANUMERIC = "0-9A-Za-z";
const WORD = "\\w-";

/** The types of path parameters. A parameter without a type matches any one segment without a `%2F`. */
export const TYPES: Readonly<Record<string, Forms>> = {
  int: [[[DIGIT, 1, Infinity]]],
  /** Letters, digits, `_` and `-`. */
  word: [[[WORD, 1, Infinity]]],
  /** The same with dots: `gemini-2.5-pro`. */
  name: [[[`.${WORD}`, 1, Infinity]]],
  uuid: [[exactly(8, HEX), ...[4, 4, 4, 12].flatMap((count) => [one("-"), exactly(count, HEX)])]],
  /** An API version as a number: `v61.0`. */
  version: [[one("v"), [DIGIT, 1, 3], one("."), one(DIGIT)]],
  /** An API version as a month: `2026-03`, `2026-03-beta`. */
  month: ["", "-beta"].map((end) => [exactly(4, DIGIT), one("-"), exactly(2, DIGIT)].concat(literal(end))),
  /**
   * A record's id of Salesforce, of 15 characters, or of 18 with their checksum. It begins with the key prefix of its object, which has
   * a digit among its first two characters. So no name of a resource (`approvalLayouts` has 15 letters) is taken for an id.
   */
  record: [12, 15].flatMap((count) => [
    [one(DIGIT), exactly(count + 2, ALPHANUMERIC)],
    [one("a-z"), one(DIGIT), exactly(count + 1, ALPHANUMERIC)],
  ]),
  /** The name of a custom field. */
  custom: [[one("A-Za-z"), ["\\w", 0, 56], exactly(2, "_"), one("Cc")]],
};

/** Any one segment without a `%2F`. */
export const ANY: Forms = [[["^/", 1, Infinity]]];
/** Any text, a `%2F` included. */
export const TEXT: Forms = [[["\\s\\S", 1, Infinity]]];

/** Returns the form that only this text has. */
export function literal(text: string): readonly Run[] {
  return [...text].map((character) => one(character.replace(/[\\\]^-]/, "\\$&")));
}

/** Returns the regular expression that exactly the texts of these forms match. */
export const patternOf = (forms: Forms): RegExp =>
  new RegExp(`^(?:${forms.map((runs) => runs.map(runPattern).join("")).join("|")})$`);

const runPattern = ([characters, least, most]: Run): string =>
  `[${characters}]{${least},${most === Infinity ? "" : most}}`;

/** Returns whether some text has one of these forms and one of the others. Exact: decided on the product of their automata. */
export const formsMeet = (some: Forms, others: Forms): boolean =>
  some.some((runs) => others.some((other) => sequencesMeet(unitsOf(runs), unitsOf(other))));

/** One step of an automaton: a character, which may be left out, or may be repeated. */
interface Unit {
  readonly characters: string;
  readonly optional: boolean;
  readonly repeated: boolean;
}

function unitsOf(runs: readonly Run[]): Unit[] {
  return runs.flatMap(([characters, least, most]) => {
    const needed = Array.from({ length: least }, () => ({ characters, optional: false, repeated: false }));
    const isOpen = most === Infinity;
    const more = { characters, optional: true, repeated: isOpen };
    return [...needed, ...Array.from({ length: isOpen ? 1 : most - least }, () => more)];
  });
}

function sequencesMeet(some: readonly Unit[], others: readonly Unit[]): boolean {
  const seen = new Set<number>();
  const open: [number, number][] = [[0, 0]];
  for (let state = open.pop(); state; state = open.pop()) {
    const [i, j] = state;
    const id = i * (others.length + 1) + j;
    if (seen.has(id)) continue;
    seen.add(id);
    const unit = some[i];
    const other = others[j];
    if (!unit && !other) return true;
    if (unit?.optional) open.push([i + 1, j]);
    if (other?.optional) open.push([i, j + 1]);
    if (unit && other && classesMeet(unit.characters, other.characters)) {
      open.push([unit.repeated ? i : i + 1, other.repeated ? j : j + 1]);
    }
  }
  return false;
}

/** Every ASCII character, and one for all others: no class tells these apart. */
const ALPHABET = [...Array.from({ length: 128 }, (_, code) => String.fromCharCode(code)), "\u00e9"];
const classes = new Map<string, boolean>();

function classesMeet(some: string, other: string): boolean {
  const key = `${some} ${other}`;
  let meets = classes.get(key);
  if (meets === undefined) {
    const [a, b] = [new RegExp(`[${some}]`), new RegExp(`[${other}]`)];
    classes.set(key, (meets = ALPHABET.some((character) => a.test(character) && b.test(character))));
  }
  return meets;
}
