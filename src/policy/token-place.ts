/** A place where a service's own clients put their credential, and agents their token, beside `Authorization: Bearer`. */
export type TokenPlace =
  /** `Authorization: token <token>`, as GitHub's clients write it. */
  | { readonly scheme: "token" }
  /** `Authorization: Basic`, with the token in one half and a text of this form in the other (RFC 7617). */
  | {
      readonly scheme: "basic";
      readonly half: "user" | "password";
      readonly other: RegExp;
      /** How it is written before it is encoded, for messages: `x-access-token:<access token>`. */
      readonly shown: string;
    }
  /** A header of its own, in lower case. */
  | { readonly scheme: "header"; readonly name: string };

/** https://docs.github.com/en/rest/authentication/authenticating-to-the-rest-api, and what git and older clients send. */
export const GITHUB_TOKEN_PLACES: readonly TokenPlace[] = [
  { scheme: "token" },
  { scheme: "basic", half: "password", other: /^x-access-token$/, shown: "x-access-token:<access token>" },
  { scheme: "basic", half: "user", other: /^(?:x-oauth-basic)?$/, shown: "<access token>:" },
];

/** https://docs.stripe.com/api/authentication: the key is the user name, and there is no password. */
export const STRIPE_TOKEN_PLACES: readonly TokenPlace[] = [
  { scheme: "basic", half: "user", other: /^$/, shown: "<access token>:" },
];

/** https://developer.zendesk.com/api-reference/introduction/security-and-auth/#api-token */
export const ZENDESK_TOKEN_PLACES: readonly TokenPlace[] = [
  { scheme: "basic", half: "password", other: /^.+\/token$/, shown: "email/token:<access token>" },
];

/** Returns where a token may be, as a part of a sentence. */
export function describePlaces(places: readonly TokenPlace[]): string {
  const shown = places.map((place) => {
    if (place.scheme === "header") return `${place.name}: <access token>`;
    return place.scheme === "token"
      ? "Authorization: token <access token>"
      : `Authorization: Basic, base64 of ${place.shown}`;
  });
  return ["Authorization: Bearer <access token>", ...shown].join(", or ");
}
