import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";

const ROOT = join(import.meta.dirname, "../../..");

/** Every node of these folders' and files' TypeScript, with those inside of it. */
export function nodesOf(...paths: readonly string[]): ts.Node[] {
  const files = paths.flatMap((path) =>
    path.endsWith(".ts")
      ? [path]
      : readdirSync(join(ROOT, path), { recursive: true, encoding: "utf8" })
          .filter((name) => name.endsWith(".ts"))
          .map((name) => `${path}/${name}`),
  );
  const found: ts.Node[] = [];
  const visit = (node: ts.Node): void => {
    found.push(node);
    ts.forEachChild(node, visit);
  };
  for (const file of files) {
    visit(ts.createSourceFile(file, readFileSync(join(ROOT, file), "utf8"), ts.ScriptTarget.Latest, true));
  }
  return found;
}

/** The names of an object literal's properties, that is the outermost one in what a variable is initialised with. */
export function keysOfObject(nodes: readonly ts.Node[], variable: string): string[] {
  const isDeclared = (node: ts.Node): node is ts.VariableDeclaration =>
    ts.isVariableDeclaration(node) && node.name.getText() === variable;
  const object = outermostObject(nodes.find(isDeclared)?.initializer);
  if (!object) throw new Error(`${variable} is not made of an object`);
  return object.properties.flatMap(({ name }) => (name ? [name.getText()] : []));
}

const outermostObject = (node: ts.Node | undefined): ts.ObjectLiteralExpression | undefined =>
  node && (ts.isObjectLiteralExpression(node) ? node : ts.forEachChild(node, outermostObject));

/** The string literals of the union types that are declared under a name which ends like this. */
export const membersOfUnions = (nodes: readonly ts.Node[], ending: RegExp): string[] =>
  nodes.flatMap((node) =>
    ts.isTypeAliasDeclaration(node) && ending.test(node.name.text) && ts.isUnionTypeNode(node.type)
      ? node.type.types.flatMap((one) =>
          ts.isLiteralTypeNode(one) && ts.isStringLiteral(one.literal) ? [one.literal.text] : [],
        )
      : [],
  );
