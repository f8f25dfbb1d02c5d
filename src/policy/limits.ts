import type { Conditions, Scalar, Where } from "../permissions/grant.ts";
import { watchedNameIn, watchNames, decodeFormText, decodeName, type WatchedNames } from "./parameter-name.ts";
import { isRead, type Rule } from "./rule.ts";
import type { Part } from "./multipart.ts";
import type { FormFields } from "./form.ts";
import { decodeUtf8 } from "../validation/utf8.ts";

// How far a grant reaches: the conditions on what a request says, and whether a request meets them. `judge.ts` decides with it.

/** What a service says about one field that grants may limit. */
export interface LimitDefinition {
  /** Lines of the service's rules at which no other argument names the same kind of object. */
  readonly alone?: readonly string[] | undefined;
  /** Lines at which other fields name the same kind of object, and these fields: they must hold too if they are given. */
  readonly also?: Readonly<Record<string, readonly string[]>> | undefined;
  /** Fields that give the value another meaning, or name the object in another way: none of them may be given. */
  readonly without?: readonly string[] | undefined;
  /** Whether the vendor compares the values without regard to the case of ASCII letters. */
  readonly ignoresCase?: boolean;
  /** Whether the value is the name of a file or a branch, for which `glob` may be used. */
  readonly isPath?: boolean;
  /** All values that the field can have, where the vendor documents them as a closed list. Needed for `not_in`. */
  readonly closedList?: readonly string[];
}

/** One place of a request that a limit looks at. */
interface Field {
  readonly name: string;
  readonly place: "path" | "query" | "body";
  readonly first: string;
  readonly steps: readonly string[];
  /** The first step, to find it wherever another parser could read it. */
  readonly watched: WatchedNames;
}

interface LimitableField extends Omit<LimitDefinition, "alone" | "also" | "without"> {
  readonly field: Field;
  readonly without: readonly Field[];
  /**
   * By the line of a rule: the further fields that name the same kind of object. At a rule that is not listed, a grant with a limit on
   * this field allows nothing, because nobody has said what else could name the object.
   */
  readonly rules: ReadonlyMap<string, readonly Field[]>;
}

/** By the name of the field. */
export type LimitableFields = ReadonlyMap<string, LimitableField>;

/**
 * Prepares what a service says about limits.
 *
 * @throws {Error} with the first of the {@link limitFaults}.
 */
export function compileLimits(
  definitions: Readonly<Record<string, LimitDefinition>>,
  rules: readonly Rule[],
): LimitableFields {
  return new Map(
    Object.entries(definitions).map(([name, definition]) => {
      const [fault] = limitFaults(name, definition, rules);
      if (fault) throw new Error(`limits: ${name}: ${fault.message}`);
      const { alone = [], also = {}, without = [], ...rest } = definition;
      const entries = [...alone.map((line) => [line, []] as const), ...Object.entries(also)];
      const byLine = new Map(entries.map(([line, others]) => [line, others.map(fieldOf)] as const));
      return [name, { ...rest, field: fieldOf(name), without: without.map(fieldOf), rules: byLine }] as const;
    }),
  );
}

