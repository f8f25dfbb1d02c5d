import { join } from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import { APART, importsOf, roomOf, sourceFiles, STOREYS, type Import } from "../../scripts/rooms.ts";
import { SLOW } from "../support/extents.ts";

/** The rooms and the arrows between them, read from the source by the compiler that builds it. */
const ROOT = join(import.meta.dirname, "../..");
const SRC = join(ROOT, "src");

const files = sourceFiles();
const imports = importsOf(files);
const ROOMS: readonly string[] = STOREYS.flatMap(({ rooms }) => rooms);
const SUBJECTS: readonly string[] = STOREYS.find(({ name }) => name.startsWith("subjects"))!.rooms;
const shown = ({ from, to }: Import): string => `${from} → ${to}`;
const isFile = (to: string): boolean => files.includes(to);
const isPackage = (name: string, ...packages: string[]): boolean =>
  packages.some((one) => name === one || name.startsWith(`${one}/`));

/** Every place where a method of one of these types is called. */
function callsOn(types: readonly string[]): string[] {
  const settings = ts.readConfigFile(join(ROOT, "tsconfig.json"), (path) => ts.sys.readFile(path));
  const { options } = ts.parseJsonConfigFileContent(settings.config, ts.sys, ROOT);
  // What runs in a browser or a shell has no such types, and would bring those of its own.
  const inWorker = files.filter((name) => !APART.some((room) => room === roomOf(name)));
  const roots = [...inWorker.map((name) => join(SRC, name)), join(ROOT, "worker-configuration.d.ts")];
  const program = ts.createProgram(roots, options);
  const checker = program.getTypeChecker();
  return inWorker.flatMap((name) => {
    const found: string[] = [];
    const visit = (node: ts.Node): void => {
      if (ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression)) {
        const type = checker.getTypeAtLocation(node.expression.expression);
        const named = type.aliasSymbol?.name ?? type.getSymbol()?.name ?? "";
        if (types.includes(named)) found.push(`${name}: ${named}.${node.expression.name.text}`);
      }
      ts.forEachChild(node, visit);
    };
    visit(program.getSourceFile(join(SRC, name))!);
    return found;
  });
}

