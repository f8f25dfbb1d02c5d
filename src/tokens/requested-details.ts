import type { Config } from "../config/config.ts";
import { expandGrants } from "../grants/grant.ts";
import { makeGrants } from "../grants/put-grants.ts";
import type { GrantLimits } from "../permissions/grant.ts";
import { isGranted } from "../permissions/match.ts";
import type { Catalogue } from "../permissions/catalogue.ts";
import { isNarrowerWhere } from "../policy/narrower.ts";
import { isObject } from "../validation/is-object.ts";
import { GRANT_TYPE, MIN_GRANT_LIFE_MS, toAuthorizationDetails } from "./authorization-details.ts";

/** What a client asks for by `authorization_details` (RFC 9396 §2): permissions, each with how far it is to reach and until when. */
export type RequestedDetails = readonly GrantLimits[];

const MAX_DETAILS = 20;
/** Beside them, a token has room for its other claims. */
const MAX_LENGTH = 4000;
const MEMBERS: ReadonlySet<string> = new Set(["type", "permission", "where", "expires_at"]);

/**
 * Reads the parameter `authorization_details`. What it asks for is valid, but nobody may have it yet.
 *
 * @param now milliseconds.
 * @returns what is wrong, as a sentence: a type that is not known, a member too many, or limits that a grant cannot have (RFC 9396 §5).
 */
export function readRequestedDetails(
  text: string,
  config: Pick<Config, "catalogue" | "services">,
  now: number,
): { details: RequestedDetails } | { fault: string } {
  let list: unknown;
  try {
    list = text.length <= MAX_LENGTH ? JSON.parse(text) : undefined;
  } catch {
    // It is no list.
  }
  if (!Array.isArray(list) || list.length === 0 || list.length > MAX_DETAILS) {
    return {
      fault: `authorization_details is a JSON list of 1 to ${MAX_DETAILS} objects, in at most ${MAX_LENGTH} characters.`,
    };
  }
  const wanted = [];
  for (const [index, one] of (list as unknown[]).entries()) {
    const at = `authorization_details[${index}]`;
    if (!isObject(one) || one.type !== GRANT_TYPE) return { fault: `${at}: type must be ${GRANT_TYPE}.` };
    const unknown = Object.keys(one).find((name) => !MEMBERS.has(name));
    if (unknown !== undefined) {
      return { fault: `${at}: ${unknown.slice(0, 40)} is not one of ${[...MEMBERS].join(", ")}.` };
    }
    const { permission, where = null, expires_at: end } = one;
    if (typeof permission !== "string") return { fault: `${at}: permission is missing.` };
    const expiresAt = end === undefined ? null : readTime(end);
    if (expiresAt === undefined) {
      return { fault: `${at}: expires_at must be a time of RFC 3339, for example 2026-12-24T18:00:00Z.` };
    }
    wanted.push({ permission: permission.slice(0, 100), where, expiresAt });
  }
  const made = makeGrants(wanted, config, now);
  if ("faults" in made) {
    const { field, message } = made.faults[0]!;
    return { fault: `${field.replace(/^grants\.(\d+)/, "authorization_details[$1]")}: ${message}` };
  }
  const details = expandGrants(made.grants);
  if (JSON.stringify(toAuthorizationDetails({ details, reference: null })).length > MAX_LENGTH) {
    return {
      fault: `authorization_details take more than ${MAX_LENGTH} characters once their wildcards stand expanded.`,
    };
  }
  return { details };
}

const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/i;

function readTime(value: unknown): number | undefined {
  const time = typeof value === "string" && RFC_3339.test(value) ? Date.parse(value) : NaN;
  return Number.isNaN(time) ? undefined : time;
}

/**
 * Returns what a token gets of what was asked for: each as it is if a grant of the agent reaches at least as far. Without an end of its
 * own it ends with that grant.
 *
 * @param held the grants that the token can be of, without those that have ended.
 * @param now milliseconds, by the database's clock.
 * @returns what is wrong, as a sentence, if one of them is wider than every grant, or nobody can see that it is not.
 */
export function grantDetails(
  requested: RequestedDetails,
  held: readonly GrantLimits[],
  catalogue: Catalogue,
  now: number,
): { details: RequestedDetails } | { fault: string } {
  const details: GrantLimits[] = [];
  for (const { permission, where, expiresAt } of requested) {
    // Of several, the one that lasts longest: one without an end before all.
    const [within] = held
      .filter((grant) => isGranted(new Set([grant.permission]), permission, catalogue))
      .filter((grant) => isNarrowerWhere(where, grant.where))
      .toSorted((one, other) => (other.expiresAt ?? Infinity) - (one.expiresAt ?? Infinity) || 0);
    if (!within) {
      return { fault: `The agent has no grant of ${permission} that reaches as far. Ask for the limits of its grant.` };
    }
    if (expiresAt !== null && within.expiresAt !== null && expiresAt > within.expiresAt) {
      return { fault: `The agent's grant of ${permission} ends at ${new Date(within.expiresAt).toISOString()}.` };
    }
    const end = expiresAt ?? within.expiresAt;
    if (end !== null && end <= now + MIN_GRANT_LIFE_MS) {
      return { fault: `${permission} would end within ${MIN_GRANT_LIFE_MS / 1000} seconds, and is in no token.` };
    }
    details.push({ permission, where, expiresAt: end });
  }
  return { details };
}
