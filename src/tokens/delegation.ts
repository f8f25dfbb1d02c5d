import type { JWTPayload } from "jose";
import type { TokenLink } from "../authority/token-row.ts";
import { isObject } from "../validation/is-object.ts";

/**
 * Tokens that one agent has got to act for another one (RFC 8693). Their claims:
 *
 * - `sub`: the agent that is acted for.
 * - `act`: who acts, the present actor outermost, and within it those that have handed the token on (§4.1).
 * - `chain`: what the token depends on, beginning with `sub`: each agent with its token version, its session or its key. Such a token has
 *   no `ver`, `sid` and `key_id` of its own, so that whoever does not know `chain` refuses it.
 */

/** How many steps of delegation a token may have, at most: `act` is nested so deep. */
const MAX_DEPTH = 4;

/** Who acts for whom. */
export interface Delegation {
  /** The present actor first. Never empty. */
  readonly actors: readonly string[];
  /** The links of those that the present actor acts for: first that of `sub`, last that of whom the actor has the token from. */
  readonly delegators: readonly TokenLink[];
}

/** What stands between the id of an agent and the name that it has given to an ephemeral sub-agent. No id of an agent contains it. */
const SEPARATOR = "#";

/** The id of an ephemeral sub-agent: it has nothing but the name, and is what the agent has proved to be. */
export const subAgentId = (agentId: string, name: string): string => `${agentId}${SEPARATOR}${name}`;

/** The agent that has proved itself where `act` names this id. */
const provenAgent = (actor: string): string => actor.split(SEPARATOR, 1)[0]!;

/** Whether a text can be the name of an ephemeral sub-agent. */
export const isSubAgentName = (text: string): boolean => /^[A-Za-z0-9._-]{1,64}$/.test(text);

/** A claim `act` (RFC 8693 §4.1). */
export interface ActClaim {
  readonly sub: string;
  readonly act?: ActClaim;
}

/** The claim `act` of these actors, the present one first. */
export function toActClaim([sub, ...others]: readonly string[]): ActClaim {
  return others.length === 0 ? { sub: sub! } : { sub: sub!, act: toActClaim(others) };
}

/** A link in the claim `chain`. */
interface ChainClaim {
  readonly sub: string;
  readonly ver: number;
  readonly sid?: string;
  readonly key_id?: string;
  /** The token without a session that the agent has proved itself with. */
  readonly jti?: string;
  /** The token that an exchange has issued to it. Absent in the last link, of which that is this very token. */
  readonly token?: string;
}

/** The claims of a delegated token. @param own the link of the present actor; the token's id is not in it. */
export const toDelegationClaims = ({ actors, delegators }: Delegation, own: TokenLink) => ({
  act: toActClaim(actors),
  chain: [...delegators, own].map(toChainClaim),
});

function toChainClaim({ agentId, version, basis, exchanged }: TokenLink): ChainClaim {
  const proof =
    basis.sessionId !== undefined
      ? { sid: basis.sessionId }
      : { key_id: basis.keyId, ...(basis.tokenId !== "" && basis.tokenId !== exchanged && { jti: basis.tokenId }) };
  return { sub: agentId, ver: version, ...proof, ...(exchanged !== undefined && { token: exchanged }) };
}

/**
 * Reads `act` and `chain` of a token whose signature is ours.
 *
 * @returns the delegation and the link of the present actor. Undefined if they have a form in which we do not write them.
 */
export function readDelegation(
  { sub, act, chain, ver, sid, key_id: keyId }: JWTPayload,
  tokenId: string,
): { delegation: Delegation; own: TokenLink } | undefined {
  if ([ver, sid, keyId].some((claim) => claim !== undefined)) return undefined;
  const actors = readActors(act);
  if (!actors || !Array.isArray(chain) || chain.length !== actors.length + 1) return undefined;
  const links = (chain as unknown[]).map((one, at) => {
    return readLink(one, { isFirst: at === 0, ownId: at === actors.length ? tokenId : undefined });
  });
  if (!links.every((link) => link !== undefined)) return undefined;
  // Each actor is the agent of a link. Nobody acts for itself, by however many others.
  const ids = [sub, ...actors.toReversed()];
  if (new Set(ids).size !== ids.length || links.some(({ agentId }, at) => provenAgent(ids[at]!) !== agentId)) {
    return undefined;
  }
  return { delegation: { actors, delegators: links.slice(0, -1) }, own: links.at(-1)! };
}

function readActors(claim: unknown): string[] | undefined {
  const actors: string[] = [];
  for (let act = claim; act !== undefined;) {
    if (!isObject(act) || typeof act.sub !== "string" || actors.length === MAX_DEPTH) return undefined;
    actors.push(act.sub);
    act = act.act;
  }
  return actors.length === 0 ? undefined : actors;
}

/** @param ownId the id of the token, for the last link. */
function readLink(
  claim: unknown,
  { isFirst, ownId }: { isFirst: boolean; ownId: string | undefined },
): TokenLink | undefined {
  if (!isObject(claim)) return undefined;
  const { sub: agentId, ver: version, sid: sessionId, key_id: keyId, jti, token } = claim;
  if (typeof agentId !== "string" || !Number.isSafeInteger(version) || (version as number) < 1) return undefined;
  if (!isTextOrAbsent(jti) || !isTextOrAbsent(token)) return undefined;
  // The agent that is acted for has got its token from no exchange, the present actor this one, and all others one that is named.
  if ((token !== undefined) !== (!isFirst && ownId === undefined)) return undefined;
  const exchanged = isFirst ? undefined : (token ?? ownId);
  const link = { agentId, version: version as number, ...(exchanged !== undefined && { exchanged }) };
  if (typeof sessionId === "string" && keyId === undefined && jti === undefined) {
    return { ...link, basis: { sessionId } };
  }
  const proofId = jti ?? exchanged;
  if (typeof keyId !== "string" || sessionId !== undefined || proofId === undefined) return undefined;
  return { ...link, basis: { keyId, tokenId: proofId } };
}

const isTextOrAbsent = (value: unknown): value is string | undefined =>
  value === undefined || (typeof value === "string" && value !== "");
