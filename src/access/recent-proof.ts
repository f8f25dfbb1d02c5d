import { apiKeyHashes } from "../agents/api-key.ts";
import type { Authority } from "../authority/authority.ts";
import { reauthenticationRequired } from "../http/errors.ts";
import type { RequestContext } from "../http/request-context.ts";
import type { Caller } from "./authenticate.ts";

/** How old a proof by API key may be for what outlives a stolen access token, in seconds. */
const RECENT_PROOF_SECONDS = 300;

/** A call of an authenticated agent. */
interface ProvenCall extends Pick<RequestContext, "config" | "now"> {
  readonly caller: Caller;
  readonly authority: Authority;
}

/**
 * Whether the caller's token goes back to a proof by API key of the last {@link RECENT_PROOF_SECONDS} (`auth_time`). A refresh is no
 * proof, and neither is a token of the former format, which does not say.
 */
export const hasRecentProof = ({ caller, now }: Pick<ProvenCall, "caller" | "now">): boolean =>
  caller.claims.authTime !== undefined && Math.floor(now / 1000) - caller.claims.authTime <= RECENT_PROOF_SECONDS;

/**
 * Requires a recent proof by API key: whoever has stolen an access token may not make a key that outlives it, nor destroy what its owner
 * has.
 *
 * @param apiKey the caller's own key, if the request's body has one. It is checked in the batch that writes.
 * @returns the authority for `batchAsCaller`, which then throws `AuthorityLostError` for a key that is not the caller's.
 * @throws {ApiError} 403 `reauthentication_required` for an older proof and no key.
 */
export async function requireRecentProof(call: ProvenCall, apiKey?: string | null): Promise<Authority> {
  if (apiKey) return { ...call.authority, keyHashes: await apiKeyHashes(apiKey, call.config.peppers) };
  if (hasRecentProof(call)) return call.authority;
  throw reauthenticationRequired("The access token goes back to an older proof.");
}
