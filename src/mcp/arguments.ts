import { canonicalPath } from "../policy/path.ts";
import { matches, type Matcher } from "../policy/rule.ts";
import { findRule } from "../policy/rule-table.ts";
import type { OperationDescription } from "../policy/service-definition.ts";
import { hasBody, type Operation, type PathArgument, type PathPart } from "./operations.ts";
import { isObject } from "../validation/is-object.ts";
import type { ObjectSchema } from "./tool.ts";

/** The request that arguments become, below `/proxy/{service}`. */
export interface OperationRequest {
  /** The path and the query, as they are sent. */
  readonly target: string;
  /** JSON, or undefined for a request without a body. */
  readonly body: string | undefined;
}

/** What is wrong with one argument. */
export interface ArgumentFault {
  readonly field: string;
  /** The rest of a sentence that begins with the field's name. */
  readonly message: string;
}

const MAX_ARGUMENT = 4096;
const MAX_TARGET = 8192;

/** Returns the schema of an operation's arguments: those of its path, and `query` and `body` for all others. */
export function inputSchema(operation: Operation): ObjectSchema {
  const path = operation.parts.filter(isArgument);
  const { query, required = [], body } = operation.described;
  const mandatory = [...path.map(({ argument }) => argument), ...(required.length > 0 ? ["query"] : [])];
  return {
    type: "object",
    properties: {
      ...Object.fromEntries(path.map(({ argument, matcher }) => [argument, segmentSchema(matcher)])),
      query: query
        ? { type: "object", properties: query, ...(required.length > 0 && { required }), additionalProperties: false }
        : { type: "object", description: "Query parameters by name. A list is sent as several." },
      ...(hasBody(operation) && {
        body: body ?? { type: ["object", "array"], description: "The body, which is sent as JSON." },
      }),
    },
    ...(mandatory.length > 0 && { required: mandatory }),
    additionalProperties: false,
  };
}

const isArgument = (part: PathPart): part is PathArgument => "argument" in part;

function segmentSchema(matcher: Matcher): Readonly<Record<string, unknown>> {
  switch (matcher.kind) {
    case "choice":
      return { type: "string", enum: matcher.texts };
    case "type":
      return matcher.name === "int"
        ? { type: "integer", minimum: 0 }
        : { type: "string", pattern: matcher.pattern.source };
    case "affixed":
      return matcher.type === null ? { type: "string" } : { type: "string", pattern: matcher.type.pattern.source };
    case "tail":
      return { type: "string", description: "One or more segments of the path, with / between them." };
    case "text":
      return { type: "string", description: "May contain /." };
    default:
      return { type: "string" };
  }
}

/**
 * Returns the request that the arguments of a call become, or everything that is wrong with them.
 *
 * An argument of the path is one segment, or as many as its schema says, and is encoded here. So no argument reaches another path, another
 * parameter or a header: after the path is built, it is checked to have exactly the intended segments, and to match the operation's own
 * rule.
 */
export function toRequest(operation: Operation, given: unknown): OperationRequest | readonly ArgumentFault[] {
  const args = given === undefined ? {} : given;
  if (!isObject(args)) return [{ field: "arguments", message: "must be an object" }];
  const { parts, slash } = operation;
  const known = [
    ...parts.filter(isArgument).map(({ argument }) => argument),
    "query",
    ...(hasBody(operation) ? ["body"] : []),
  ];
  const faults: ArgumentFault[] = Object.keys(args)
    .filter((name) => !known.includes(name))
    .map((name) => ({
      field: name.slice(0, 100),
      message: `is not an argument of this tool, which has ${known.join(", ")}`,
    }));

  const segments: string[] = [];
  for (const part of parts) {
    const read = isArgument(part) ? readSegments(part, args) : [part.text];
    if (Array.isArray(read)) segments.push(...read);
    else faults.push(read as ArgumentFault);
  }
  const query = readQuery(args.query, operation.described);
  if (typeof query !== "string") faults.push(...query);
  const { body } = args;
  if (hasBody(operation) && body !== undefined && (typeof body !== "object" || body === null)) {
    faults.push({ field: "body", message: "must be an object or an array" });
  }
  if (faults.length > 0 || typeof query !== "string") return faults;

  const path = `/${segments.map(encodeSegment).join("/")}${slash ? "/" : ""}`;
  const fault = pathFault(operation, path, segments);
  if (fault !== undefined) return [{ field: "arguments", message: fault }];
  const target = query === "" ? path : `${path}?${query}`;
  if (target.length > MAX_TARGET)
    return [{ field: "query", message: `makes a URL of more than ${MAX_TARGET} characters` }];
  return { target, body: body === undefined ? undefined : JSON.stringify(body) };
}

