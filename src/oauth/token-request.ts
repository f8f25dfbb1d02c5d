import * as z from "zod/mini";
import type { Proof } from "../tokens/records.ts";
import { originOf } from "../access/origin.ts";
import { PROOF_REQUIRED, readProof } from "../access/proof.ts";
import type { Agent } from "../agents/agent.ts";
import { validatePermissions } from "../agents/grants.ts";
import { recordInBackground } from "../audit/record.ts";
import { grantsNow } from "../grants/grant.ts";
import { newEvent } from "../outbox/event.ts";
import { newEntry } from "../outbox/record.ts";
import type { GrantLimits } from "../permissions/grant.ts";
import { issueToClient, type ClientToken } from "../tokens/client.ts";
import { tokenSettings } from "../tokens/issuer.ts";
import { useProof } from "../tokens/proofs.ts";
import type { IssuedToken, TokenPair } from "../tokens/records.ts";
import { grantDetails, readRequestedDetails, type RequestedDetails } from "../tokens/requested-details.ts";
import type { OAuthCall } from "./client.ts";
import { OAuthError } from "./errors.ts";
import { readResources } from "./resource.ts";
import { once } from "../validation/once.ts";

/** What the grants of the token endpoint have in common: parameters that narrow a token, the key that it is bound to, and the answer. */

/** RFC 6749 §5.1. */
export const tokenResponse = once(() =>
  z.object({
    access_token: z.string(),
    token_type: z.enum(["Bearer", "DPoP"]),
    expires_in: z.int().check(z.describe("Seconds until the access token expires.")),
    scope: z.string().check(z.describe("The permissions in the token, with spaces between.")),
    refresh_token: z.optional(z.string()),
    issued_token_type: z.optional(z.string().check(z.describe("Of an exchange (RFC 8693 §2.2.1)."))),
    authorization_details: z.optional(
      z
        .array(z.record(z.string(), z.any()))
        .check(z.describe("The permissions in the token that have limits or an end (RFC 9396).")),
    ),
  }),
);
export type TokenResponse = z.input<ReturnType<typeof tokenResponse>>;

/** The proof of a request for a token, which the token is then bound to (RFC 9449 §5). @throws {OAuthError} */
export async function readTokenProof(call: OAuthCall): Promise<Proof | undefined> {
  const proof = await readProof(call, undefined);
  if (!proof || !("fault" in proof)) return proof;
  if (proof.nonce === undefined) throw new OAuthError("invalid_dpop_proof", proof.fault);
  throw new OAuthError({ error: "use_dpop_nonce", nonce: proof.nonce }, proof.fault);
}

/**
 * Uses the proof of a client that has authenticated itself. Returns the thumbprint of its key, or null without one.
 *
 * @param agents those that the token is to be of.
 * @throws {OAuthError} `invalid_dpop_proof` for a proof that was used before, and without one if the tokens of one of the agents must be
 * bound to a key.
 */
export async function useTokenProof(
  { env }: OAuthCall,
  proof: Proof | undefined,
  agents: readonly Pick<Agent, "requiresDpop">[],
): Promise<string | null> {
  if (!proof) {
    if (agents.some(({ requiresDpop }) => requiresDpop)) throw new OAuthError("invalid_dpop_proof", PROOF_REQUIRED);
    return null;
  }
  if (await useProof(env.DB, proof)) return proof.jkt;
  throw new OAuthError("invalid_dpop_proof", "The proof was used before: each has a jti of its own.");
}

/** As many permissions as an agent can have. */
const MAX_SCOPE_LENGTH = 50;

/** The permissions of the parameter `scope` (RFC 6749 §3.3). @throws {OAuthError} `invalid_scope` for what nobody can have. */
export function readScope({ form, config }: OAuthCall): readonly string[] | undefined {
  const text = form.get("scope");
  if (text === undefined) return undefined;
  const scope = [...new Set(text.split(" ").filter(Boolean))];
  if (scope.length === 0 || scope.length > MAX_SCOPE_LENGTH) {
    throw new OAuthError("invalid_scope", `scope must name 1 to ${MAX_SCOPE_LENGTH} permissions.`);
  }
  const [fault] = validatePermissions(scope, config.catalogue);
  if (fault) throw new OAuthError("invalid_scope", `${fault.permission.slice(0, 100)}: ${fault.message}`);
  return scope;
}

/** The parameter `authorization_details` (RFC 9396 §2); undefined without it. @throws {OAuthError} for what nobody can have. */
export function readDetails({ form, config, now }: OAuthCall): RequestedDetails | undefined {
  const text = form.get("authorization_details");
  if (text === undefined) return undefined;
  const read = readRequestedDetails(text, config, now);
  if ("fault" in read) throw new OAuthError("invalid_authorization_details", read.fault);
  return read.details;
}

/**
 * What was asked for by `authorization_details`, as the agent may have it.
 *
 * @param by.held the grants that the token can be of. @param by.at the time at which they are, in milliseconds.
 * @throws {OAuthError} for what is wider than each of them.
 */
export function requireDetails(
  { config }: OAuthCall,
  requested: RequestedDetails | undefined,
  { held, at }: { held: readonly GrantLimits[]; at: number },
): RequestedDetails | undefined {
  if (!requested) return undefined;
  const granted = grantDetails(requested, held, config.catalogue, at);
  if ("fault" in granted) throw new OAuthError("invalid_authorization_details", granted.fault);
  return granted.details;
}

/** @throws {OAuthError} `invalid_target` */
export function requireResources(call: OAuthCall): readonly string[] | null {
  const read = readResources(call.form.all("resource"), call);
  if ("fault" in read) throw new OAuthError("invalid_target", read.fault);
  return read.resources;
}

export function toTokenResponse(token: IssuedToken | TokenPair): TokenResponse {
  return {
    access_token: token.accessToken,
    token_type: token.boundTo === null ? "Bearer" : "DPoP",
    expires_in: token.expiresIn,
    scope: token.scope.join(" "),
    ...("refreshToken" in token && { refresh_token: token.refreshToken }),
    ...(token.details && { authorization_details: [...token.details] }),
  };
}

/**
 * Issues a token to a client that has proved itself, and records it.
 *
 * @param issued `requested` is what it has asked for by `authorization_details`.
 * @param how the end of the record's message.
 * @throws {OAuthError} `invalid_authorization_details`, `invalid_dpop_proof`.
 */
export async function issueToProven(
  call: OAuthCall,
  issued: Pick<ClientToken, "client" | "scope" | "resources"> & {
    readonly requested: RequestedDetails | undefined;
    readonly proof: Proof | undefined;
  },
  how: string,
): Promise<TokenResponse> {
  const { config, now, request, ipAddress } = call;
  const { client, scope, resources, requested, proof } = issued;
  const { agent, keyId, at } = client;
  const details = requireDetails(call, requested, { held: grantsNow(agent.grants, at), at });
  const boundTo = await useTokenProof(call, proof, [agent]);
  const token = await issueToClient(
    { client, scope, details, resources, boundTo, now },
    tokenSettings(config, request.url),
    config.catalogue,
  );
  const { id, name } = agent;
  const origin = { ...originOf(call), actor: { type: "agent", id, name } as const, keyId };
  recordInBackground(call, newEntry("token.issued", now, origin, { agentId: id, message: `token issued: ${how}` }), {
    event: newEvent("agent.verified", id, now, {
      agent_id: id,
      verified_at: new Date(now).toISOString(),
      ip_address: ipAddress,
    }),
  });
  return toTokenResponse(token);
}
