/**
 * The part of a caller's authority that can be revoked. `batchAsCaller` makes it a condition of the
 * transaction, so that a caller writes only while it has all of this authority.
 */
export interface Authority {
  readonly agentId: string;
  readonly sessionId: string;
  /** `iat` of the access token, in seconds. */
  readonly issuedAt: number;
  /** The permissions that the request needs, each as it is stored with the agent. */
  readonly required: readonly string[];
}

/** Why a caller has lost its authority. */
export type AuthorityLoss =
  /** The token or its session was revoked, or the agent is not active. */
  | { readonly reason: "token_revoked" }
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