/** What is wrong with a definition: the keys that lead to the fault, and a sentence without its full stop. */
export interface LimitFault {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/** Returns everything that is wrong with what a service says about one field. */
export function limitFaults(
  name: string,
  { alone = [], also = {}, without = [] }: LimitDefinition,
  rules: readonly Rule[],
): LimitFault[] {
  if (!isField(name)) return [{ path: [], message: `${name} is not path.NAME, query.NAME or body.NAME` }];
  const field = fieldOf(name);
  const lines = new Set(rules.map(({ source }) => source));
  const lineFault = (line: string): string | undefined => {
    if (!lines.has(line)) return `"${line}" is not a rule of the service, as it is written there`;
    const named = placesIn(line).filter((place) => isNamed(place.name, field.watched));
    if (field.place !== "path") {
      return named.length > 0 ? `the path of the rule "${line}" has a parameter of this name as well` : undefined;
    }
    if (named.length > 1) return `the rule "${line}" has this parameter twice`;
    return named[0]?.name === field.first ? undefined : `the rule "${line}" has no parameter ${field.first}`;
  };
  const at = (path: readonly PropertyKey[], message: string | undefined): LimitFault[] =>
    message === undefined ? [] : [{ path, message }];
  const others = (path: readonly PropertyKey[], names: readonly string[]): LimitFault[] =>
    names.flatMap((other, index) =>
      at([...path, index], isField(other) ? undefined : `${other} is not path.NAME, query.NAME or body.NAME`),
    );
  const inBoth = alone.findIndex((line) => Object.hasOwn(also, line));
  return [
    ...at([], alone.length + Object.keys(also).length === 0 ? "names no rule: list them in alone or also" : undefined),
    ...alone.flatMap((line, index) => at(["alone", index], lineFault(line))),
    ...Object.keys(also).flatMap((line) => at(["also", line], lineFault(line))),
    ...Object.entries(also).flatMap(([line, names]) => others(["also", line], names)),
    ...at(["alone", inBoth], inBoth === -1 ? undefined : `"${alone[inBoth]}" is in also as well`),
    ...others(["without"], without),
  ];
}

const isField = (name: string): boolean => FIELD.test(name) && /[a-z0-9]/i.test(name.split(".")[1]!);

/** Returns the fields that a grant may limit at a rule. */
export const limitableAt = (fields: LimitableFields, rule: Rule): string[] =>
  [...fields].filter(([, known]) => isLimitableAt(known, rule)).map(([name]) => name);

/** Whether a request of a rule can have a field. A read has no body, although a line of rules may stand for reads and writes. */
const isLimitableAt = ({ field, rules }: LimitableField, { source, methods }: Rule): boolean =>
  rules.has(source) && (field.place !== "body" || methods.some((method) => !isRead(method)));

function fieldOf(name: string): Field {
  const [place, ...steps] = name.split(".") as [Field["place"], ...string[]];
  const first = steps[0]!;
  return { name, place, first, steps, watched: watchNames([first]) };
}

/** A body as far as limits look at it. */
export type LimitedBody =
  /** There is no body. */
  | { readonly kind: "none" }
  /** Its text, which is valid JSON. */
  | { readonly kind: "json"; readonly text: string }
  | { readonly kind: "form"; readonly fields: FormFields }
  | { readonly kind: "multipart"; readonly parts: readonly Part[] }
  /** It is too long, encoded, or of a type that is not read: no limit on it can hold. */
  | { readonly kind: "unreadable" };

/** What a request says, in the places that limits look at. */
export interface RequestParts {
  readonly rule: Rule;
  /** The path parameters by name, percent-decoded. */
  readonly path: ReadonlyMap<string, string>;
  /** The raw query without its `?`. */
  readonly query: string;
  readonly body: LimitedBody;
}

/** The same, of which each part is parsed at most once, and not before a limit looks at it. */
export interface LimitedRequest extends Omit<RequestParts, "query"> {
  readonly query: () => ReadQuery;
  /** The body's JSON; undefined if parsers read it differently. */
  readonly json: () => Json | undefined;
  /** What the fields are that have been looked at, by their names: a long body is searched once for all grants. */
  readonly values: Map<string, Values>;
}

/** Returns a request as {@link violations} reads it. It may be used for the limits of many grants. */
export function limitedRequest({ rule, path, query, body }: RequestParts): LimitedRequest {
  let readQueryOnce: ReadQuery | undefined;
  let readJsonOnce: { readonly json: Json | undefined } | undefined;
  return {
    rule,
    path,
    body,
    query: () => (readQueryOnce ??= readQuery(query)),
    values: new Map(),
    json: () => (readJsonOnce ??= { json: body.kind === "json" ? readJson(body.text) : undefined }).json,
  };
}

/** Where a parameter of a rule's path stands. */
interface Place {
  readonly name: string;
  /** The number of its segment. */
  readonly segment: number;
  readonly isTail: boolean;
  /** The lengths of the plain text before and after it in its segment. */
  readonly before: number;
  readonly after: number;
}

const PARAMETER = /^([^{}]*)\{(\w+)(\.\.\.)?[^{}]*\}([^{}]*)$/;

/** Returns the parameters in the path of a rule's line. */
function placesIn(line: string): Place[] {
  const [, path = ""] = line.trim().split(/\s+/);
  return path
    .slice(1)
    .split("/")
    .flatMap((text, segment) => {
      const [, before, name, tail, after] = PARAMETER.exec(text) ?? [];
      return name === undefined
        ? []
        : [{ name, segment, isTail: tail !== undefined, before: before!.length, after: after!.length }];
    });
}

const places = new WeakMap<Rule, readonly Place[]>();

/**
 * Returns the path parameters of a request by name.
 *
 * @param texts the percent-decoded segments that the rule matched.
 */
export function pathParameters(rule: Rule, texts: readonly string[]): ReadonlyMap<string, string> {
  let known = places.get(rule);
  if (!known) places.set(rule, (known = placesIn(rule.source)));
  return new Map(
    known.map(({ name, segment, isTail, before, after }) => {
      const text = isTail ? texts.slice(segment).join("/") : texts[segment]!;
      return [name, text.slice(before, text.length - after)] as const;
    }),
  );
}

/** A condition that does not hold, as the agent is told. */
export interface Violation {
  /**
   * `differs`: the value is another one. `unclear`: it is absent, given twice, or cannot be read with certainty. `forbidden`: the field may
   * not be given beside the limited one. `unlisted`: no request of this kind is within a limit of the field.
   */
  readonly because: "differs" | "unclear" | "forbidden" | "unlisted";
  readonly field: string;
  readonly constraint: Conditions;
  /** The value, or null if it is absent, given twice, or cannot be read with certainty. */
  readonly actual: Scalar | null;
}

/** Why a grant's `where` is refused. */
export interface WhereFault {
  readonly code: "unknown_constraint_operator" | "unknown_constraint_field" | "invalid_constraint";
  readonly field: string;
  /** One or two sentences: what is wrong, and what may be written. */
  readonly message: string;
}

const MAX_FIELDS = 20;
const MAX_LIST = 200;
const MAX_TEXT = 500;
/** The longest part of a value that a violation quotes, in characters. */
const MAX_SHOWN = 100;
const OPERATORS: ReadonlySet<string> = new Set(["eq", "in", "min", "max", "glob", "not_in"]);
const OPERATOR_NAMES = [...OPERATORS].join(", ");
const FIELD = /^(?:path|query)\.[\w-]{1,64}$|^body(?:\.[\w-]{1,64}){1,6}$/;

/** A decimal number that every parser reads alike: not `1e3`, `007`, `+1`, or more digits than a double holds. */
const PLAIN_NUMBER = /^-?(?:0|[1-9]\d{0,14})(?:\.\d{1,6})?$/;

/**
 * Reads the `where` of a grant. A plain value (`{"path.owner": "octo"}`) is short for `eq`.
 *
 * @param fields what the service lets grants limit.
 * @param rules the rules that need the granted permission: a field that none of them has would only deny.
 * @returns the limits, or the first fault.
 */
export function parseWhere(where: unknown, fields: LimitableFields, rules: readonly Rule[]): Where | WhereFault {
  if (typeof where !== "object" || where === null || Array.isArray(where)) {
    return invalid("where", 'where is an object of fields, for example {"path.owner": "octo"}.');
  }
  const entries = Object.entries(where);
  if (entries.length === 0) return invalid("where", "where names no field. Leave it out for a grant without limits.");
  if (entries.length > MAX_FIELDS) return invalid("where", `where names more than ${MAX_FIELDS} fields.`);
  const parsed: Record<string, Conditions> = {};
  for (const [field, value] of entries) {
    const known = FIELD.test(field) ? fields.get(field) : undefined;
    if (!known || !rules.some((rule) => isLimitableAt(known, rule))) return unknownField(field, fields, rules);
    const conditions = parseConditions(field, value, known);
    if ("code" in conditions) return conditions;
    parsed[field] = conditions;
  }
  return parsed;
}

/** The fields that a grant may limit whose permission these rules need. */
export const limitableFields = (fields: LimitableFields, rules: readonly Rule[]): string[] =>
  [...fields].filter(([, known]) => rules.some((rule) => isLimitableAt(known, rule))).map(([name]) => name);

function unknownField(field: string, fields: LimitableFields, rules: readonly Rule[]): WhereFault {
  const names = limitableFields(fields, rules);
  const message =
    names.length === 0
      ? "Requests with this permission have no field that a grant could limit."
      : `No request with this permission has the field ${field.slice(0, 100)}. A grant of it may limit: ${names.join(", ")}.`;
  return { code: "unknown_constraint_field", field, message };
}

function parseConditions(field: string, value: unknown, known: LimitableField): Conditions | WhereFault {
  if (isScalar(value)) return { eq: value };
  if (typeof value !== "object" || value === null || Array.isArray(value) || Object.keys(value).length === 0) {
    return invalid(field, `${field} is a text, a number, true or false, or an object of operators: ${OPERATOR_NAMES}.`);
  }
  for (const [operator, operand] of Object.entries(value)) {
    const fault = operandFault(operator, operand, known);
    if (fault === undefined) continue;
    const code = fault === "" ? "unknown_constraint_operator" : "invalid_constraint";
    const message = fault || `${operator.slice(0, 40)} is no operator. Write one of ${OPERATOR_NAMES}.`;
    return { code, field, message: `${field}: ${message}` };
  }
  return value as Conditions;
}

/** Returns what is wrong with an operator's operand; `""` if the operator is unknown, undefined if nothing is. */
function operandFault(operator: string, operand: unknown, known: LimitableField): string | undefined {
  switch (operator) {
    case "eq":
      return isScalar(operand) ? undefined : "eq takes a text, a finite number, true or false.";
    case "in":
      return isList(operand) ? undefined : `in takes a list of 1 to ${MAX_LIST} texts or numbers.`;
    case "not_in":
      if (!known.closedList) return "not_in is only for fields whose values are a closed list. Use in.";
      return isList(operand) && operand.every((one) => known.closedList!.includes(String(one)))
        ? undefined
        : `not_in takes a list of these values: ${known.closedList.join(", ")}.`;
    case "min":
    case "max":
      return typeof operand === "number" && Number.isFinite(operand) ? undefined : `${operator} takes a number.`;
    case "glob":
      if (!known.isPath) return "glob is only for names of files and branches. Use eq or in.";
      return typeof operand === "string" &&
        operand !== "" &&
        operand.length <= MAX_TEXT &&
        !/\*\*|[?[\]{}\\]/.test(operand)
        ? undefined
        : "glob takes a text in which * stands for anything but a slash, and **, ?, brackets and back-slashes do not occur.";
    default:
      return "";
  }
}

const isScalar = (value: unknown): value is Scalar =>
  typeof value === "boolean" ||
  (typeof value === "number" && Number.isFinite(value)) ||
  (typeof value === "string" && value.length <= MAX_TEXT);

const isList = (value: unknown): value is Scalar[] =>
  Array.isArray(value) && value.length > 0 && value.length <= MAX_LIST && value.every(isScalar);

const invalid = (field: string, message: string): WhereFault => ({ code: "invalid_constraint", field, message });

/**
 * Returns every condition of a grant's limits that this request does not meet; an empty list if the grant allows it.
 *
 * A field that is absent, stands in two places, or cannot be read with certainty is a violation, whatever the operator is. Each element
 * of a list has to meet the conditions, and an empty list meets none.
 */
export function violations(where: Where, fields: LimitableFields, request: LimitedRequest): Violation[] {
  const found: Violation[] = [];
  for (const [field, conditions] of Object.entries(where)) {
    const known = fields.get(field);
    const further = known?.rules.get(request.rule.source);
    if (!known || !further) {
      found.push({ because: "unlisted", field, constraint: conditions, actual: null });
      continue;
    }
    check(known.field, { isRequired: true });
    for (const other of further) check(other, { isRequired: false });
    for (const other of known.without) {
      if (valuesOf(other, request) !== "absent") {
        found.push({ because: "forbidden", field: other.name, constraint: conditions, actual: null });
      }
    }

    function check(place: Field, { isRequired }: { isRequired: boolean }): void {
      const { name } = place;
      const values = valuesOf(place, request);
      if (values === "absent" && !isRequired) return;
      if (values === "absent" || values === "uncertain" || values.length === 0) {
        found.push({ because: "unclear", field: name, constraint: conditions, actual: null });
        return;
      }
      const failing = values.find((value) => !meets(value, conditions, known!));
      if (failing !== undefined)
        found.push({ because: "differs", field: name, constraint: conditions, actual: shown(failing) });
    }
  }
  return found;
}

/** What a violation says on the wire. */
export const toWireViolation = ({ field, constraint, actual }: Violation): Omit<Violation, "because"> => ({
  field,
  constraint,
  actual,
});

/** The longest text of conditions in a sentence, in characters. */
const MAX_DESCRIBED = 200;

/** Returns a violation as a clause, for the message of an error. */
export function describeViolation({ because, field, constraint, actual }: Violation): string {
  const text = JSON.stringify(constraint);
  const wanted = text.length > MAX_DESCRIBED ? `${text.slice(0, MAX_DESCRIBED)}…` : text;
  switch (because) {
    case "differs":
      return `${field} is ${JSON.stringify(actual)} and has to meet ${wanted}`;
    case "unclear":
      return `${field} is missing, given twice or not plainly readable, and has to meet ${wanted}`;
    case "forbidden":
      return `${field} must not be given`;
    case "unlisted":
      return `no request of this kind is within a limit of ${field}`;
  }
}

/** A value as it stands in the request. A JSON number keeps the digits that it was written with. */
type Value =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "number"; readonly digits: string }
  | { readonly kind: "boolean"; readonly value: boolean };

