import * as z from "zod/mini";
import { originOf } from "../access/origin.ts";
import { route } from "../access/route.ts";
import { fromCursor } from "../agents/page.ts";
import { notFound } from "../http/errors.ts";
import type { Session } from "../tokens/records.ts";
import { revokeTokens } from "../tokens/revocation.ts";
import { endSession, listSessions } from "../tokens/sessions.ts";
import { cacheRevocation, cacheSessionEnds } from "./agent-changes.ts";
import { agentListQuery, cursorPage, nextCursor } from "./pagination.ts";
import { toTimestamp } from "./timestamp.ts";
import { once } from "../validation/once.ts";

const success = once(() => z.literal(true));
const message = once(() => z.string());

const sessionSchema = once(() =>
  z.object({
    id: z.string(),
    key_id: z.nullable(z.string()).check(z.describe("The key that opened it; null for a session of a former version.")),
    created_at: z.iso.datetime(),
    last_refreshed_at: z.iso.datetime(),
    expires_at: z.iso.datetime().check(z.describe("When it ends unless it is refreshed.")),
    ip_address: z.string().check(z.describe("The address that opened it; empty if it is not known.")),
    scope: z
      .nullable(z.array(z.string()))
      .check(z.describe("The permissions that its tokens are limited to; null for those of the agent.")),
    dpop_jkt: z
      .nullable(z.string())
      .check(z.describe("The thumbprint of the key that its tokens are bound to (RFC 9449); null for none.")),
    act: z.null().check(z.describe("Nobody acts for the agent in it.")),
  }),
);

/** The sessions of an agent, ended one by one or all together. */
export const sessionRoutes = [
  route({
    method: "GET",
    path: "/agents/{id}/sessions",
    auth: "self",
    summary: "List the sessions of an agent that can be refreshed, newest first",
    query: agentListQuery,
    response: () => z.object({ success: success(), sessions: z.array(sessionSchema()), next_cursor: nextCursor() }),
    async handle({ env, params, query }) {
      const after = query.cursor === undefined ? undefined : fromCursor(query.cursor);
      const sessions = await listSessions(env.DB, params.id, { limit: query.limit, after });
      if (!sessions) throw notFound("The agent");
      const { rows, next_cursor } = cursorPage(sessions, query);
      return { success: true, sessions: rows.map(toSessionResponse), next_cursor };
    },
  }),

  route({
    method: "DELETE",
    path: "/agents/{id}/sessions/{session_id}",
    auth: "self",
    summary: "End a session: its refresh token at once, proxied reads within STANDING_TTL_SECONDS",
    response: () => z.object({ success: success(), message: message() }),
    async handle(call) {
      const { env, params, authority: by, now } = call;
      const write = { by, origin: originOf(call), now };
      if (!(await endSession(env.DB, params.id, params.session_id, write))) throw notFound("The session");
      cacheSessionEnds(call, [params.session_id]);
      return { success: true, message: "The session has ended." };
    },
  }),

  route({
    method: "POST",
    path: "/agents/{id}/revoke-tokens",
    auth: "admin",
    summary: "End every access and refresh token of an agent, and leave its keys: it can verify itself again",
    response: () => z.object({ success: success(), message: message(), revoked_at: z.iso.datetime() }),
    async handle(call) {
      const { env, params, authority: by, now } = call;
      const tokenVersion = await revokeTokens(env.DB, params.id, { by, origin: originOf(call), now });
      if (tokenVersion === undefined) throw notFound("The agent");
      cacheRevocation(call, params.id, tokenVersion);
      return {
        success: true,
        message: "All tokens of the agent are revoked. Its keys are as they were.",
        revoked_at: toTimestamp(now),
      };
    },
  }),
];

function toSessionResponse(session: Session): z.input<ReturnType<typeof sessionSchema>> {
  return {
    id: session.id,
    key_id: session.keyId,
    created_at: toTimestamp(session.createdAt),
    last_refreshed_at: toTimestamp(session.lastRefreshedAt),
    expires_at: toTimestamp(session.expiresAt),
    ip_address: session.ipAddress,
    scope: session.scope ? [...session.scope] : null,
    dpop_jkt: session.boundTo,
    act: null,
  };
}
