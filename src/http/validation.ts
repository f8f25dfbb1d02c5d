import * as z from "zod/mini";
import { explainIssue } from "../validation/explain-issue.ts";
import { nameHint, shownName, unknownKeys } from "../validation/unknown-keys.ts";
import { bodyTimer, type StartTimer } from "./body-timer.ts";
import { ApiError, badRequest } from "./errors.ts";
import { once } from "../validation/once.ts";

/** Bodies of AgentAuth's own endpoints; proxied bodies have no limit. Bytes. */
const MAX_BODY_BYTES = 64 * 1024;

/** How long such a body may take. */
const BODY_LIMITS = { idleMs: 10_000, totalMs: 30_000 };

/** A body as it arrived, or why it did not. The fault is thrown only once the caller is known to be allowed. */
export type ReceivedBody = { readonly text: string } | { readonly fault: ApiError };

/**
 * Receives a request's whole body as text. Never rejects. The caller and the time are determined after this, so that a sender
 * cannot be authenticated first and finish its body after its rights have ended.
 *
 * hono's bodyLimit counts bytes but has no time limit.
 *
 * @returns a fault for a body that is too long (413), not UTF-8 (400), breaks off (400), or takes too long (408).
 */
export async function receiveBody(request: Request, start?: StartTimer): Promise<ReceivedBody> {
  try {
    return { text: await readText(request, start) };
  } catch (error) {
    if (error instanceof ApiError) return { fault: error };
    return { fault: badRequest("The body is not valid UTF-8, or broke off.", undefined, "malformed_json") };
  }
}

/** The schema of a route that takes no body: an empty body, or an object without fields, as some clients send for none. */
const NO_BODY = once(() => z.nullish(z.object({})));
const NO_QUERY = once(() => z.object({}));

/**
 * Parses a JSON body by its schema. A field that the schema does not name is refused, at any depth: a client that misspells an
 * option, or sends one that this version does not have, must not be told that it was done.
 *
 * @param schema without one, a body with any field is refused.
 * @throws {ApiError} 413, 408, 415 or 400.
 */
export function parseBody(
  received: ReceivedBody,
  contentType: string | null,
  schema: z.ZodMiniType | undefined,
): unknown {
  if ("fault" in received) throw received.fault;
  const { text } = received;
  if (text === "") {
    // A body of which nothing is required may be left out.
    const absent = (schema ?? NO_BODY()).safeParse(undefined);
    if (absent.success) return absent.data;
    throw badRequest("The request needs a JSON body.");
  }
  if (!/^application\/(?:[\w.+-]+\+)?json\s*(?:;|$)/i.test(contentType ?? "")) {
    throw new ApiError("unsupported_media_type", "Send the body as JSON, with Content-Type: application/json.");
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw badRequest("The body is not valid JSON.", undefined, "malformed_json");
  }
  // Some clients send null where there is nothing to send.
  if (!schema && value === null) return undefined;
  refuseUnknown(schema ?? NO_BODY(), value, "field");
  const parsed = check(schema ?? NO_BODY(), value, "The body is not valid.");
  return schema ? parsed : undefined;
}

/**
 * Parses the query of a URL by its schema. A parameter that the schema does not name, or that is given twice, is refused.
 *
 * @param schema without one, every parameter is refused.
 * @throws {ApiError} 400 naming each parameter.
 */
export function readQuery(url: URL, schema: z.ZodMiniType | undefined): unknown {
  const values: Record<string, string> = Object.create(null);
  const repeated = new Set<string>();
  for (const [name, value] of url.searchParams) {
    if (name in values) repeated.add(name);
    values[name] = value;
  }
  // A spread would lose nothing here, but a key `__proto__` has to stay a key.
  const given = Object.fromEntries(Object.entries(values));
  refuseUnknown(schema ?? NO_QUERY(), given, "parameter");
  if (repeated.size > 0) {
    const details = [...repeated].map((name) => ({ field: name, message: "is given more than once" }));
    throw badRequest(`The query is not valid. ${details[0]!.field} ${details[0]!.message}.`, details);
  }
  return schema && check(schema, given, "The query is not valid.");
}

/** @throws {ApiError} 400 naming each key that the schema does not have, and the one that was probably meant. */
function refuseUnknown(schema: z.ZodMiniType, value: unknown, kind: "field" | "parameter"): void {
  const details = unknownKeys(schema, value).map(({ path, known }) => ({
    field: shownName(path),
    message: `is not a ${kind} of this request.${nameHint(path.at(-1)!, known)}`,
  }));
  const [first] = details;
  if (first) throw badRequest(`${first.field} ${first.message}`, details, `unknown_${kind}`);
}

function check(schema: z.ZodMiniType, value: unknown, message: string): unknown {
  const parsed = schema.safeParse(value, { error: explainIssue });
  if (parsed.success) return parsed.data;
  const details = parsed.error.issues.slice(0, 100).map((issue) => ({
    field: issue.path.join(".").slice(0, 100) || "(body)",
    message: issue.message,
  }));
  const first = details[0];
  throw badRequest(first ? `${message} ${first.field} ${first.message}.` : message, details);
}

/** Reads the body as text, and stops as soon as it is longer or slower than allowed. */
async function readText(request: Request, start: StartTimer | undefined): Promise<string> {
  if (Number(request.headers.get("content-length") ?? 0) > MAX_BODY_BYTES) throw tooLarge();
  if (!request.body) return "";
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });
  const timer = bodyTimer(BODY_LIMITS, start);
  const reader = request.body.getReader();
  let text = "";
  let size = 0;
  try {
    for (;;) {
      const { done, value } = await timer.read(reader.read());
      if (done) return text + decoder.decode();
      size += value.byteLength;
      if (size > MAX_BODY_BYTES) throw tooLarge();
      text += decoder.decode(value, { stream: true });
    }
  } catch (error) {
    // Not awaited: a sender that hangs would delay its own error.
    void reader.cancel(error).catch(() => undefined);
    throw error;
  } finally {
    timer.stop();
  }
}

function tooLarge(): ApiError {
  return new ApiError("body_too_large", `A body may have ${MAX_BODY_BYTES} bytes at the most.`);
}
