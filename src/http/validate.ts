import type * as z from "zod/mini";
import { explainIssue } from "../schemas/explain-issue.ts";
import { ApiError, badRequest } from "./errors.ts";

/** Bodies of AgentAuth's own endpoints; proxied bodies have no limit. Bytes. */
const BODY_LIMIT = 64 * 1024;

/**
 * Reads and checks a JSON body.
 *
 * @throws {ApiError} 413, 415 or 400.
 */
export async function readBody(request: Request, schema: z.ZodMiniType | undefined): Promise<unknown> {
  const text = await readText(request);
  if (!schema) return undefined;
  if (text === "") {
    // A body of which nothing is required may be left out.
    const absent = schema.safeParse(undefined);
    if (absent.success) return absent.data;
    throw badRequest("The request needs a JSON body.");
  }
  if (!/^application\/(?:[\w.+-]+\+)?json\s*(?:;|$)/i.test(request.headers.get("content-type") ?? "")) {
    throw new ApiError(415, {
      code: "unsupported_media_type",
      error: "Unsupported media type",
      message: "Send the body as JSON, with Content-Type: application/json.",
    });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw badRequest("The body is not valid JSON.", undefined, "malformed_json");
  }
  return check(schema, value, "The body is not as it must be.");
}

/** @throws {ApiError} 400 naming each parameter. */
export function readQuery(url: URL, schema: z.ZodMiniType | undefined): unknown {
  if (!schema) return undefined;
  const seen: Record<string, string> = Object.create(null);
  for (const [name, value] of url.searchParams) {
    if (name in seen) throw badRequest(`The query parameter ${name.slice(0, 40)} stands twice.`);
    seen[name] = value;
  }
  return check(schema, { ...seen }, "The query is not as it must be.");
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

/** The body as text, given up as soon as it is longer than allowed. */
async function readText(request: Request): Promise<string> {
  if (Number(request.headers.get("content-length") ?? 0) > BODY_LIMIT) throw tooLarge();
  if (!request.body) return "";
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });
  let text = "";
  let size = 0;
  const reader = request.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return text + decoder.decode();
      size += value.byteLength;
      if (size > BODY_LIMIT) {
        await reader.cancel();
        throw tooLarge();
      }
      text += decoder.decode(value, { stream: true });
    }
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw badRequest("The body is not valid UTF-8, or broke off.", undefined, "malformed_json");
  }
}

function tooLarge(): ApiError {
  return new ApiError(413, {
    code: "body_too_large",
    error: "Payload too large",
    message: `A body may have ${BODY_LIMIT} bytes at the most.`,
  });
}