/** Returns the segments, not encoded, that an argument stands for. */
function readSegments(
  { argument, matcher }: PathArgument,
  args: Readonly<Record<string, unknown>>,
): readonly string[] | ArgumentFault {
  const fault = (message: string): ArgumentFault => ({ field: argument, message });
  const value = Object.hasOwn(args, argument) ? args[argument] : undefined;
  if (value === undefined) return fault("is required");
  if (typeof value !== "string" && !(Number.isSafeInteger(value) && (value as number) >= 0))
    return fault("must be a string");
  const text = String(value);
  if (text === "" || text.length > MAX_ARGUMENT || !text.isWellFormed()) {
    return fault(`must have 1 to ${MAX_ARGUMENT} characters of well-formed Unicode`);
  }
  const segments = matcher.kind === "tail" ? text.split("/") : [text];
  const whole = matcher.kind === "affixed" ? [matcher.before + text + matcher.after] : segments;
  // A server that decodes before it parses would find a query there. A file may have such a name, anything else does not.
  if (/[?#]/.test(text) && matcher.kind !== "tail" && matcher.kind !== "text") return fault("must not have ? or #");
  if (segments.some((one) => /^\.{0,2}$/.test(one))) return fault("must not have an empty segment, . or ..");
  if (!whole.every((one) => matches(matcher, one))) return fault(`must be ${expected(matcher)}`);
  return whole;
}

function expected(matcher: Matcher): string {
  switch (matcher.kind) {
    case "choice":
      return `one of ${matcher.texts.join(", ")}`;
    case "type":
      return matcher.name === "int" ? "a whole number" : `of the form ${matcher.pattern.source}`;
    case "affixed":
      return matcher.type === null ? "one segment without /" : `of the form ${matcher.type.pattern.source}`;
    default:
      return `one segment${matcher.kind === "any" ? " without /" : ""}, and not a word that is another path`;
  }
}

/** Characters that a segment has as they are (`pchar` of RFC 3986 §3.3, without `;`): encoded, some would mean something else. */
const ENCODED = /[^A-Za-z0-9._~!$&'()*+,=:@-]/gu;

const encodeSegment = (text: string): string => text.replace(ENCODED, encodeURIComponent);

/** What is wrong with a path that was built, or undefined if it has these segments and matches the operation's own rule. */
function pathFault(
  { service, rule, method, slash }: Operation,
  path: string,
  segments: readonly string[],
): string | undefined {
  const canonical = canonicalPath(path);
  if (typeof canonical === "string") return `make a path that the gateway refuses (${canonical})`;
  const isSame =
    canonical.slash === slash &&
    canonical.encoded === path &&
    canonical.texts.length === segments.length &&
    canonical.texts.every((text, index) => text === segments[index]);
  if (isSame && findRule(service.table(), method, segments, slash) === rule) return undefined;
  return "make the path of another operation";
}

/** Returns the query without its `?`, or what is wrong with it. */
function readQuery(
  value: unknown = {},
  { query: described, required = [] }: OperationDescription,
): string | readonly ArgumentFault[] {
  if (!isObject(value)) return [{ field: "query", message: "must be an object" }];
  const faults: ArgumentFault[] = required
    .filter((name) => !Object.hasOwn(value, name))
    .map((name) => ({ field: `query.${name}`, message: "is required" }));
  const pairs = Object.entries(value).flatMap(([name, one]) => {
    const field = `query.${name.slice(0, 100)}`;
    if (name === "" || !name.isWellFormed() || (described && !Object.hasOwn(described, name))) {
      const known = described ? `. It has ${Object.keys(described).join(", ") || "none"}` : "";
      faults.push({ field, message: `is not a parameter of this operation${known}` });
    }
    return (Array.isArray(one) ? (one as unknown[]) : [one]).map((text) => {
      if (isScalar(text)) return `${encodeQuery(name)}=${encodeQuery(String(text))}`;
      faults.push({ field, message: "must be a text, a number, true, false, or a list of these" });
      return "";
    });
  });
  return faults.length > 0 ? faults : pairs.join("&");
}

const isScalar = (value: unknown): boolean =>
  typeof value === "string" ? value.isWellFormed() : typeof value === "number" || typeof value === "boolean";

/** Encodes all but unreserved characters (RFC 3986 §2.3), so that no parser finds a delimiter. A lone surrogate has been refused. */
const encodeQuery = (text: string): string =>
  encodeURIComponent(text.isWellFormed() ? text : "").replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
