import type { Agent } from "../agents/agent.ts";
import type { TokenLink } from "../authority/token-row.ts";
import { grantsNow } from "../grants/grant.ts";
import type { Catalogue } from "../permissions/catalogue.ts";
import { grantText, hasEnded, type GrantLimits, type Where } from "../permissions/grant.ts";
import { bothWheres, isNarrowerWhere } from "../policy/narrower.ts";
import {
  actorOf,
  issueAccessToken,
  MAX_TOKEN_LENGTH,
  type AccessClaims,
  type AccessTokenSettings,
} from "./access-token.ts";
import {
  earliestEnd,
  fitsToken,
  MIN_GRANT_LIFE_MS,
  narrow,
  toAuthorizationDetails,
  toTokenGrants,
} from "./authorization-details.ts";
import type { IssuedToken } from "./records.ts";

/** Who acts by the token that an exchange issues. */
export interface ExchangeActor {
  /** What `act` names: an agent, or a sub-agent of it. */
  readonly id: string;
  /** The agent that has proved itself, and by what. */
  readonly link: TokenLink;
}

type MeetWheres = (one: Where | null, other: Where | null) => Where | null | undefined;

/** Returns what several sides give, each of them all of it. @param wheres the limits of two grants, or undefined if they give nothing together. */
function meetGrants(
  [first = [], ...others]: readonly (readonly GrantLimits[])[],
  wheres: MeetWheres,
  catalogue: Catalogue,
): readonly GrantLimits[] {
  const meet = (one: GrantLimits, other: GrantLimits): readonly GrantLimits[] => {
    const where = wheres(one.where, other.where);
    if (where === undefined) return [];
    return narrow([{ ...one, where, expiresAt: earliestEnd([one, other]) }], [other.permission], catalogue);
  };
  let met = first;
  for (const side of others) met = unique(met.flatMap((one) => side.flatMap((other) => meet(one, other))));
  return met;
}

/** Of limits of which neither are surely the narrower ones, the token's: those that its agents have hold for each request anyway. */
const narrowerWhere: MeetWheres = (one, other) => (isNarrowerWhere(other, one) ? other : one);

const unique = (grants: readonly GrantLimits[]): GrantLimits[] => [
  ...new Map(grants.map((grant) => [grantText(grant), grant])).values(),
];

/**
 * What a delegated token can be of: what the tokens give that were given for it, as far as each of their agents and the new actor have it
 * now. Grants that end within {@link MIN_GRANT_LIFE_MS} are left out.
 *
 * The limits of each token stand in the new one, because nothing else knows of them afterwards: what two tokens limit in ways that cannot be
 * written as one is left out.
 *
 * @param tokens what each token gives, that which is exchanged first.
 * @param now milliseconds.
 */
export function delegableGrants(
  tokens: readonly (readonly GrantLimits[])[],
  agents: readonly Pick<Agent, "grants">[],
  catalogue: Catalogue,
  now: number,
): readonly GrantLimits[] {
  const end = now + MIN_GRANT_LIFE_MS;
  const lasting = tokens.map((grants) => grants.filter((grant) => !hasEnded(grant, end)));
  const given = meetGrants(lasting, bothWheres, catalogue);
  return meetGrants([given, ...agents.map(({ grants }) => grantsNow(grants, end))], narrowerWhere, catalogue);
}

export interface Exchange {
  /** The token that is exchanged. */
  readonly subject: AccessClaims;
  readonly actor: ExchangeActor;
  /** The client that asks for the token. */
  readonly clientId: string;
  /** The tier of the agent that is acted for. */
  readonly tier: string;
  /** What the token gives. */
  readonly given: readonly GrantLimits[];
  readonly resources: readonly string[] | null;
  /** The thumbprint of the key that the token is bound to; null for none. */
  readonly boundTo: string | null;
  /** When every token that was given is still valid, in seconds. */
  readonly expiresAt: number;
  /** Milliseconds. */
  readonly now: number;
}

/**
 * Issues the token of an exchange (RFC 8693 §2.2): it depends on everything that the exchanged token depends on, and on what its actor has
 * proved itself with. It has no refresh token, lives no longer than any token that was given for it, and has the last proof of the
 * exchanged one (`auth_time`).
 *
 * @returns undefined if the token would be longer than one that is accepted: it has to be asked for with a narrower scope.
 */
export async function issueDelegated(
  { subject, actor, clientId, tier, given, resources, boundTo, expiresAt, now }: Exchange,
  settings: AccessTokenSettings,
  catalogue: Catalogue,
): Promise<IssuedToken | undefined> {
  const grants = toTokenGrants(given, catalogue);
  if (!fitsToken(grants)) return undefined;
  const issuedAt = Math.floor(now / 1000);
  const end = Math.min(expiresAt, Math.floor((earliestEnd(given) ?? Infinity) / 1000));
  const ttl = Math.min(settings.accessTokenTtl, end - issuedAt);
  const accessToken = await issueAccessToken(
    {
      agentId: subject.sub,
      tier,
      grants,
      basis: {
        actors: [actor.id, ...(subject.delegation?.actors ?? [])],
        delegators: [...(subject.delegation?.delegators ?? []), actorOf(subject)],
        own: actor.link,
        clientId,
      },
      authTime: subject.authTime,
      resources,
      boundTo,
      issuedAt,
      ttl,
    },
    settings,
  );
  if (accessToken.length > MAX_TOKEN_LENGTH) return undefined;
  return { accessToken, expiresIn: ttl, scope: grants.scope, details: toAuthorizationDetails(grants), boundTo };
}
