import { fromBase64, toBase64 } from "../crypto/base64.ts";
import { decodeUtf8 } from "../validation/utf8.ts";
import { isObject } from "../validation/is-object.ts";

/** The revision without sessions: every request says what it needs (https://modelcontextprotocol.io/specification/2026-07-28). */
const MODERN_VERSION = "2026-07-28";

/** The revisions that begin with `initialize`, the newest first. They differ in nothing that this server does. */
export const LEGACY_VERSIONS = ["2025-11-25", "2025-06-18"] as const;

export const SUPPORTED_VERSIONS: readonly string[] = [MODERN_VERSION, ...LEGACY_VERSIONS];

/** The codes of JSON-RPC 2.0 §5.1, and those that the MCP specification adds ("Error Codes"). */
export const RPC_ERRORS = {
  parse_error: -32700,
  invalid_request: -32600,
  method_not_found: -32601,
  invalid_params: -32602,
  header_mismatch: -32020,
  unsupported_version: -32022,
} as const;

export type RequestId = string | number;

/** A refusal as a JSON-RPC error response. */
export interface ProtocolError {
  readonly status: 200 | 400 | 404 | 406 | 413 | 415;
  readonly code: (typeof RPC_ERRORS)[keyof typeof RPC_ERRORS];
  readonly message: string;
  readonly data?: unknown;
  /** Undefined if the request's own could not be read. */
  readonly id: RequestId | undefined;
}

/** A message that was read, with everything that its headers and its body say about it. */
export interface RpcMessage {
  readonly era: "modern" | "legacy";
  readonly method: string;
  readonly params: Readonly<Record<string, unknown>>;
  /** Undefined for a notification, which gets no response. */
  readonly id: RequestId | undefined;
}

type Headers = Pick<globalThis.Headers, "get" | "has">;

/** How deep a message may be nested. A tool's arguments are a few levels deep. */
const MAX_DEPTH = 64;

/** The parameter that `Mcp-Name` repeats. */
const NAMED: Readonly<Record<string, string>> = {
  "tools/call": "name",
  "prompts/get": "name",
  "resources/read": "uri",
};

const META = "io.modelcontextprotocol/";

/**
 * Reads the body of a POST as one JSON-RPC message, and compares it with the headers that repeat parts of it. Whatever stands in
 * between may have decided by the headers, so the two must say the same
 * (https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#server-validation).
 *
 * A request with `MCP-Protocol-Version: 2026-07-28` is of the modern era; one with an older version, or an `initialize`, is legacy. One
 * without the header is legacy too, unless it says in any other place that it is modern.
 */
export function readMessage(text: string, headers: Headers): RpcMessage | ProtocolError {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return refuse("parse_error", "The body is not valid JSON.");
  }
  if (Array.isArray(value)) return refuse("invalid_request", "Batches are not accepted: send one message in a POST.");
  if (!isObject(value) || isDeep(value)) return refuse("invalid_request", "The body is not a JSON-RPC message.");
  const id = value.id === undefined || isRequestId(value.id) ? value.id : null;
  if (id === null) return refuse("invalid_request", "The id of a request is a string or a whole number.");
  const { jsonrpc, method, params = {} } = value;
  if (jsonrpc !== "2.0") return refuse("invalid_request", 'A message has "jsonrpc": "2.0".', id);
  if (typeof method !== "string") {
    return refuse("invalid_request", "The body is neither a request nor a notification: it has no method.", id);
  }
  if (!isObject(params)) return refuse("invalid_params", "params is an object.", id);

  const version = headers.get("mcp-protocol-version");
  const meta = isObject(params._meta) ? params._meta : undefined;
  const declared = meta?.[`${META}protocolVersion`];
  const message = { method, params, id };
  if (version === null) {
    if (declared !== undefined || headers.has("mcp-method")) {
      return refuse("header_mismatch", "The header MCP-Protocol-Version is missing.", id);
    }
    return { era: "legacy", ...message };
  }
  if (declared !== undefined && declared !== version) {
    const what = `The header MCP-Protocol-Version does not match ${META}protocolVersion in params._meta.`;
    return refuse("header_mismatch", what, id);
  }
  if (version !== MODERN_VERSION) {
    // `initialize` names the version that the client wants in its body, and the answer names the one that it gets.
    if (method === "initialize" || LEGACY_VERSIONS.some((one) => one === version)) return { era: "legacy", ...message };
    return {
      ...refuse("unsupported_version", "Unsupported protocol version", id),
      data: { supported: SUPPORTED_VERSIONS, requested: version.slice(0, 100) },
    };
  }
  return modernFault(message, meta, headers) ?? { era: "modern", ...message };
}

/** What a message of the modern era lacks, or says otherwise in its headers. Notifications have no headers that are required. */
function modernFault(
  { method, params, id }: Omit<RpcMessage, "era">,
  meta: Readonly<Record<string, unknown>> | undefined,
  headers: Headers,
): ProtocolError | undefined {
  const named = headers.get("mcp-method");
  if (named === null ? id !== undefined : named !== method) {
    const what = named === null ? "is missing" : "does not match the method of the body";
    return refuse("header_mismatch", `The header Mcp-Method ${what}.`, id);
  }
  if (id === undefined) return undefined;
  if (typeof meta?.[`${META}protocolVersion`] !== "string" || !isObject(meta[`${META}clientCapabilities`])) {
    const what = `params._meta needs ${META}protocolVersion and ${META}clientCapabilities.`;
    return refuse("invalid_params", what, id);
  }
  const parameter = NAMED[method];
  if (parameter === undefined) return undefined;
  const expected = params[parameter];
  if (typeof expected !== "string") return refuse("invalid_params", `params.${parameter} is a string.`, id);
  const header = headers.get("mcp-name");
  const name = header === null ? undefined : decodeHeader(header);
  if (name === expected) return undefined;
  const what = header === null ? "is missing" : `does not match params.${parameter}`;
  return refuse("header_mismatch", `The header Mcp-Name ${what}.`, id);
}

/**
 * Decodes a header value that may be wrapped as `=?base64?…?=`, because it is not plain ASCII
 * (https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#value-encoding). Undefined if what is
 * wrapped is not base64 of UTF-8.
 */
function decodeHeader(value: string): string | undefined {
  const [, wrapped] = /^=\?base64\?(.*)\?=$/.exec(value) ?? [];
  if (wrapped === undefined) return value;
  try {
    const bytes = fromBase64(wrapped);
    // The decoder takes other spellings of the same bytes too.
    if (toBase64(bytes) !== wrapped) return undefined;
    return decodeUtf8(bytes);
  } catch {
    return undefined;
  }
}

/** Returns a protocol error. Its HTTP status is 400, but for methods that do not exist. */
export function refuse(code: keyof typeof RPC_ERRORS, message: string, id?: RequestId): ProtocolError {
  return { status: code === "method_not_found" ? 404 : 400, code: RPC_ERRORS[code], message, id };
}

/** A number that JSON cannot carry exactly would come back as another one. */
const isRequestId = (value: unknown): value is RequestId =>
  (typeof value === "string" && value.length <= 256) || Number.isSafeInteger(value);

/** Whether a value is nested deeper than any message has to be. `JSON.stringify` overflows the stack on what `JSON.parse` reads. */
function isDeep(value: unknown, depth = 1): boolean {
  if (typeof value !== "object" || value === null) return false;
  return depth > MAX_DEPTH || Object.values(value).some((one) => isDeep(one, depth + 1));
}
