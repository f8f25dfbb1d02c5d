import type { Registrar } from "../agents/register.ts";
import { sendRecords } from "../audit/message.ts";
import { countRefusal, MAX_PATH_LENGTH } from "../audit/refusals.ts";
import { toApiError } from "../http/error-response.ts";
import type { RequestContext } from "../http/request-context.ts";
import { agentOf } from "../log/request-log.ts";
import { newEntry, type RecordOrigin } from "../outbox/record.ts";
import { signedClaimsOf, type Caller } from "./authenticate.ts";
import { clientNetwork } from "./client-network.ts";
import type { PersonCaller } from "./person.ts";
import { actorOf } from "../tokens/access-token.ts";
import { actLinksOf, originOf } from "./origin.ts";

/** The statuses of refusals that are recorded of an agent that was admitted. Its own limit bounds how many there are. */
const RECORDED_STATUSES: ReadonlySet<number> = new Set([401, 403, 404, 409, 429]);

const recorded = new WeakSet<Error>();

/** Marks the error of a refusal that is in the audit log already, and returns it. */
export function markRecorded<Refusal extends Error>(error: Refusal): Refusal {
  recorded.add(error);
  return error;
}

/** Whether the refusal is in the audit log already. */
export const isRecorded = (error: unknown): boolean => error instanceof Error && recorded.has(error);

/**
 * Records that a request was refused: of an agent that was admitted as one record, of everybody else as a count for each minute. These may be
 * refused as often as they like: who has no token of ours is counted by the network of the address; a token that we signed, but that
 * is revoked or over its limit, by its session.
 *
 * @param caller undefined if the request was refused before its sender was admitted.
 */
export function recordRefusal(
  context: RequestContext,
  error: unknown,
  caller: Caller | PersonCaller | Registrar | undefined,
): void {
  const refusal = toApiError(error);
  if (refusal.status >= 500 || isRecorded(error)) return;
  const { env, now, waitUntil } = context;
  const { status, code } = refusal;
  const agentId = agentIdOf(caller);
  if (agentId !== undefined) {
    if (!RECORDED_STATUSES.has(status)) return;
    const required = refusal.fields.extra?.required;
    const permission = typeof required === "string" ? required : null;
    const about = { agentId, outcome: "denied", ...targetOf(context), status, permission } as const;
    const message = permission === null ? code : null;
    const entry = newEntry("request.refused", now, originOf({ ...context, caller }), { ...about, message });
    waitUntil(sendRecords(env, [{ entry }]));
    return;
  }
  countRequest(context, refusal, originOf({ ...context, caller }));
}

/**
 * Counts a request that was refused: by the session or the key of a token that we signed, by the agent that has proved itself as an OAuth
 * client, or else by the network of the address.
 *
 * @param refusal its status, and a code of a closed list: each code is a count of its own.
 */
export function countRequest(
  context: RequestContext,
  { status, code }: { readonly status: number; readonly code: string },
  origin: RecordOrigin = originOf(context),
): void {
  const { request, ipAddress } = context;
  const about = { code, status, ...targetOf(context) };
  const claims = signedClaimsOf(request);
  const id = claims ? actorOf(claims).agentId : agentOf(request);
  if (id === undefined) {
    countRefusal(context, { ...about, subject: clientNetwork(ipAddress), origin });
    return;
  }
  const { sessionId = null, keyId = null } = claims ? actorOf(claims).basis : {};
  const act = claims ? actLinksOf(claims) : [];
  const sender = { actor: { type: "agent", id, name: null }, act, sessionId, keyId } as const;
  countRefusal(context, { ...about, subject: sessionId ?? keyId ?? id, agentId: id, origin: { ...origin, ...sender } });
}

/** What a request is for, without its query. A malformed Host header makes a URL that cannot be parsed. */
export const targetOf = ({ request: { method, url } }: Pick<RequestContext, "request">) => ({
  method,
  path: (URL.parse(url)?.pathname ?? "").slice(0, MAX_PATH_LENGTH),
});

/**
 * Counts a sign-in that is refused: a record of a minute for each person, as everything that is refused without limit.
 *
 * @param personId whose passkey or login it is; null if that is not known, and then it counts for the network of the address.
 * @param how what the record says.
 */
export function countRefusedSignIn(context: RequestContext, personId: string | null, how: string): void {
  const { ipAddress } = context;
  const actor = personId === null ? null : ({ type: "person", id: personId, name: null } as const);
  countRefusal(context, {
    action: "person.sign_in_refused",
    subject: personId ?? clientNetwork(ipAddress),
    code: how,
    status: 401,
    ...targetOf(context),
    origin: { ...originOf(context), actor },
  });
}

function agentIdOf(caller: Caller | PersonCaller | Registrar | undefined): string | undefined {
  if (!caller) return undefined;
  if ("agent" in caller) return caller.agent.id;
  return caller.kind === "agent" ? caller.authority.agentId : undefined;
}
