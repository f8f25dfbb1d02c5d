import * as z from "zod/mini";
import { originOf } from "../access/origin.ts";
import { route } from "../access/route.ts";
import { wakeOutbox } from "../audit/message.ts";
import { endCommandSession } from "../people/sessions.ts";
import { COMMAND_TOKEN_PREFIX } from "../people/token.ts";
import { verifyAccessToken, type AccessClaims } from "../tokens/access-token.ts";
import { endToken, sessionOf } from "../tokens/end-token.ts";
import { tokenSettings } from "../tokens/issuer.ts";
import { readRefreshToken } from "../tokens/refresh-token.ts";
import { cacheSessionEnd } from "../tokens/revocation.ts";
import { endSession } from "../tokens/sessions.ts";
import { originOfCaller, refusedTo, requireCaller, type OAuthCaller } from "./caller.ts";
import type { OAuthCall } from "./client.ts";
import { OAuthError } from "./errors.ts";
import { tokenForm } from "./token.ts";

export const REVOCATION_PATH = "/oauth/revoke";

export const revocationRoutes = [
  route({
    method: "POST",
    path: REVOCATION_PATH,
    auth: "client",
    summary:
      "End a session by its refresh token or one of its access tokens, or a token without a session by itself (RFC 7009); a token that is unknown is no error",
    form: tokenForm,
    response: () => z.object({}),
    async handle(call) {
      const text = call.form.get("token");
      // A command that a person has let in has nothing to authenticate itself with but the token, which it holds.
      if (text?.startsWith(COMMAND_TOKEN_PREFIX)) {
        await endCommandSession(call.env.DB, text, { now: call.now, origin: originOf(call) });
        call.waitUntil(wakeOutbox(call.env));
        return {};
      }
      const caller = await requireCaller(call, text);
      if (text === undefined) throw new OAuthError("invalid_request", "token is missing.");
      const { env, config, request, now } = call;
      const claims = await verifyAccessToken(text, tokenSettings(config, request.url), now);
      if (typeof claims === "object") {
        await revokeAccess(call, caller, claims);
        return {};
      }
      const token = await readRefreshToken(text, config.peppers);
      const session = token && (await sessionOf(env.DB, token));
      // What is unknown, or has expired, is revoked already (RFC 7009 §2.2).
      if (token && session) await revokeSession(call, caller, session.agentId, token.sessionId);
      return {};
    },
  }),
];

/**
 * The tokens of a session end together (RFC 7009 §2.1). A token without a session ends alone, and with it those that were exchanged from
 * it; so does a delegated one, which each agent that it depends on may end.
 */
async function revokeAccess(call: OAuthCall, caller: OAuthCaller, claims: AccessClaims): Promise<void> {
  const { sub, links, delegation, clientId, jti } = claims;
  const { sessionId } = links[0].basis;
  if (!delegation && sessionId !== undefined) return revokeSession(call, caller, sub, sessionId);
  requireOwn(call, caller, delegation ? [clientId, ...links.map(({ agentId }) => agentId)] : [sub]);
  const by = { by: caller.authority, origin: originOfCaller(call, caller), now: call.now };
  if (await endToken(call.env.DB, claims, by)) rememberEnd(call, jti);
}

async function revokeSession(call: OAuthCall, caller: OAuthCaller, agentId: string, sessionId: string): Promise<void> {
  requireOwn(call, caller, [agentId]);
  const { env, now } = call;
  const origin = originOfCaller(call, caller);
  if (!(await endSession(env.DB, agentId, sessionId, { by: caller.authority, origin, now }))) return;
  rememberEnd(call, sessionId);
}

/** @throws {OAuthError} for a token of another client, which RFC 7009 §2.1 has told to whoever presents it. */
function requireOwn(call: OAuthCall, caller: OAuthCaller, agentIds: readonly string[]): void {
  if (caller.isAdmin || agentIds.includes(caller.agent.id)) return;
  throw refusedTo(call, caller, new OAuthError("unauthorized_client", "The token was issued to another client."));
}

/** Behind the answer: the edge learns the end, and its record leaves the outbox. */
function rememberEnd({ env, config, waitUntil }: OAuthCall, id: string): void {
  const cache = { revocations: env.REVOCATIONS, accessTokenTtl: config.accessTokenTtl };
  waitUntil(cacheSessionEnd(cache, id));
  waitUntil(wakeOutbox(env));
}
