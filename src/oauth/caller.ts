import { accessTokenOf, admit, authorityOf } from "../access/authenticate.ts";
import { originOf } from "../access/origin.ts";
import { markRecorded, targetOf } from "../access/refusals.ts";
import { recordInBackground } from "../audit/record.ts";
import type { AgentAuthority } from "../authority/authority.ts";
import { unlimitedPermissions } from "../grants/grant.ts";
import { newEntry, type RecordOrigin } from "../outbox/record.ts";
import { ADMIN } from "../permissions/grammar.ts";
import { requireClient, type OAuthCall } from "./client.ts";
import { OAuthError, statusOf } from "./errors.ts";

/** An agent that calls an endpoint for tokens: as a client, or with an access token of its own. */
export interface OAuthCaller {
  readonly agent: { readonly id: string; readonly name: string };
  readonly permissions: ReadonlySet<string>;
  readonly isAdmin: boolean;
  readonly authority: AgentAuthority;
}

/**
 * Authenticates the caller of the introspection or the revocation endpoint (RFC 7662 §2.1, RFC 7009 §2.1): by an access token in the
 * Authorization header, or as a client.
 *
 * @param toEnd the token that the caller ends. One that ends itself may do so whatever it is for, and if it is a delegated one.
 * @throws {OAuthError} as `requireClient`.
 * @throws {ApiError} as `admit`.
 */
export async function requireCaller(call: OAuthCall, toEnd?: string): Promise<OAuthCaller> {
  const token = accessTokenOf(call.request);
  if (token !== undefined) {
    if (["client_secret", "client_assertion"].some((name) => call.form.get(name) !== undefined)) {
      throw new OAuthError("invalid_request", "The caller authenticates itself in several ways. Use one of them.");
    }
    const caller = await admit({ ...call, isOwnEnd: token === toEnd }, 0);
    const { agent, permissions, isAdmin } = caller;
    return { agent, permissions, isAdmin, authority: authorityOf(caller, isAdmin ? [ADMIN] : []) };
  }
  const { agent, keyId } = await requireClient(call);
  const permissions = new Set(unlimitedPermissions(agent.grants));
  const isAdmin = permissions.has(ADMIN);
  // It stands on its key, as a token that the key were given now.
  const basis = { keyId, tokenId: "" };
  const authority = { agentId: agent.id, basis, version: agent.tokenVersion, required: isAdmin ? [ADMIN] : [] };
  return { agent, permissions, isAdmin, authority };
}

/** What a record says of a request of such a caller. */
export function originOfCaller(call: OAuthCall, { agent, authority: { basis } }: OAuthCaller): RecordOrigin {
  const actor = { type: "agent", id: agent.id, name: agent.name } as const;
  return { ...originOf(call), actor, keyId: basis.keyId ?? null, sessionId: basis.sessionId ?? null };
}

/** Records that a caller asked for what is not its to ask, and returns the error. @param permission what it would need. */
export function refusedTo(call: OAuthCall, caller: OAuthCaller, error: OAuthError, permission?: string): OAuthError {
  const about = { ...targetOf(call), status: statusOf(error), permission: permission ?? null };
  const refused = { ...about, agentId: caller.agent.id, outcome: "denied", message: error.fault.error } as const;
  recordInBackground(call, newEntry("request.refused", call.now, originOfCaller(call, caller), refused));
  return markRecorded(error);
}