const shown = (value: Value): Scalar =>
  value.kind === "text" ? value.text.slice(0, MAX_SHOWN) : value.kind === "number" ? Number(value.digits) : value.value;

/** All values of one logical argument, `"absent"`, or `"uncertain"` if it stands in two places or parsers could read it differently. */
type Values = readonly Value[] | "absent" | "uncertain";

function valuesOf(field: Field, request: LimitedRequest): Values {
  let values = request.values.get(field.name);
  if (values === undefined) request.values.set(field.name, (values = readValues(field, request)));
  return values;
}

function readValues({ place, first, steps, watched }: Field, request: LimitedRequest): Values {
  const { path } = request;
  if (place !== "path") for (const name of path.keys()) if (isNamed(name, watched)) return "uncertain";
  const inQuery = queryValues(first, request.query(), watched);
  if (place !== "query" && inQuery !== "absent") return "uncertain";
  const inBody = bodyValues(place === "body" ? steps : [first], request, watched);
  if (place !== "body" && inBody !== "absent") return "uncertain";
  return place === "path" ? textValues(path.get(first)) : place === "query" ? inQuery : inBody;
}

const isNamed = (name: string, watched: WatchedNames): boolean => watchedNameIn(name, watched) !== undefined;
const textValues = (text: string | undefined): Values => (text === undefined ? "absent" : [{ kind: "text", text }]);

