import type { TokenBasis } from "./token-row.ts";

/**
 * The part of a caller's authority that can be revoked. `batchAsCaller` makes it a condition of the
 * transaction, so that a caller writes only while it has all of this authority.
 */
export interface Authority {
  readonly agentId: string;
  /** The session or the key that the access token stands on. */
  readonly basis: TokenBasis;
  /** `ver` of the access token. */
  readonly version: number;
  /** The permissions that the request needs, each as it is stored with the agent. */
  readonly required: readonly string[];
  /** An API key that the request proves itself with, as its hash under each key of `SECRET_PEPPER`. */
  readonly keyHashes?: readonly string[];
  /** The version of the grants that the request was judged by. */
  readonly grantsVersion?: number;
}

/** Why a caller has lost its authority. */
export type AuthorityLoss =
  /** The token or its session was revoked, or the agent is not active. */
  | { readonly reason: "token_revoked" }
  /** The API key in the request is not one of the agent's. */
  | { readonly reason: "key_refused" }
  /** The agent's grants have changed since the request was judged. */
  | { readonly reason: "grants_changed" }
  /** `granted`: the agent's permissions now. */
  | { readonly reason: "insufficient_permissions"; readonly required: string | undefined; readonly granted: string[] };

/** The caller lost its authority while its request was handled. Nothing was written. */
export class AuthorityLostError extends Error {
  readonly loss: AuthorityLoss;

  constructor(loss: AuthorityLoss, options?: ErrorOptions) {
    super(`the caller lost its authority: ${loss.reason}`, options);
    this.name = "AuthorityLostError";
    this.loss = loss;
  }
}
