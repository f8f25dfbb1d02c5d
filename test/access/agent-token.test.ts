import { describe, expect, it } from "vitest";
import { readAgentToken } from "../../src/access/agent-token.ts";
import type { ApiError } from "../../src/http/errors.ts";
import {
  GITHUB_TOKEN_PLACES,
  STRIPE_TOKEN_PLACES,
  ZENDESK_TOKEN_PLACES,
  type TokenPlace,
} from "../../src/policy/token-place.ts";

const T = "eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl";
const basic = (pair: string) => `Basic ${btoa(pair)}`;
const KEY: readonly TokenPlace[] = [{ scheme: "header", name: "x-api-key" }];

/** The token, or the code of the error. */
function read(headers: Record<string, string>, places: readonly TokenPlace[]): string {
  try {
    return readAgentToken(new Headers(headers), places);
  } catch (error) {
    const { code, fields } = error as ApiError;
    // A browser that is asked for Basic remembers a password, and sends it with the requests of every page.
    expect(fields.headers?.["WWW-Authenticate"] ?? "Bearer").toMatch(/^Bearer/);
    return code;
  }
}

describe("an agent's token", () => {
  it.each([
    ["GitHub's Bearer", GITHUB_TOKEN_PLACES, { authorization: `bearer ${T}` }],
    ["GitHub's token", GITHUB_TOKEN_PLACES, { authorization: `token ${T}` }],
    ["GitHub's token in capitals", GITHUB_TOKEN_PLACES, { authorization: `TOKEN  ${T}` }],
    ["an installation's user", GITHUB_TOKEN_PLACES, { authorization: basic(`x-access-token:${T}`) }],
    ["a user without a password", GITHUB_TOKEN_PLACES, { authorization: basic(`${T}:`) }],
    ["a user of x-oauth-basic", GITHUB_TOKEN_PLACES, { authorization: basic(`${T}:x-oauth-basic`) }],
    ["Stripe's user", STRIPE_TOKEN_PLACES, { authorization: basic(`${T}:`) }],
    ["Zendesk's password", ZENDESK_TOKEN_PLACES, { authorization: basic(`agent@example.com/token:${T}`) }],
    ["a header of its own", KEY, { "x-api-key": T }],
    ["Bearer where there is another place", KEY, { authorization: `Bearer ${T}`, "x-api-key": "" }],
    [
      "Basic of a page's own origin",
      STRIPE_TOKEN_PLACES,
      { authorization: basic(`${T}:`), "sec-fetch-site": "same-origin" },
    ],
  ] as const)("is taken from %s", (_, places, headers) => {
    expect(read(headers, places)).toBe(T);
  });

  it.each([
    ["no header", GITHUB_TOKEN_PLACES, {}],
    ["a scheme of another service", STRIPE_TOKEN_PLACES, { authorization: `token ${T}` }],
    ["Basic of a service without it", KEY, { authorization: basic(`${T}:`) }],
    ["a password where the user is the token", STRIPE_TOKEN_PLACES, { authorization: basic(`${T}:${T}`) }],
    ["another user", GITHUB_TOKEN_PLACES, { authorization: basic(`octocat:${T}`) }],
    ["a user of Zendesk without /token", ZENDESK_TOKEN_PLACES, { authorization: basic(`agent@example.com:${T}`) }],
    ["no colon", STRIPE_TOKEN_PLACES, { authorization: basic(T) }],
    ["an empty half", STRIPE_TOKEN_PLACES, { authorization: basic(":") }],
    ["what is no base64", STRIPE_TOKEN_PLACES, { authorization: "Basic %%%" }],
    ["what is no UTF-8", STRIPE_TOKEN_PLACES, { authorization: "Basic /zo=" }],
    ["white space in it", STRIPE_TOKEN_PLACES, { authorization: basic("a b:") }],
    ["Basic of another site", STRIPE_TOKEN_PLACES, { authorization: basic(`${T}:`), "sec-fetch-site": "cross-site" }],
    [
      "Basic of a neighboring site",
      STRIPE_TOKEN_PLACES,
      { authorization: basic(`${T}:`), "sec-fetch-site": "same-site" },
    ],
    ["white space in a header of its own", KEY, { "x-api-key": `Bearer ${T}` }],
  ] as const)("is missing where there is %s", (_, places, headers) => {
    expect(read(headers, places)).toBe("missing_token");
  });

  it("is asked for with a hint of the service, if it has one", () => {
    const message = (hint?: string) => {
      try {
        return readAgentToken(new Headers(), KEY, hint);
      } catch (error) {
        return (error as ApiError).message;
      }
    };
    expect(message("Set it in the client.")).toMatch(/ gives one\. Set it in the client\.$/);
    expect(message()).toMatch(/ gives one\.$/);
  });

  it.each([
    ["in two headers, equal", KEY, { authorization: `Bearer ${T}`, "x-api-key": T }],
    ["in two headers, different", KEY, { authorization: `Bearer ${T}`, "x-api-key": "other" }],
    ["beside a scheme that is none of its places", KEY, { authorization: basic("user:password"), "x-api-key": T }],
    ["in one header twice", GITHUB_TOKEN_PLACES, { authorization: `Bearer ${T}, token ${T}` }],
    ["in a header of its own twice", KEY, { "x-api-key": `${T}, ${T}` }],
  ] as const)("is refused %s", (_, places, headers) => {
    expect(read(headers, places)).toBe("several_tokens");
  });
});
