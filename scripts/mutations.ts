import ts from "typescript";

/** One small change of a source file that a test should notice. */
export interface Mutation {
  /** Offsets in the text of the file. */
  readonly start: number;
  readonly end: number;
  readonly replacement: string;
  /** One-based. */
  readonly line: number;
  /** What was changed, on one line. */
  readonly description: string;
  /** Whether it is another number, or another text without spaces. */
  readonly isLiteral: boolean;
}

const SWAPPED_OPERATORS: Partial<Record<ts.SyntaxKind, string>> = {
  [ts.SyntaxKind.AmpersandAmpersandToken]: "||",
  [ts.SyntaxKind.BarBarToken]: "&&",
  [ts.SyntaxKind.LessThanToken]: "<=",
  [ts.SyntaxKind.LessThanEqualsToken]: "<",
  [ts.SyntaxKind.GreaterThanToken]: ">=",
  [ts.SyntaxKind.GreaterThanEqualsToken]: ">",
  [ts.SyntaxKind.EqualsEqualsEqualsToken]: "!==",
  [ts.SyntaxKind.ExclamationEqualsEqualsToken]: "===",
  [ts.SyntaxKind.PlusToken]: "-",
  [ts.SyntaxKind.MinusToken]: "+",
};
const EQUALITIES: ReadonlySet<ts.SyntaxKind> = new Set([
  ts.SyntaxKind.EqualsEqualsEqualsToken,
  ts.SyntaxKind.ExclamationEqualsEqualsToken,
]);
const SWAPPED_CALLS = new Map([
  ["some", "every"],
  ["every", "some"],
  ["max", "min"],
  ["min", "max"],
]);

/** Comparisons and conditions of SQL, and what stands in their place. */
const SQL_CHANGES: readonly (readonly [pattern: RegExp, replacement: string])[] = [
  [/<=/g, "<"],
  [/>=/g, ">"],
  [/(?<![<>])<(?![=>])/g, "<="],
  [/(?<![<>=])>(?!=)/g, ">="],
  [/<>/g, "="],
  [/\bNOT EXISTS\b/g, "EXISTS"],
  [/(?<!NOT )\bEXISTS\b/g, "NOT EXISTS"],
  [/\bIS NULL\b/g, "IS NOT NULL"],
  [/\bIS NOT NULL\b/g, "IS NULL"],
  [/\bAND\b/g, "OR"],
  [/\bOR\b(?! (?:IGNORE|REPLACE))/g, "AND"],
];
const SQL = /\b(?:SELECT|UPDATE|INSERT|DELETE|WHERE|EXISTS|NULL)\b/;

/**
 * Every mutation of a TypeScript source: conditions negated, logical and comparison operators swapped, `some` and `every`
 * swapped, constants changed, statements and early returns removed, and the comparisons of SQL in strings changed. Types,
 * imports, and text that people read stay as they are.
 */
