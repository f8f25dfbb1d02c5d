import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";

/** The rooms and the arrows between them, read from the source by the compiler that builds it. */
const ROOT = join(import.meta.dirname, "../..");
const SRC = join(ROOT, "src");

interface Import {
  readonly from: string;
  /** A file below src/, or a package. */
  readonly to: string;
  /** Gone once compiled. */
  readonly typeOnly: boolean;
}

const files = readdirSync(SRC, { recursive: true, encoding: "utf8" })
  .filter((name) => /\.tsx?$/.test(name))
  .map((name) => name.replaceAll("\\", "/"))
  .toSorted();

const settings = ts.readConfigFile(join(ROOT, "tsconfig.json"), (path) => ts.sys.readFile(path));
const { options } = ts.parseJsonConfigFileContent(settings.config, ts.sys, ROOT);
const program = ts.createProgram(
  [...files.map((name) => join(SRC, name)), join(ROOT, "worker-configuration.d.ts")],
  options,
);
const checker = program.getTypeChecker();
const sources = files.map((name) => ({ name, source: program.getSourceFile(join(SRC, name))! }));
const imports = sources.flatMap(({ name, source }) => importsOf(name, source));

function importsOf(from: string, source: ts.SourceFile): Import[] {
  const found: Import[] = [];
  const visit = (node: ts.Node): void => {
    if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier) {
      const typeOnly = ts.isImportDeclaration(node)
        ? node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword
        : node.isTypeOnly;
      found.push({ from, to: target(from, (node.moduleSpecifier as ts.StringLiteral).text), typeOnly });
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [name] = node.arguments;
      found.push({ from, to: name && ts.isStringLiteral(name) ? target(from, name.text) : "?", typeOnly: false });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function target(from: string, specifier: string): string {
  if (!specifier.startsWith(".")) return specifier;
  return relative(SRC, join(SRC, from, "..", specifier)).replaceAll("\\", "/");
}

const room = (file: string): string => (file.includes("/") ? file.slice(0, file.indexOf("/")) : "");
const isFile = (to: string): boolean => files.includes(to);
const shown = ({ from, to }: Import): string => `${from} → ${to}`;

/** Every place where a method of one of these types is called. */
function callsOn(types: readonly string[]): string[] {
  return sources.flatMap(({ name, source }) => {
    const found: string[] = [];
    const visit = (node: ts.Node): void => {
      if (ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression)) {
        const type = checker.getTypeAtLocation(node.expression.expression);
        const named = type.aliasSymbol?.name ?? type.getSymbol()?.name ?? "";
        if (types.includes(named)) found.push(`${name}: ${named}.${node.expression.name.text}`);
      }
      ts.forEachChild(node, visit);
    };
    visit(source);
    return found;
  });
}

describe("the rooms", () => {
  it("are read whole", () => {
    expect(files.length).toBeGreaterThan(40);
    expect(imports.filter(({ to }) => /^\.|\?/.test(to))).toEqual([]);
    expect(imports.filter(({ to }) => to.endsWith(".ts") && !isFile(to)).map(shown)).toEqual([]);
  });

  it("keep SQL and KV in store.ts", () => {
    const statements = callsOn(["D1Database"]).filter((call) => /\.(prepare|exec|dump|withSession)$/.test(call));
    const kv = callsOn(["KVNamespace"]);
    expect(statements.length).toBeGreaterThan(5);
    expect(kv.length).toBeGreaterThan(0);
    expect([...statements, ...kv].filter((call) => !/(^|\/)store\.ts:/.test(call))).toEqual([]);
  });

  it("do not reach into another room's store", () => {
    const reaching = imports.filter(({ from, to }) => to.endsWith("/store.ts") && room(from) !== room(to));
    expect(reaching.map(shown)).toEqual([]);
  });

  it("keep jose in tokens/ (and in the verifier that the SDK offers)", () => {
    const jose = imports.filter(({ to }) => to === "jose" || to.startsWith("jose/"));
    expect(jose.length).toBeGreaterThan(0);
    expect(jose.filter(({ from }) => !/^tokens\/|^client\/(?:verify|key-set)/.test(from)).map(shown)).toEqual([]);
  });

  it("keep hono in app.ts and http/ (and in the SDK's middleware for it)", () => {
    const hono = imports.filter(({ to }) => to === "hono" || to.startsWith("hono/"));
    expect(hono.length).toBeGreaterThan(0);
    expect(hono.filter(({ from }) => !/^app\.ts$|^http\/|^client\/hono/.test(from)).map(shown)).toEqual([]);
  });

  it("meet in app.ts only: nothing imports it but index.ts, and index.ts nothing imports", () => {
    expect(imports.filter(({ to }) => to === "app.ts").map(({ from }) => from)).toEqual(["index.ts"]);
    expect(imports.filter(({ to }) => to === "index.ts")).toEqual([]);
    const routes = imports.filter(({ to }) => /(^|\/)routes\.ts$/.test(to));
    expect(routes.filter(({ from }) => from !== "app.ts").map(shown)).toEqual([]);
  });

  it("leave HTTP to routes.ts, the gateway's front and http/", () => {
    const inward = imports.filter(({ from, to }) => to.startsWith("http/") && room(from) !== "http");
    const allowed = /^app\.ts$|\/routes\.ts$|^gateway\/(proxy|explain)\.ts$/;
    // Types cost nothing, and errors are what a decision may throw.
    const lent = ({ to, typeOnly }: Import) => typeOnly || to === "http/errors.ts";
    expect(inward.filter((one) => !lent(one) && !allowed.test(one.from)).map(shown)).toEqual([]);
  });

  it("keep the pure rooms pure", () => {
    const outward = imports.filter(
      ({ from, to, typeOnly }) =>
        ["permissions", "crypto"].includes(room(from)) &&
        !/\/(?:routes|answers)\.ts$/.test(from) &&
        !typeOnly &&
        room(to) !== room(from),
    );
    expect(outward.map(shown)).toEqual([]);
  });

  it("have no cycle of imports", () => {
    expect(cycles(imports.filter(({ to, typeOnly }) => isFile(to) && !typeOnly))).toEqual([]);
  });

  it("lend the SDK types and nothing else", () => {
    const borrowed = imports.filter(({ from, to }) => room(from) === "client" && isFile(to) && room(to) !== "client");
    expect(borrowed.filter(({ typeOnly }) => !typeOnly).map(shown)).toEqual([]);
    const lent = imports.filter(({ from, to }) => room(to) === "client" && room(from) !== "client");
    expect(lent.map(shown)).toEqual([]);
  });

  it("have no drawers, no barrels and no long files", () => {
    expect(files.filter((name) => /(^|\/)(utils?|helpers?|common|shared|misc|types)(\.ts|\/)/.test(name))).toEqual([]);
    const barrels = sources.filter(
      ({ source }) => source.statements.length > 1 && source.statements.every(ts.isExportDeclaration),
    );
    expect(barrels.map(({ name }) => name).filter((name) => room(name) !== "client")).toEqual([]);
    // The SDK's client is one class with a documented method for each endpoint, and its types are generated.
    const short = files.filter((name) => name !== "client/client.ts" && name !== "client/wire.ts");
    const long = short.filter((name) => readFileSync(join(SRC, name), "utf8").split("\n").length > 300);
    expect(long).toEqual([]);
  });

  it("have no classes but errors and the SDK's client", () => {
    const classes = sources.flatMap(({ name, source }) =>
      source.statements
        .filter(ts.isClassDeclaration)
        .filter((one) => !one.heritageClauses?.some(({ types }) => types[0]?.expression.getText().endsWith("Error")))
        .map((one) => `${name}: ${one.name?.text}`),
    );
    expect(classes.filter((one) => !one.startsWith("client/"))).toEqual([]);
  });
});

/** Each strongly connected set of more than one file. */
function cycles(arrows: readonly Import[]): string[][] {
  const next = new Map<string, string[]>();
  for (const { from, to } of arrows) {
    const known = next.get(from);
    if (known) known.push(to);
    else next.set(from, [to]);
  }
  const reachable = (start: string): Set<string> => {
    const seen = new Set<string>();
    const queue = [start];
    for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
      for (const to of next.get(file) ?? []) if (!seen.has(to)) queue.push((seen.add(to), to));
    }
    return seen;
  };
  const reach = new Map([...next.keys()].map((file) => [file, reachable(file)]));
  return [...reach].filter(([file, seen]) => seen.has(file)).map(([, seen]) => Array.from(seen));
}