/** A query as names and values. */
interface ReadQuery {
  readonly pairs: readonly (readonly [name: string | undefined, value: string | undefined])[];
  /** The names that a parser would read in it that separates at `;` too. */
  readonly splitNames: readonly string[];
  /** All names in lower case, if every parser reads each of them as one word; else undefined. */
  readonly words: ReadonlySet<string> | undefined;
}

function queryValues(first: string, { pairs, splitNames, words }: ReadQuery, watched: WatchedNames): Values {
  if (words && !words.has(first.toLowerCase())) return "absent";
  return splitNames.some((name) => isNamed(name, watched)) ? "uncertain" : fieldValues([first], pairs, watched);
}

function readQuery(query: string): ReadQuery {
  if (query === "") return { pairs: [], splitNames: [], words: new Set() };
  const pairs = query.split("&").map((pair): [string | undefined, string | undefined] => {
    const end = pair.indexOf("=");
    return end === -1
      ? [decodeName(pair), undefined]
      : [decodeName(pair.slice(0, end)), decodeFormText(pair.slice(end + 1))];
  });
  const splitNames = query.includes(";")
    ? query.split(/[&;]/).map((pair) => decodeName(pair.split("=", 1)[0]!) ?? "")
    : [];
  const isPlain = splitNames.length === 0 && pairs.every(([name]) => name !== undefined && /^[\w-]*$/.test(name));
  return {
    pairs,
    splitNames,
    words: isPlain ? new Set(pairs.map(([name]) => name!.toLowerCase())) : undefined,
  };
}

