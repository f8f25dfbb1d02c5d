import { ApiError, unauthorized } from "../http/errors.ts";
import { describePlaces, type TokenPlace } from "../policy/token-place.ts";
import { decodeBasic } from "../http/basic.ts";

/**
 * Returns the access token of a request to a service, from the one place where it is.
 *
 * @param places where tokens of this service may be beside `Authorization: Bearer`.
 * @param hint a sentence for those that send none.
 * @throws {ApiError} 401 `missing_token`; 400 `several_tokens` for tokens in two places, equal or not.
 */
export function readAgentToken(headers: Headers, places: readonly TokenPlace[], hint?: string): string {
  // White space around a header's value is no part of it.
  const authorization = headers.get("authorization")?.trim() ?? "";
  const own = places.flatMap((place) => (place.scheme === "header" ? (headers.get(place.name)?.trim() ?? "") : []));
  const given = [authorization, ...own].filter((value) => value !== "");
  // Two headers of one name arrive as one, joined by a comma and a space (https://fetch.spec.whatwg.org/#concept-header-list-get).
  if (given.length > 1 || given.some((value) => value.includes(", "))) {
    throw new ApiError(
      "several_tokens",
      `The request has tokens in two places. Send one, as ${describePlaces(places)}.`,
    );
  }
  const token = authorization === "" ? given[0] : tokenOf(authorization, places, headers);
  if (token === undefined || /\s/.test(token)) {
    throw unauthorized(
      "missing_token",
      `Send an access token as ${describePlaces(places)}. POST /agents/verify gives one.${hint === undefined ? "" : ` ${hint}`}`,
    );
  }
  return token;
}

/** Returns the token in an `Authorization` header, or undefined if there is none in a place where one may be. */
function tokenOf(authorization: string, places: readonly TokenPlace[], headers: Headers): string | undefined {
  const [, name = "", value = ""] = /^(\S+) +(\S+)$/.exec(authorization) ?? [];
  const scheme = name.toLowerCase();
  if (scheme === "bearer" || scheme === "dpop") return value;
  if (scheme === "token") return places.some((place) => place.scheme === "token") ? value : undefined;
  if (scheme !== "basic" || isCrossSite(headers)) return undefined;
  const pair = decodeBasic(value);
  if (!pair) return undefined;
  const [user, password] = pair;
  const found = places.flatMap((place) => {
    if (place.scheme !== "basic") return [];
    const [token, other] = place.half === "user" ? [user, password] : [password, user];
    return token !== "" && place.other.test(other) ? [token] : [];
  });
  return found.length === 1 ? found[0] : undefined;
}

/**
 * Returns whether a browser sends a request of another site. It may add a user and a password that it remembers to such a request by itself,
 * which a page cannot make it do with any other scheme (https://www.w3.org/TR/fetch-metadata/).
 */
const isCrossSite = (headers: Headers): boolean => !/^(?:same-origin|none)?$/.test(headers.get("sec-fetch-site") ?? "");
