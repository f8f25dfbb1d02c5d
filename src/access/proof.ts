import type { RequestContext } from "../http/request-context.ts";
import { ApiError } from "../http/errors.ts";
import { useProof } from "../tokens/proofs.ts";
import type { Proof } from "../tokens/records.ts";
import { checkProof, type ProofFault } from "./dpop.ts";

type ProvenContext = Pick<RequestContext, "request" | "env" | "config" | "now">;

/**
 * Checks the DPoP proof of a request, all but that it was not used before.
 *
 * @param token the access token that is sent with it; undefined where a token is asked for.
 * @returns undefined for a request without one.
 */
export async function readProof(
  { request, config, now }: ProvenContext,
  token: string | undefined,
): Promise<Proof | ProofFault | undefined> {
  const text = request.headers.get("dpop");
  if (text === null) return undefined;
  return checkProof(text, { method: request.method, url: request.url, token }, config, now);
}

/** Uses a proof up. One D1 round trip. @throws {ApiError} 401 for one that was used before. */
export async function useProofOnce({ env }: Pick<ProvenContext, "env">, proof: Proof): Promise<void> {
  if (!(await useProof(env.DB, proof))) throw proofUsed();
}

/** 401 for a proof that was used before. */
export const proofUsed = (): ApiError =>
  proofRefused({ fault: "The proof was used before: each has a jti of its own." });

/** What an agent does whose tokens must be bound to a key (RFC 9449 §5.2). */
export const PROOF_REQUIRED =
  "This agent's tokens are bound to a key: send a proof of the key in the header DPoP (RFC 9449).";

/** 401 for a proof. */
export const proofRefused = ({ fault, nonce }: ProofFault): ApiError =>
  nonce === undefined
    ? new ApiError("invalid_dpop_proof", fault)
    : new ApiError("use_dpop_nonce", fault, { headers: { "DPoP-Nonce": nonce } });