describe("the rooms", () => {
  it("are all read, and all have a place in a storey", () => {
    expect(files.length).toBeGreaterThan(60);
    expect(imports.filter(({ to }) => /^\.|\?/.test(to))).toEqual([]);
    expect(imports.filter(({ to }) => to.endsWith(".ts") && !isFile(to)).map(shown)).toEqual([]);
    const homeless = files.map(roomOf).filter((room) => !ROOMS.includes(room) && !APART.some((one) => one === room));
    expect([...new Set(homeless)]).toEqual([]);
  });

  it("import downwards only, types included", () => {
    const upward = imports.filter(({ from, to }) => {
      if (!isFile(to) || roomOf(from) === roomOf(to) || APART.some((room) => room === roomOf(from))) return false;
      return ROOMS.indexOf(roomOf(from)) > ROOMS.indexOf(roomOf(to));
    });
    expect(upward.map(shown)).toEqual([]);
  });

  it("have no cycle of imports, types included", () => {
    expect(cycles(imports.filter(({ to }) => isFile(to)))).toEqual([]);
  });

  it("know HTTP in the faces only: no subject and no pure room imports hono or http/", () => {
    const quiet = new Set([...SUBJECTS, "policy", "permissions", "config"]);
    const knowing = imports.filter(
      ({ from, to }) => quiet.has(roomOf(from)) && (isPackage(to, "hono") || roomOf(to) === "http"),
    );
    expect(knowing.map(shown)).toEqual([]);
    const hono = imports.filter(({ to }) => isPackage(to, "hono"));
    const allowed = new Set(["app.ts", "api", "oauth", "mcp", "gateway", "http", "client"]);
    expect(hono.length).toBeGreaterThan(0);
    expect(hono.filter(({ from }) => !allowed.has(roomOf(from))).map(shown)).toEqual([]);
  });

  it("keep SQL, KV and R2 in the subjects' stores", SLOW, () => {
    const calls = callsOn(["D1Database", "KVNamespace"]);
    const sql = calls.filter((call) => /: D1Database\.(prepare|exec|dump|withSession)$/.test(call));
    const kv = calls.filter((call) => call.includes(": KVNamespace."));
    expect(sql.length).toBeGreaterThan(0);
    expect(kv.length).toBeGreaterThan(0);
    // `database/` is the tagged template that binds named values: it knows no table.
    const outside = [...sql, ...kv].filter(
      (call) => !/^(?:\w+\/(?:\w+\/)*store(?:\.ts|\/[\w-]+\.ts)|database\/[\w-]+\.ts):/.test(call),
    );
    expect(outside).toEqual([]);
  });

  it("write SQL in stores, and in the files that hold a row's columns", () => {
    const using = imports.filter(({ from, to }) => roomOf(to) === "database" && roomOf(from) !== "database");
    expect(using.length).toBeGreaterThan(5);
    const outside = using.filter(({ from }) => !/\/store(?:\.ts$|\/)|-row\.ts$/.test(from));
    expect(outside.map(shown)).toEqual([]);
  });

  it("do not reach into another room's store", () => {
    const reaching = imports.filter(
      ({ from, to }) => /\/store(?:\.ts$|\/)/.test(to) && isFile(to) && roomOf(from) !== roomOf(to),
    );
    expect(reaching.map(shown)).toEqual([]);
  });

  it("keep each library of tokens in its rooms", () => {
    const rooms = (name: string, ...allowed: string[]) =>
      imports.filter(({ from, to }) => isPackage(to, name) && !allowed.includes(roomOf(from))).map(shown);
    expect(rooms("jose", "tokens", "oauth", "access", "gateway", "client")).toEqual([]);
    expect(rooms("oauth4webapi", "people", "gateway")).toEqual([]);
    const jose = imports.filter(({ from, to }) => isPackage(to, "jose") && roomOf(from) === "gateway");
    expect(jose.filter(({ from }) => !from.startsWith("gateway/credentials/")).map(shown)).toEqual([]);
  });

  it("meet in app.ts: only index.ts imports it", () => {
    expect(imports.filter(({ to }) => to === "app.ts").map(({ from }) => from)).toEqual(["index.ts"]);
    expect(imports.filter(({ to }) => to === "index.ts")).toEqual([]);
  });

  it("lend the SDK, the command and the console nothing but types", () => {
    // The command is written on the SDK, which is a library of its own.
    const isOnSdk = ({ from, to }: Import): boolean => roomOf(from) === "cli" && roomOf(to) === "client";
    const borrowed = imports.filter(
      (one) =>
        APART.some((room) => room === roomOf(one.from)) &&
        isFile(one.to) &&
        roomOf(one.to) !== roomOf(one.from) &&
        !isOnSdk(one),
    );
    expect(borrowed.filter(({ typeOnly }) => !typeOnly).map(shown)).toEqual([]);
    // The console takes the types that are generated from the API's description.
    const isGenerated = ({ from, to, typeOnly }: Import) =>
      typeOnly && to === "client/wire.ts" && roomOf(from) === "console";
    for (const room of APART) {
      const lent = imports.filter(
        (one) => roomOf(one.to) === room && roomOf(one.from) !== room && !isOnSdk(one) && !isGenerated(one),
      );
      expect(lent.map(shown)).toEqual([]);
    }
  });

  it("have no drawers and no barrels", () => {
    expect(files.filter((name) => /(^|\/)(utils?|helpers?|common|shared|misc|types)(\.ts|\/)/.test(name))).toEqual([]);
    const barrels = files.filter((name) => {
      const source = ts.createSourceFile(name, ts.sys.readFile(join(SRC, name))!, ts.ScriptTarget.Latest);
      return source.statements.length > 1 && source.statements.every(ts.isExportDeclaration);
    });
    expect(barrels.filter((name) => roomOf(name) !== "client")).toEqual([]);
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
  const inCycle = [...reach].filter(([file, seen]) => seen.has(file)).map(([file]) => file);
  const sets = inCycle.map((file) =>
    inCycle.filter((other) => reach.get(file)!.has(other) && reach.get(other)!.has(file)),
  );
  return [...new Map(sets.map((set) => [set.join(), set])).values()];
}
