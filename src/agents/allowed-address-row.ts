import { sql, type Sql } from "../database/sql.ts";
import { networksOf } from "../validation/ip-address.ts";

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
