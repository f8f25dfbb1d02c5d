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
  { name: "ground", rooms: ["database", "validation", "log", "crypto"] },
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

/** The picture of the rooms that CONTRIBUTING.md shows: a Mermaid flowchart with one arrow for each pair of rooms. */
export function drawRooms(files: readonly string[], imports: readonly Import[]): string {
  const present = new Set(files.map(roomOf));
  const id = (room: string) => room.replace(/\.ts$/, "_ts");
  const boxes = STOREYS.flatMap(({ name, rooms }, index) => {
    const shown = rooms.filter((room) => present.has(room));
    if (shown.length === 0) return [];
    const inside = shown.map((room) => `    ${id(room)}["${room}"]`).join("\n");
    return [`  subgraph storey${index}["${name}"]`, "    direction LR", inside, "  end"];
  });
  const pairs = new Set(
    imports
      .filter(({ to }) => files.includes(to))
      .map(({ from, to }) => [roomOf(from), roomOf(to)] as const)
      .filter(([from, to]) => from !== to && !APART.some((room) => room === from))
      .map(([from, to]) => `  ${id(from)} --> ${id(to)}`),
  );
  return ["```mermaid", "flowchart TB", ...boxes, ...[...pairs].toSorted(), "```"].join("\n");
}

const PAGE = join(ROOT, "CONTRIBUTING.md");
const MARKED = /(<!-- rooms: drawn by `npm run rooms` -->\n)[\s\S]*?(\n<!-- \/rooms -->)/;

if (import.meta.main ?? process.argv[1] === import.meta.filename) {
  const files = sourceFiles();
  const page = readFileSync(PAGE, "utf8");
  const drawn = page.replace(
    MARKED,
    (_, begin: string, end: string) => begin + drawRooms(files, importsOf(files)) + end,
  );
  if (!MARKED.test(page)) fail("CONTRIBUTING.md has no place for the picture of the rooms.");
  if (process.argv.includes("--check")) {
    if (drawn !== page)
      fail("The picture of the rooms in CONTRIBUTING.md is not today's. Draw it with `npm run rooms`.");
  } else {
    writeFileSync(PAGE, drawn);
  }
}