/** The values of a field in a list of names and values. `steps` `a`, `b` is the name `a[b]`. */
function fieldValues(
  steps: readonly string[],
  pairs: readonly (readonly [string | undefined, string | undefined])[],
  watched: WatchedNames,
): Values {
  if (pairs.length === 0) return "absent";
  const name =
    steps[0]! +
    steps
      .slice(1)
      .map((step) => `[${step}]`)
      .join("");
  const siblings = /^([\w-]+)(?:\[[\w-]+\])+$/;
  const values: Value[] = [];
  for (const [one, text] of pairs) {
    if (one === undefined) return "uncertain";
    if (!isNamed(one, watched)) continue;
    if (one === name) {
      if (text === undefined || values.length > 0) return "uncertain";
      values.push({ kind: "text", text });
    } else if (steps.length === 1 || siblings.exec(one)?.[1] !== steps[0] || isSpelledLike(one, name)) {
      return "uncertain";
    }
  }
  return values.length > 0 ? values : "absent";
}

/** Whether a parser that compares without case, or drops what stands between words, could read one name as the other. */
const isSpelledLike = (one: string, other: string): boolean => {
  const words = (name: string) => name.toLowerCase().replace(/[^a-z0-9]/g, "");
  return words(one).startsWith(words(other));
};

