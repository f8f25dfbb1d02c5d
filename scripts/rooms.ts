import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import ts from "typescript";
import { fail, ROOT } from "./local.ts";

const SRC = join(ROOT, "src");

/**
 * The storeys of the Worker, from the top. A room imports only from rooms that stand below it in this list, types included: a
 * face may call any subject, a subject only those to its right, and the ground calls nobody.
 */
export const STOREYS = [
  { name: "entry", rooms: ["index.ts", "app.ts"] },
  { name: "jobs", rooms: ["jobs"] },
  { name: "faces: HTTP in, HTTP out", rooms: ["api", "oauth", "mcp", "gateway"] },
  { name: "who is calling, whether they may, how often", rooms: ["access"] },
  { name: "HTTP", rooms: ["http"] },
  {
    name: "subjects: decisions and stores, no HTTP",
    rooms: ["approvals", "people", "webhooks", "audit", "tokens", "agents", "grants", "outbox", "authority"],
  },
  { name: "configuration", rooms: ["config"] },
  { name: "pure: no I/O, no clock", rooms: ["policy", "permissions"] },
  { name: "ground", rooms: ["storage", "database", "validation", "log", "memory", "time", "crypto"] },
] as const;

/** Rooms that stand apart: they import nothing of the Worker but generated types. */
export const APART = ["client", "cli", "console"] as const;

/** One import of a file below src/. */
export interface Import {
  readonly from: string;
  /** A file below src/, or a package. */
  readonly to: string;
  /** Erased by the compiler. */
  readonly typeOnly: boolean;
}

/** Every TypeScript file below src/, relative to it. */
export const sourceFiles = (): string[] =>
  readdirSync(SRC, { recursive: true, encoding: "utf8" })
    .filter((name) => /\.tsx?$/.test(name))
    .map((name) => name.replaceAll("\\", "/"))
    .toSorted();

/** The room of a file: its first folder, or its own name where it stands in src/ itself. */
export const roomOf = (file: string): string => (file.includes("/") ? file.slice(0, file.indexOf("/")) : file);

/** The imports and re-exports of these sources, dynamic ones included, read from the syntax tree. */
export function importsOf(files: readonly string[]): Import[] {
  return files.flatMap((from) => {
    const text = readFileSync(join(SRC, from), "utf8");
    const source = ts.createSourceFile(from, text, ts.ScriptTarget.Latest);
    const found: Import[] = [];
    const visit = (node: ts.Node): void => {
      if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier) {
        const typeOnly = ts.isImportDeclaration(node)
          ? node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword
          : node.isTypeOnly;
        found.push({ from, to: resolve(from, (node.moduleSpecifier as ts.StringLiteral).text), typeOnly });
      } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
        const [name] = node.arguments;
        found.push({ from, to: name && ts.isStringLiteral(name) ? resolve(from, name.text) : "?", typeOnly: false });
      }
      ts.forEachChild(node, visit);
    };
    visit(source);
    return found;
  });
}

function resolve(from: string, specifier: string): string {
  if (!specifier.startsWith(".")) return specifier;
  return relative(SRC, join(SRC, from, "..", specifier)).replaceAll("\\", "/");
}

/**
 * The picture of the rooms that CONTRIBUTING.md shows, as a Mermaid flowchart. An arrow says that a room imports another one.
 * An arrow that follows from others (a → c, where a → b and b → c) is left out; one that runs upwards is always drawn, dotted.
 */
export function drawRooms(files: readonly string[], imports: readonly Import[]): string {
  const present = new Set(files.map(roomOf));
  const storeys = STOREYS.map(({ name, rooms }) => ({ name, rooms: rooms.filter((room) => present.has(room)) }));
  const order: readonly string[] = storeys.flatMap(({ rooms }) => rooms);
  const imported = new Map(order.map((room) => [room, new Set<string>()]));
  for (const { from, to } of imports) {
    if (files.includes(to) && roomOf(from) !== roomOf(to)) imported.get(roomOf(from))?.add(roomOf(to));
  }
  const isUpward = (from: string, to: string): boolean => order.indexOf(to) < order.indexOf(from);
  const below = (room: string): string[] => [...imported.get(room)!].filter((to) => !isUpward(room, to));
  const reaches = (from: string, to: string): boolean => from === to || below(from).some((next) => reaches(next, to));
  const follows = (from: string, to: string): boolean => below(from).some((next) => next !== to && reaches(next, to));

  const id = (room: string) => room.replace(/\.ts$/, "_ts");
  const boxes = storeys
    .filter(({ rooms }) => rooms.length > 0)
    .flatMap(({ name, rooms }, index) => {
      const inside = rooms.map((room) => `    ${id(room)}["${room}"]`).join("\n");
      return [`  subgraph storey${index}["${name}"]`, "    direction LR", inside, "  end"];
    });
  const arrows = order.flatMap((from) =>
    order
      .filter((to) => imported.get(from)!.has(to) && (isUpward(from, to) || !follows(from, to)))
      .map((to) => `  ${id(from)} ${isUpward(from, to) ? "-.->" : "-->"} ${id(to)}`),
  );
  return ["```mermaid", "flowchart TB", ...boxes, ...arrows, "```"].join("\n");
}

const PAGE = join(ROOT, "CONTRIBUTING.md");
const MARKED = /(<!-- rooms: drawn by `npm run rooms` -->\n\n)[\s\S]*?(\n\n<!-- \/rooms -->)/;

if (import.meta.main ?? process.argv[1] === import.meta.filename) {
  const files = sourceFiles();
  const page = readFileSync(PAGE, "utf8");
  const drawn = page.replace(
    MARKED,
    (_, begin: string, end: string) => begin + drawRooms(files, importsOf(files)) + end,
  );
  if (!MARKED.test(page)) fail(`CONTRIBUTING.md has no markers for the picture of the rooms:\n${MARKED.source}`);
  if (process.argv.includes("--check")) {
    if (drawn !== page)
      fail("The picture of the rooms in CONTRIBUTING.md is not current. Run `npm run rooms` and commit the page.");
  } else {
    writeFileSync(PAGE, drawn);
  }
}
