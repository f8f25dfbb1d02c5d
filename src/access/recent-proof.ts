import { apiKeyHashes } from "../agents/api-key.ts";
import type { Authority } from "../authority/authority.ts";
import { MAX_PROOF_AGE_SECONDS } from "../http/challenge.ts";
import { reauthenticationRequired } from "../http/errors.ts";
import type { RequestContext } from "../http/request-context.ts";
import { givesAll } from "../tokens/authorization-details.ts";
import { requireAssertion } from "./assertion.ts";
import type { Caller } from "./authenticate.ts";
import { requireBrowser, type PersonCaller } from "./person.ts";

/** A call of an agent, or of a person who is signed in. */
interface ProvenCall extends Pick<RequestContext, "request" | "env" | "config" | "now" | "ipAddress"> {
  readonly caller: Caller | PersonCaller;
  readonly authority: Authority;
  readonly body?: unknown;
}

/**
 * Whether the caller proved who it is within the last {@link MAX_PROOF_AGE_SECONDS}: an agent by API key (`auth_time` of its token), a
 * person by signing in. A refresh is no proof, and neither is a token of the former format, which does not say. Nor is a token that was
 * narrowed, however new it is: see {@link isWhole}.
 */
export const hasRecentProof = (call: Pick<ProvenCall, "caller" | "now" | "config">): boolean =>
  isRecent(call) && isWhole(call);

function isRecent({ caller, now }: Pick<ProvenCall, "caller" | "now">): boolean {
  const provenAt = caller.kind === "agent" ? caller.claims.authTime : Math.floor(caller.session.authTime / 1000);
  return provenAt !== undefined && Math.floor(now / 1000) - provenAt <= MAX_PROOF_AGE_SECONDS;
}

/**
 * Whether the caller's token gives all that its agent has. An agent hands a narrower one to a part that it trusts with no more, which
 * would have everything with a key that it makes.
 */
const isWhole = ({ caller, now, config }: Pick<ProvenCall, "caller" | "now" | "config">): boolean =>
  caller.kind === "person" || givesAll(caller.tokenGrants, caller.agent.grants, config.catalogue, now);

/**
 * Requires a recent proof, as {@link requireRecentProof}, for making a key of an agent. The owner of an administrator makes none of it, and
 * would administer the deployment with it; neither does a command that a person has let in: whoever has stolen its token would do what no
 * command may, and for longer.
 *
 * @throws {ApiError} as {@link requireRecentProof}. In the batch, 403 `role_required` or `browser_required`.
 */
export async function requireProofForKey(
  call: ProvenCall & { readonly params: { readonly id: string } },
  apiKey?: string | null,
): Promise<Authority> {
  const authority = await requireRecentProof(call, apiKey);
  const isLess = authority.personId !== undefined && (authority.role === "owner" || authority.byCommand === true);
  return isLess ? { ...authority, keyFor: call.params.id } : authority;
}

/**
 * Requires of a command that its person has let it in within the last 5 minutes. Whoever has stolen its token would otherwise lead to
 * themselves, for longer than it is valid, what the deployment sends.
 *
 * @throws {ApiError} 403 `browser_required`.
 */
export function requireRecentCommand(call: Pick<ProvenCall, "caller" | "now">): void {
  if (!isRecent(call)) requireBrowser(call.caller, LET_IN_AGAIN);
}

const LET_IN_AGAIN = "This needs a proof of the last 5 minutes, which signing the command in again is.";

/**
 * Requires a recent proof: whoever has stolen an access token, or a session, may not make a key that outlives it, nor destroy what its
 * owner has.
 *
 * @param apiKey an agent's own key, if the request's body has one. It is checked in the batch that writes. A person has none.
 * @returns the authority for `batchAsCaller`, which then throws `AuthorityLostError` for a key that is not the caller's.
 * @throws {ApiError} 403 `reauthentication_required` for an older proof and no key; a person then confirms the request with a passkey.
 */
export async function requireRecentProof(call: ProvenCall, apiKey?: string | null): Promise<Authority> {
  const { caller, authority } = call;
  if (caller.kind === "person") {
    if (!hasRecentProof(call)) {
      requireBrowser(caller, LET_IN_AGAIN);
      await requireAssertion({ ...call, caller });
    }
    return authority;
  }
  if (apiKey && authority.agentId !== undefined) {
    const hashes = await apiKeyHashes(apiKey, call.config.peppers);
    return { ...authority, provenBy: { hashes, address: call.ipAddress } };
  }
  if (hasRecentProof(call)) return authority;
  throw reauthenticationRequired(
    isWhole(call)
      ? "The access token goes back to an older proof."
      : "The access token gives less than its agent has, and a key would give all of it.",
  );
}