function bodyValues(steps: readonly string[], { body, json }: LimitedRequest, watched: WatchedNames): Values {
  switch (body.kind) {
    case "none":
      return "absent";
    case "unreadable":
      return "uncertain";
    case "form":
      return fieldValues(steps, body.fields, watched);
    case "multipart":
      return fieldValues(
        steps,
        body.parts.map(({ name, filename, content }) => [
          name,
          filename === undefined ? decodeUtf8(content) : undefined,
        ]),
        watched,
      );
    case "json":
      return jsonValues(steps, json());
  }
}

/** Thrown inside this file for JSON that parsers read differently. */
class AmbiguousJson extends Error {}

/** A JSON value whose numbers keep their digits. */
type Json = null | Value | readonly Json[] | ReadonlyMap<string, Json>;

function jsonValues(steps: readonly string[], json: Json | undefined): Values {
  if (json === undefined) return "uncertain";
  try {
    const values: Value[] = [];
    collect(json, steps, values);
    return values;
  } catch (error) {
    if (error === ABSENT) return "absent";
    if (error instanceof AmbiguousJson || error instanceof RangeError) return "uncertain";
    throw error;
  }
}

/** Returns undefined for a text that is not JSON, is nested too deeply, or is read differently by parsers. */
function readJson(text: string): Json | undefined {
  try {
    return parseStrictJson(text);
  } catch (error) {
    if (error instanceof AmbiguousJson || error instanceof SyntaxError || error instanceof RangeError) return undefined;
    throw error;
  }
}

const ABSENT = new Error("absent");

/**
 * Collects the values at the end of the steps. Each element of a list on the way is followed.
 *
 * @throws {AmbiguousJson} if a key of an object on the way could be read as the step by another parser, if the field is null or an
 *   object, and if it is missing in some elements but not in all.
 */
function collect(value: Json, steps: readonly string[], into: Value[]): void {
  if (Array.isArray(value)) {
    // An empty list holds nothing, and a limit that holds for nothing is none.
    if (value.length === 0) throw steps.length === 0 ? new AmbiguousJson("an empty list") : ABSENT;
    let absent = 0;
    for (const one of value as readonly Json[]) {
      try {
        collect(one, steps, into);
      } catch (error) {
        if (error !== ABSENT) throw error;
        absent++;
      }
    }
    if (absent === value.length) throw ABSENT;
    if (absent > 0) throw new AmbiguousJson("an element without the field");
    return;
  }
  const [step, ...rest] = steps;
  if (step === undefined) {
    if (value === null || value instanceof Map) throw new AmbiguousJson("not a text, a number, true or false");
    into.push(value as Value);
    return;
  }
  if (!(value instanceof Map)) throw ABSENT;
  const watched = watchNames([step]);
  for (const key of value.keys())
    if (key !== step && isNamed(key, watched)) throw new AmbiguousJson("a look-alike key");
  const inner = value.get(step);
  if (inner === undefined) throw ABSENT;
  collect(inner, rest, into);
}

