import { withoutClaim } from "../approvals/idempotency.ts";
import { fromBase64Url, toBase64Url } from "../crypto/base64.ts";
import { sha256 } from "../crypto/digest.ts";
import { badRequest, forbidden, type ApiError } from "../http/errors.ts";
import type { RequestContext } from "../http/request-context.ts";
import { CHALLENGE_LIFE_MS, type Act } from "../people/challenge.ts";
import { actChallenge, confirmAct, listPasskeys, type Ceremony } from "../people/passkeys.ts";
import type { Assertion, RelyingParty } from "../people/webauthn.ts";
import { decodeUtf8 } from "../validation/utf8.ts";
import { requireBrowser, type PersonCaller } from "./person.ts";
import { publicOrigin } from "./session-cookie.ts";

/** The header of a request that is repeated with a person's confirmation. */
const ASSERTION_HEADER = "agentauth-assertion";

/** Base64url of the JSON of an assertion is at most this long. A signature with RSA has 512 bytes. */
const MAX_HEADER_LENGTH = 8192;

/** A request of a person, with its body as it was parsed. */
export interface PersonCall extends Pick<RequestContext, "request" | "env" | "config" | "now"> {
  readonly caller: PersonCaller;
  readonly body?: unknown;
}

/** Where this deployment's passkeys are used. */
function relyingParty({ config, request }: Pick<RequestContext, "config" | "request">): RelyingParty {
  const origin = publicOrigin(config, request);
  return { origin, id: new URL(origin).hostname };
}

export const ceremonyOf = (context: Pick<RequestContext, "config" | "request" | "now">): Ceremony => ({
  party: relyingParty(context),
  peppers: context.config.peppers,
  now: context.now,
});

/**
 * Requires that the person confirms exactly this request with a passkey: one assertion, for one request, good once. The challenge is
 * bound to the session, the method, the path with its query, the body and the decision.
 *
 * @param decision what is decided, where the body does not say it.
 * @throws {ApiError} 403 `reauthentication_required` with `assertion`, the options of `navigator.credentials.get`, for a request
 * without an assertion; 403 `assertion_refused` or `passkey_too_new`; 400 for a header that is not one.
 */
export async function requireAssertion(call: PersonCall, decision = ""): Promise<void> {
  const { request, env, caller } = call;
  requireBrowser(caller, "This has to be confirmed with a passkey.");
  const { method, url } = request;
  const { pathname, search } = new URL(url);
  const digest = toBase64Url(await sha256(JSON.stringify(call.body ?? null)));
  const act: Act = { what: `${method} ${pathname}${search}`, digest, decision };
  const header = request.headers.get(ASSERTION_HEADER);
  const by = { personId: caller.id, sessionId: caller.session.id };
  const ceremony = ceremonyOf(call);
  // Nothing here is what an Idempotency-Key is for: each time that an answer is asked for again is confirmed, and uses its confirmation up.
  const db = withoutClaim(env.DB);
  if (header === null) throw await confirmationRequired(db, act, { by, ceremony });
  switch (await confirmAct(db, parseAssertionHeader(header), act, { by, ceremony })) {
    case "confirmed":
      return;
    case "too_new":
      throw forbidden(
        "passkey_too_new",
        "This passkey was enrolled less than 24 hours ago beside others, and confirms nothing yet. Use another one.",
      );
    case "refused":
      throw forbidden(
        "assertion_refused",
        "AgentAuth-Assertion is not of a passkey of yours for exactly this request, or was used. Send the request without it for a new challenge.",
      );
  }
}

async function confirmationRequired(
  db: D1Database,
  act: Act,
  { by, ceremony }: { by: { personId: string; sessionId: string }; ceremony: Ceremony },
): Promise<ApiError> {
  const [challenge, found] = await Promise.all([
    actChallenge(ceremony, by.sessionId, act),
    listPasskeys(db, by.personId),
  ]);
  const credentialIds = found?.credentialIds ?? [];
  return forbidden(
    "reauthentication_required",
    credentialIds.length === 0
      ? "This has to be confirmed with a passkey, and you have none. Enrol one at /account."
      : "This has to be confirmed with a passkey. Repeat the request with AgentAuth-Assertion, the answer to `assertion`.",
    { assertion: requestOptions(challenge, ceremony, credentialIds) },
  );
}

/** The options of `navigator.credentials.get` as JSON (https://www.w3.org/TR/webauthn-3/#dictdef-publickeycredentialrequestoptionsjson). */
export const requestOptions = (challenge: string, { party }: Ceremony, credentialIds: readonly string[]) => ({
  challenge,
  rpId: party.id,
  userVerification: "required" as const,
  timeout: CHALLENGE_LIFE_MS,
  allowCredentials: credentialIds.map((id) => ({ type: "public-key" as const, id })),
});

/** @throws {ApiError} 400 */
function parseAssertionHeader(header: string): Assertion {
  const bytes = header.length > MAX_HEADER_LENGTH ? undefined : fromBase64Url(header);
  const assertion = bytes && toAssertion(parseJson(bytes));
  if (assertion) return assertion;
  throw badRequest(
    "AgentAuth-Assertion is not base64url of the JSON {id, clientDataJSON, authenticatorData, signature}, each in base64url.",
  );
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(decodeUtf8(bytes) ?? "");
  } catch {
    return undefined;
  }
}

/** Reads an assertion from JSON in which each field is base64url. Undefined for anything else. */
export function toAssertion(value: unknown): Assertion | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { id, ...rest } = value as Record<string, unknown>;
  const [clientDataJSON, authenticatorData, signature] = ["clientDataJSON", "authenticatorData", "signature"].map(
    (name) => (typeof rest[name] === "string" ? fromBase64Url(rest[name]) : undefined),
  );
  if (typeof id !== "string" || !clientDataJSON || !authenticatorData || !signature) return undefined;
  return { id, clientDataJSON, authenticatorData, signature };
}
