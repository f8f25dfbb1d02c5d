import { sql, type Sql } from "../database/sql.ts";
import { networksOf } from "../validation/ip-address.ts";
import type { Authority, ProvenKey } from "./authority.ts";
import { basisAllowedIps } from "./token-row.ts";

/** SQL that is true if an address may use a key `k` of an agent `a`: both have to allow it, so a key is never wider than its agent. */
export const mayUseKey = (address: string): Sql =>
  sql`${isAllowedAddress(sql`a.allowed_ips`, address)} AND ${isAllowedAddress(sql`k.allowed_ips`, address)}`;

/**
 * SQL that is true if a list of networks has one that the address is in, or if there is no list (null). An address that is not known
 * is in none.
 *
 * @param list the column, for example `a.allowed_ips` or `k.allowed_ips`. Both have to hold: a key is never wider than its agent.
 * @param address as `CF-Connecting-IP` names it.
 */
export const isAllowedAddress = (list: Sql, address: string): Sql =>
  sql`(${list} IS NULL OR EXISTS (SELECT 1 FROM json_each(${list}) n
    WHERE n.value IN (SELECT value FROM json_each(${JSON.stringify(networksOf(address))}))))`;

/** SQL that is true of the key `k` by which a request proves itself. */
export const isProvenKey = ({ hashes }: ProvenKey): Sql =>
  sql`k.hash IN (SELECT value FROM json_each(${JSON.stringify(hashes)}))`;

/** SQL that is true if each of these stands in a list, which is a JSON array. @param list null: in none. */
export const isPartOf = (values: readonly string[], list: Sql): Sql =>
  sql`NOT EXISTS (SELECT 1 FROM json_each(${JSON.stringify(values)}) v
    WHERE v.value NOT IN (SELECT o.value FROM json_each(coalesce(${list}, '[]')) o))`;

/**
 * SQL for the networks of the key by which an agent has proved itself that changes its own keys: the key in the request, or that of its token.
 * A JSON array; null for all, and for everybody else. No key that is made with it may be used from others.
 */
export function networksOfProof(by: Authority, agentId: string): Sql {
  if (by.agentId === undefined || by.agentId !== agentId) return sql`NULL`;
  if (!by.provenBy) return basisAllowedIps(by.basis);
  return sql`(SELECT k.allowed_ips FROM api_keys k WHERE k.agent_id = ${agentId} AND ${isProvenKey(by.provenBy)})`;
}
