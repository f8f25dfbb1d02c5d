import { readFileSync } from "node:fs";
import { join } from "node:path";
import { marked, type Token, type Tokens } from "marked";

const ROOT = join(import.meta.dirname, "../../..");

/** A page of Markdown, or a part of one, as its parser reads it. */
export interface Page {
  /** What stands below a heading, up to the next of its depth or a higher one. @throws {Error} if there is no such heading. */
  section(heading: string): Page;
  /** The text of the first fenced block in a language, without the line break at its end. @throws {Error} if there is none. */
  code(language: string): string;
  /** The text of every fenced block in a language. */
  codes(language: string): string[];
  /** The cells of every table's rows, without the header, and of the lists that stand for wide tables (scripts/narrow-markdown.ts). */
  readonly rows: readonly (readonly string[])[];
  readonly headings: readonly string[];
  /** Where the links lead. */
  readonly links: readonly string[];
  /** The texts between back-quotes. */
  readonly codeSpans: readonly string[];
}

/** What was read: links lead to the same pages over and over. */
const pages = new Map<string, Page>();

/** Reads a file below the root of the repository. */
export function readPage(file: string): Page {
  const read = pages.get(file) ?? toPage(marked.lexer(readFileSync(join(ROOT, file), "utf8")), file);
  pages.set(file, read);
  return read;
}

function toPage(tokens: readonly Token[], name: string): Page {
  const all: Token[] = [];
  marked.walkTokens([...tokens], (token) => void all.push(token));
  const ofType = <Type extends Token["type"]>(type: Type) =>
    all.filter((token): token is Extract<Token, { type: Type }> => token.type === type);
  const found = <Value>(value: Value | undefined, what: string): Value => {
    if (value === undefined) throw new Error(`${name} has no ${what}.`);
    return value;
  };
  return {
    section(heading) {
      const start = tokens.findIndex((token) => token.type === "heading" && token.text === heading);
      found(start < 0 ? undefined : start, `heading "${heading}"`);
      const { depth } = tokens[start] as Tokens.Heading;
      const length = tokens.slice(start + 1).findIndex((token) => token.type === "heading" && token.depth <= depth);
      return toPage(tokens.slice(start + 1, length < 0 ? undefined : start + 1 + length), `${name}, "${heading}",`);
    },
    code: (language) =>
      found(
        ofType("code").find(({ lang }) => lang === language),
        `block of ${language}`,
      ).text,
    codes: (language) =>
      ofType("code")
        .filter(({ lang }) => lang === language)
        .map(({ text }) => text),
    rows: all.flatMap((token) => {
      if (token.type === "table") return (token as Tokens.Table).rows.map((row) => row.map(({ text }) => text));
      return token.type === "list" ? (token as Tokens.List).items.flatMap(toRow) : [];
    }),
    headings: ofType("heading").map(({ text }) => text),
    links: ofType("link").map(({ href }) => href),
    codeSpans: ofType("codespan").map(({ text }) => unescaped(text)),
  };
}

/** The cells of an item of a list that stands for a table, as one row, or no row. */
function toRow({ tokens }: Tokens.ListItem): string[][] {
  const text = unwrapped(tokens.find((token) => token.type === "text" || token.type === "paragraph")?.raw);
  const [, first, second, rest] = /^\*\*(.+?)\*\*(?: \(([^)]*)\))?(?:: (.*))?$/.exec(text) ?? [];
  if (first === undefined) return [];
  const below = tokens.find((token) => token.type === "list") as Tokens.List | undefined;
  const cells = (below?.items ?? []).map(({ text: cell }) => unwrapped(cell).replace(/^[^:]*: /, ""));
  return [
    [first, ...[second, rest].filter((cell) => cell !== undefined), ...cells.map((cell) => (cell === "–" ? "" : cell))],
  ];
}

const unwrapped = (text = ""): string => text.trim().replaceAll(/\s*\n\s*/g, " ");

/** The parser escapes code spans for HTML. */
const unescaped = (text: string): string =>
  text.replace(/&(?:lt|gt|quot|#39|amp);/g, (entity) => ENTITIES.get(entity) ?? entity);
const ENTITIES = new Map([
  ["&lt;", "<"],
  ["&gt;", ">"],
  ["&quot;", '"'],
  ["&#39;", "'"],
  ["&amp;", "&"],
]);
