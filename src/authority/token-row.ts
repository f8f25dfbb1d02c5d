import { sql, type Sql } from "../database/sql.ts";
import { DATABASE_NOW } from "../database/time.ts";

/**
 * What an access token stands on beside its agent: its session, or for a token without a refresh token the key that it was issued for. The
 * `jti` of such a token is part of it, because the token can be revoked by itself.
 */
export type TokenBasis =
  | { readonly sessionId: string; readonly keyId?: undefined }
  | { readonly keyId: string; readonly tokenId: string; readonly sessionId?: undefined };

/** One agent that an access token depends on, and what it has proved itself with. */
export interface TokenLink {
  readonly agentId: string;
  /** The agent's token version. */
  readonly version: number;
  readonly basis: TokenBasis;
  /** The `jti` of the token that an exchange has issued to it (RFC 8693): what was exchanged from that one ends with it. */
  readonly exchanged?: string;
}

/** What stands in the place of a key's id if the token was issued for one of a trusted issuer: this, and the issuer's URL. */
const ISSUER_PREFIX = "issuer:";

/** The basis of a token that is issued for one of a trusted issuer. It stands with the agent and with the configuration alone. */
export const issuerKeyId = (issuer: string): string => ISSUER_PREFIX + issuer;

/** The trusted issuer that a token goes back to; undefined for a token that stands on a key of the agent. */
export const issuerOfKeyId = (keyId: string): string | undefined =>
  keyId.startsWith(ISSUER_PREFIX) ? keyId.slice(ISSUER_PREFIX.length) : undefined;

/** SQL that is true of a key `k` that has not ended. */
export const KEY_STANDS: Sql = sql`(k.expires_at IS NULL OR k.expires_at > ${DATABASE_NOW})`;

/** Sessions of the former format keep the prefix of their ids also once they are converted. */
const FORMER_SESSION_PREFIX = "fam_";

/**
 * SQL that is 1 if what a token of agent `a` stands on has not ended, and 0 otherwise. The status and the version of the agent are
 * checked apart.
 */
function basisStands(basis: TokenBasis): Sql {
  if (basis.keyId !== undefined) {
    // Whether the issuer is still trusted is known without the database: the claims of the token are refused if it is not.
    const stands =
      issuerOfKeyId(basis.keyId) === undefined
        ? sql`EXISTS (SELECT 1 FROM api_keys k WHERE k.id = ${basis.keyId} AND k.agent_id = a.id AND ${KEY_STANDS})`
        : sql`1`;
    return sql`(${stands}
      AND NOT EXISTS (SELECT 1 FROM ended_tokens e WHERE e.jti = ${basis.tokenId}))`;
  }
  const { sessionId } = basis;
  const session = sql`(SELECT s.ended_at IS NULL FROM sessions s WHERE s.id = ${sessionId} AND s.agent_id = a.id)`;
  if (!sessionId.startsWith(FORMER_SESSION_PREFIX)) return sql`coalesce(${session}, 0)`;
  // Its row is the family until its next refresh, and a session from then on.
  return sql`coalesce(${session},
    (SELECT f.revoked_at IS NULL FROM refresh_families f WHERE f.id = ${sessionId} AND f.agent_id = a.id), 0)`;
}

/** SQL that is 1 if what a link of agent `a` stands on has not ended, and 0 otherwise, as {@link basisStands} says it. */
export const linkStands = ({ basis, exchanged }: Pick<TokenLink, "basis" | "exchanged">): Sql =>
  exchanged === undefined
    ? basisStands(basis)
    : sql`(${basisStands(basis)} AND NOT EXISTS (SELECT 1 FROM ended_tokens e WHERE e.jti = ${exchanged}))`;

/** SQL for the id of the key that a token goes back to: of its session, or of the token itself. */
export const basisKeyId = ({ sessionId, keyId }: TokenBasis): Sql =>
  keyId === undefined ? sql`(SELECT s.key_id FROM sessions s WHERE s.id = ${sessionId})` : sql`${keyId}`;

/** SQL for the networks that the key of a token's session, or of the token itself, may be used from: a JSON array, or null for all. */
export const basisAllowedIps = ({ sessionId, keyId }: TokenBasis): Sql =>
  keyId === undefined
    ? sql`(SELECT s.allowed_ips FROM sessions s WHERE s.id = ${sessionId})`
    : sql`(SELECT k.allowed_ips FROM api_keys k WHERE k.id = ${keyId})`;