export function mutationsOf(name: string, text: string): Mutation[] {
  const source = ts.createSourceFile(name, text, ts.ScriptTarget.Latest, true);
  const found: Mutation[] = [];
  const add = (start: number, end: number, replacement: string, isLiteral = false): void => {
    const shown = (part: string) => part.replace(/\s+/g, " ").trim().slice(0, 80);
    const line = source.getLineAndCharacterOfPosition(start).line + 1;
    const description = `${shown(text.slice(start, end))} → ${shown(replacement) || "(removed)"}`;
    found.push({ start, end, replacement, line, description, isLiteral });
  };
  const replace = (node: ts.Node, replacement: string, isLiteral = false): void =>
    add(node.getStart(source), node.end, replacement, isLiteral);
  /** A condition whose own operator is changed into its opposite already needs no second mutation that negates it. */
  const negate = (condition: ts.Expression): void => {
    const isOpposed = ts.isBinaryExpression(condition)
      ? EQUALITIES.has(condition.operatorToken.kind)
      : ts.isPrefixUnaryExpression(condition) && condition.operator === ts.SyntaxKind.ExclamationToken;
    if (!isOpposed) replace(condition, `!(${condition.getText(source)})`);
  };
  const isText = (node: ts.Node): boolean => ts.isStringLiteralLike(node) || ts.isTemplateExpression(node);

  function visitSql(node: ts.Node): void {
    const start = node.getStart(source);
    let sql = text.slice(start, node.end);
    // What is put into a template is no part of its SQL. Offsets stay as they are.
    for (const { expression } of ts.isTemplateExpression(node) ? node.templateSpans : []) {
      const from = expression.pos - start;
      sql = sql.slice(0, from) + " ".repeat(expression.end - expression.pos) + sql.slice(expression.end - start);
    }
    if (!SQL.test(sql)) return;
    for (const [pattern, replacement] of SQL_CHANGES) {
      for (const match of sql.matchAll(pattern)) {
        add(start + match.index, start + match.index + match[0].length, replacement);
      }
    }
    // `=` compares where a condition has begun; before that it assigns.
    for (const match of sql.matchAll(/(?<![<>=!])=(?![=>])/g)) {
      const before = sql.slice(0, match.index);
      const begun = Math.max(before.lastIndexOf("WHERE"), before.lastIndexOf(" ON "), before.lastIndexOf("WHEN"));
      if (begun > before.lastIndexOf("SET ")) add(start + match.index, start + match.index + 1, "<>");
    }
  }

  function visit(node: ts.Node): void {
    if (ts.isTypeNode(node) || ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return;
    if (ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)) return;
    // What a thrown error says is for people; that it is thrown is removed with its statement.
    if (ts.isNewExpression(node) && node.expression.getText(source).endsWith("Error")) return;

    if (ts.isBinaryExpression(node)) {
      const { operatorToken, left, right } = node;
      const swapped = SWAPPED_OPERATORS[operatorToken.kind];
      const joins = operatorToken.kind === ts.SyntaxKind.PlusToken && (isText(left) || isText(right));
      if (swapped && !joins) replace(operatorToken, swapped);
    } else if (ts.isIfStatement(node)) {
      negate(node.expression);
      const only = ts.isBlock(node.thenStatement) ? node.thenStatement.statements.at(-1) : node.thenStatement;
      if (!node.elseStatement && only && (ts.isReturnStatement(only) || ts.isThrowStatement(only))) replace(node, ";");
    } else if (ts.isConditionalExpression(node)) {
      negate(node.condition);
    } else if (ts.isPropertyAccessExpression(node) && ts.isCallExpression(node.parent)) {
      const swapped = SWAPPED_CALLS.get(node.name.text);
      if (swapped && node.parent.expression === node) replace(node.name, swapped);
    } else if (ts.isPrefixUnaryExpression(node) && node.operator === ts.SyntaxKind.ExclamationToken) {
      replace(node, node.operand.getText(source));
    } else if (ts.isExpressionStatement(node)) {
      replace(node, ";");
    } else if (node.kind === ts.SyntaxKind.TrueKeyword && !ts.isLiteralTypeNode(node.parent)) {
      replace(node, "false");
    } else if (node.kind === ts.SyntaxKind.FalseKeyword && !ts.isLiteralTypeNode(node.parent)) {
      replace(node, "true");
    } else if (ts.isNumericLiteral(node) && !ts.isPropertyAssignment(node.parent)) {
      replace(node, String(Number(node.text.replaceAll("_", "")) + 1), true);
    } else if (isText(node)) {
      visitSql(node);
      const isName = ts.isPropertyAssignment(node.parent) && node.parent.name === node;
      if (ts.isStringLiteral(node) && !isName && /^[^\s]+$/.test(node.text)) replace(node, '"mutated"', true);
    }
    ts.forEachChild(node, visit);
  }
  visit(source);
  return found.toSorted((a, b) => a.start - b.start || a.end - b.end);
}

/** The text with one mutation made. */
export const mutate = (text: string, { start, end, replacement }: Mutation): string =>
  text.slice(0, start) + replacement + text.slice(end);