const TOKEN = /\s*(?:("[^"\\]*(?:\\.[^"\\]*)*")|([{}[\]:,])|(-?\d[\d.eE+-]*)|(true|false|null))/y;

/**
 * Parses JSON in which no key occurs twice in one object, contains a dot, or is `__proto__`: parsers differ in what they make of these.
 *
 * @throws {SyntaxError} if the text is not JSON (RFC 8259).
 * @throws {AmbiguousJson} for one of these keys.
 */
function parseStrictJson(text: string): Json {
  // The grammar is the runtime's: what follows only walks over tokens that are known to be well-formed.
  JSON.parse(text);
  let at = 0;
  const next = (): RegExpExecArray => {
    TOKEN.lastIndex = at;
    const token = TOKEN.exec(text);
    if (!token) throw new SyntaxError("unexpected end of JSON");
    at = TOKEN.lastIndex;
    return token;
  };
  const value = ([, string, mark, number, word]: RegExpExecArray): Json => {
    if (string !== undefined) return { kind: "text", text: JSON.parse(string) as string };
    if (number !== undefined) return { kind: "number", digits: number };
    if (word !== undefined) return word === "null" ? null : { kind: "boolean", value: word === "true" };
    return mark === "[" ? list() : object();
  };
  const list = (): Json => {
    const items: Json[] = [];
    for (let token = next(); token[2] !== "]"; token = next()) if (token[2] !== ",") items.push(value(token));
    return items;
  };
  const object = (): Json => {
    const members = new Map<string, Json>();
    for (let token = next(); token[2] !== "}"; token = next()) {
      if (token[2] === ",") continue;
      const key = JSON.parse(token[1]!) as string;
      if (members.has(key) || key.includes(".") || key === "__proto__") throw new AmbiguousJson("a key");
      next();
      members.set(key, value(next()));
    }
    return members;
  };
  return value(next());
}

function meets(value: Value, conditions: Conditions, { ignoresCase, closedList }: LimitableField): boolean {
  // An operator that a newer version has stored holds for nothing.
  const operators = Object.keys(conditions);
  if (operators.length === 0 || !operators.every((name) => OPERATORS.has(name))) return false;
  const equals = (operand: Scalar): boolean => isEqual(value, operand, ignoresCase === true);
  const { eq, in: allowed, not_in: excluded, min, max, glob } = conditions;
  if (eq !== undefined && !equals(eq)) return false;
  if (allowed && !allowed.some(equals)) return false;
  if (excluded && (!closedList?.some(equals) || excluded.some(equals))) return false;
  if (glob !== undefined && !(value.kind === "text" && matchesGlob(glob, value.text))) return false;
  if (min === undefined && max === undefined) return true;
  const number = numberOf(value);
  return number !== undefined && number >= (min ?? -Infinity) && number <= (max ?? Infinity);
}

function isEqual(value: Value, operand: Scalar, ignoresCase: boolean): boolean {
  if (typeof operand === "number") {
    // In a path or a form, `5.0` may name something else than `5`.
    return numberOf(value) === operand && (value.kind !== "text" || value.text === String(operand));
  }
  if (typeof operand === "boolean") {
    return value.kind === "boolean" ? value.value === operand : value.kind === "text" && value.text === String(operand);
  }
  if (value.kind !== "text") return false;
  return value.text === operand || (ignoresCase && isEqualWithoutCase(value.text, operand));
}

/** Not by `toLowerCase`, which also turns letters outside ASCII into ASCII ones (the Kelvin sign into k). */
function isEqualWithoutCase(one: string, other: string): boolean {
  if (one.length !== other.length) return false;
  for (let i = 0; i < one.length; i++) {
    const [a, b] = [lowerAscii(one.charCodeAt(i)), lowerAscii(other.charCodeAt(i))];
    if (a !== b) return false;
  }
  return true;
}

/** A to Z as a to z. */
const lowerAscii = (code: number): number => (code >= 0x41 && code <= 0x5a ? code + 0x20 : code);

function numberOf(value: Value): number | undefined {
  const digits = value.kind === "number" ? value.digits : value.kind === "text" ? value.text : "";
  return PLAIN_NUMBER.test(digits) ? Number(digits) : undefined;
}

/** Whether a name of segments matches a pattern in which `*` stands for any text without a slash. */
export function matchesGlob(pattern: string, text: string): boolean {
  const wanted = pattern.split("/");
  const given = text.split("/");
  if (wanted.length !== given.length) return false;
  return given.every(
    (segment, index) =>
      segment !== "" && segment !== "." && segment !== ".." && segmentMatches(wanted[index]!, segment),
  );
}

function segmentMatches(pattern: string, text: string): boolean {
  const [first = "", ...rest] = pattern.split("*");
  if (rest.length === 0) return text === first;
  const last = rest.pop()!;
  if (!text.startsWith(first)) return false;
  let at = first.length;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found === -1) return false;
    at = found + part.length;
  }
  return text.length - last.length >= at && text.endsWith(last);
}
