import type { Registrar } from "../agents/register.ts";
import type { PersonAuthority } from "../authority/authority.ts";
import type { RequestContext } from "../http/request-context.ts";
import type { RecordOrigin } from "../outbox/record.ts";
import type { TokenLink } from "../authority/token-row.ts";
import { actorOf, type AccessClaims } from "../tokens/access-token.ts";
import type { Caller } from "./authenticate.ts";
import type { PersonCaller } from "./person.ts";

/** A request, and who sends it as far as that is known. */
interface OriginatedCall extends Pick<RequestContext, "ipAddress" | "requestId"> {
  readonly caller?: Caller | PersonCaller | Registrar | undefined;
}

/** What each record that a request causes says of the request: who sends it, with which key and session, and from where. */
export function originOf({ caller, ipAddress, requestId }: OriginatedCall): RecordOrigin {
  return { act: [], ipAddress: ipAddress || null, requestId, ...senderOf(caller) };
}

/** What a change of people needs to know of its request: who makes it, when, and what its record says. */
export const changeOf = (
  call: OriginatedCall & { readonly authority: PersonAuthority; readonly now: number },
): { by: PersonAuthority; now: number; origin: RecordOrigin } => ({
  by: call.authority,
  now: call.now,
  origin: originOf(call),
});

type Sender = Pick<RecordOrigin, "actor" | "keyId" | "sessionId"> & Partial<Pick<RecordOrigin, "act">>;

/** The whole chain of a delegated token: the present actor first, and last the agent that is acted for. Empty for another token. */
export const actLinksOf = ({ sub, delegation }: Pick<AccessClaims, "sub" | "delegation">): RecordOrigin["act"] =>
  delegation ? [...delegation.actors, sub].map((one) => ({ sub: one })) : [];

function senderOf(caller: Caller | PersonCaller | Registrar | undefined): Sender {
  if (!caller) return STRANGER;
  if ("agent" in caller) {
    const { agent, claims, keyId } = caller;
    return { ...agentSender(agent, actorOf(claims)), keyId, act: actLinksOf(claims) };
  }
  if ("person" in caller) return { ...personSender(caller), sessionId: caller.session.id };
  switch (caller.kind) {
    case "stranger":
      return STRANGER;
    case "bootstrap":
      return { actor: { type: "bootstrap", id: null, name: null }, keyId: null, sessionId: null };
    case "person":
      return { ...personSender(caller), sessionId: caller.authority.sessionId };
    case "agent":
      return agentSender({ id: caller.authority.agentId, name: caller.name }, caller.authority);
  }
}

const personSender = ({ id, name }: { readonly id: string; readonly name: string }) => ({
  actor: { type: "person" as const, id, name },
  keyId: null,
});

const STRANGER: Sender = { actor: null, keyId: null, sessionId: null };

const agentSender = (
  { id, name }: { readonly id: string; readonly name: string },
  { basis }: Pick<TokenLink, "basis">,
): Sender => ({
  actor: { type: "agent", id, name },
  keyId: basis.keyId ?? null,
  sessionId: basis.sessionId ?? null,
});