/** A source that contains all of its mutations, of which the running program makes one at a time. */
export interface Switched {
  readonly text: string;
  /** The mutations in it, by their places in the list. Not in it are those of code that runs only once, when its module is loaded. */
  readonly contained: ReadonlySet<number>;
}

/**
 * Writes a source so that `mutates(id)` says, each time that an expression is evaluated, whether it is evaluated with a mutation.
 *
 * @param idOf the id of a mutation by its place in the list.
 * @param mutates an expression of JavaScript: a function of an id.
 */
export function switched(
  name: string,
  text: string,
  mutations: readonly Mutation[],
  { idOf, mutates }: { idOf: (at: number) => number; mutates: string },
): Switched {
  const source = ts.createSourceFile(name, text, ts.ScriptTarget.Latest, true);
  interface Host {
    readonly start: number;
    readonly end: number;
    readonly variants: { readonly at: number; readonly text: string }[];
  }
  const hosts = new Map<ts.Node, Host>();
  const contained = new Set<number>();
  for (const [at, mutation] of mutations.entries()) {
    const found = hostOf(source, mutation);
    if (!found) continue;
    contained.add(at);
    const { node, without } = found;
    const host = hosts.get(node) ?? { start: node.getStart(source), end: node.end, variants: [] };
    const mutated = without ?? mutate(text.slice(0, host.end), mutation).slice(host.start);
    host.variants.push({ at, text: mutated });
    hosts.set(node, host);
  }
  const outermostFirst = [...hosts.values()].toSorted((a, b) => a.start - b.start || b.end - a.end);

  /** The text from `start` to `end`, with these hosts in it, which are all between the two. */
  function render(start: number, end: number, inner: readonly Host[]): string {
    let result = "";
    let from = start;
    for (let next = 0; next < inner.length;) {
      const host = inner[next]!;
      let after = next + 1;
      while (after < inner.length && inner[after]!.start < host.end) after++;
      const choices = host.variants.map((one) => `${mutates}(${idOf(one.at)}) ? (${one.text}) : `).join("");
      const original = render(host.start, host.end, inner.slice(next + 1, after));
      result += `${text.slice(from, host.start)}(${choices}(${original}))`;
      from = host.end;
      next = after;
    }
    return result + text.slice(from, end);
  }
  return { text: render(0, text.length, outermostFirst), contained };
}

/**
 * The expression that is evaluated with or without a mutation. Undefined if there is none that is evaluated more than once.
 *
 * @returns `without`: what stands in its place if it is removed.
 */
function hostOf(source: ts.SourceFile, { start, end }: Mutation): { node: ts.Node; without?: string } | undefined {
  let node: ts.Node = source;
  for (let inner: ts.Node | undefined = node; inner;) {
    node = inner;
    inner = ts.forEachChild(node, (child) => (child.getStart(source) <= start && child.end >= end ? child : undefined));
  }
  if (!ts.findAncestor(node, ts.isFunctionLike)) return undefined;
  // A chain that a `?.` may cut short is one expression. The text of a tagged template is nothing without its tag, nor is a method.
  while (!ts.isStatement(node) && (!ts.isExpression(node) || isPart(node))) node = node.parent;
  if (ts.isIfStatement(node)) return { node: node.expression, without: "false" };
  if (ts.isExpressionStatement(node)) return { node: node.expression, without: "undefined" };
  return ts.isStatement(node) ? undefined : { node };
}

function isPart(node: ts.Expression): boolean {
  const { parent } = node;
  return (
    (ts.isPropertyAccessExpression(parent) &&
      (parent.name === node || (parent.flags & ts.NodeFlags.OptionalChain) !== 0)) ||
    (ts.isCallExpression(parent) &&
      parent.expression === node &&
      (ts.isPropertyAccessExpression(node) || (parent.flags & ts.NodeFlags.OptionalChain) !== 0)) ||
    (ts.isTaggedTemplateExpression(parent) && parent.template === node) ||
    (ts.isBindingElement(parent) && parent.propertyName === node)
  );
}
