import { describe, expect, it } from "vitest";
import {
  ApiError,
  badRequest,
  errorResponse,
  ERRORS,
  forbidden,
  titleOf,
  type ErrorCode,
} from "../../src/http/errors.ts";
import { WRONG_API_KEY } from "../support/secrets.ts";
import { world } from "../support/world.ts";

/** Published SDKs compare `error` with these. */
const TITLES_IN_ERROR: ReadonlySet<string> = new Set([
  "Invalid credentials",
  "Insufficient permissions",
  "Rate limit exceeded",
]);
const codes = Object.keys(ERRORS) as ErrorCode[];

describe("an error", () => {
  it.each(codes)("%s has one shape, and shows its message in `error` unless SDKs know its title", async (code) => {
    const message = "What happened. What to do.";
    const response = errorResponse(new ApiError(code, message), "r-1");
    const title = titleOf(code);
    expect(title).toMatch(/^[A-Z][a-z ]+$/);
    expect(await response.json()).toStrictEqual({
      error: TITLES_IN_ERROR.has(title) ? title : message,
      title,
      message,
      status: ERRORS[code].status,
      code,
      request_id: "r-1",
    });
    expect([response.status, response.headers.get("cache-control")]).toEqual([ERRORS[code].status, "no-store"]);
  });

  it("keeps each of the titles that SDKs know to one kind of refusal", () => {
    expect(codes.filter((code) => TITLES_IN_ERROR.has(titleOf(code)))).toEqual([
      "invalid_credentials",
      "malformed_api_key",
      "agent_inactive",
      "insufficient_permissions",
      "rate_limited",
    ]);
  });

  it("says to a client that shows only `error` what is wrong and what to do", async () => {
    const self = world();
    const { token } = await self.agent();
    const json = { name: "An agent", owner_email: "nobody" };
    const shown = async (path: string, init: object) => (await self.call(path, init)).body.error;
    expect(await shown("/agents/register", { method: "POST", json })).toContain(
      "owner_email must be an e-mail address",
    );
    expect(await shown("/agents", {})).toContain("POST /agents/verify gives one");
    expect(await shown("/nowhere", {})).toBe("This path does not exist.");
    expect(await shown("/proxy/lab//things", { token })).toContain("empty segment");
    expect(await shown("/agents", { token })).toBe("Insufficient permissions");
    const wrong = { method: "POST", json: { agent_id: "agt_nobody", api_key: WRONG_API_KEY } };
    expect(await shown("/agents/verify", wrong)).toBe("Invalid credentials");
  });
});

/** `npm run check:types` reads these lines. */
describe("a code that is not in the list, or has another status", () => {
  it("does not compile", () => {
    // @ts-expect-error no such code
    const unlisted = () => new ApiError("no_such_code", "");
    // @ts-expect-error its status is 404
    const other = () => forbidden("not_found", "");
    // @ts-expect-error its status is 403
    const another = () => badRequest("", undefined, "insufficient_permissions");
    expect([unlisted, other, another]).toHaveLength(3);
  });
});
