import * as z from "zod/mini";
import { toCaller } from "../access/authenticate.ts";
import { route } from "../access/route.ts";
import { unavailable } from "../http/errors.ts";
import { INTROSPECT } from "../permissions/catalogue.ts";
import { isGranted } from "../permissions/match.ts";
import { verifyAccessToken, type AccessClaims } from "../tokens/access-token.ts";
import { presentDetails } from "../tokens/authorization-details.ts";
import { toActClaim } from "../tokens/delegation.ts";
import { sessionOf } from "../tokens/end-token.ts";
import { tokenSettings } from "../tokens/issuer.ts";
import { readRefreshToken } from "../tokens/refresh-token.ts";
import { getTokenStatus } from "../tokens/token-status.ts";
import { refusedTo, requireCaller, type OAuthCaller } from "./caller.ts";
import type { OAuthCall } from "./client.ts";
import { OAuthError } from "./errors.ts";
import { tokenForm } from "./token.ts";
import { once } from "../validation/once.ts";

const seconds = once(() => z.optional(z.int()));
const text = once(() => z.optional(z.string()));

/** RFC 7662 §2.2. Nothing but `active` stands in the answer about a token that is not. */
const introspection = once(() =>
  z.object({
    active: z.boolean(),
    scope: text(),
    client_id: text(),
    sub: text(),
    iss: text(),
    aud: z.optional(z.union([z.string(), z.array(z.string())])),
    token_type: text(),
    iat: seconds(),
    exp: seconds(),
    auth_time: seconds(),
    jti: text(),
    cnf: z.optional(z.object({ jkt: z.string() })),
    act: z.optional(
      z
        .record(z.string(), z.any())
        .check(z.describe("Who acts for `sub`, the present actor outermost (RFC 8693 §4.1).")),
    ),
    authorization_details: z.optional(z.array(z.record(z.string(), z.any()))),
  }),
);
type Introspection = z.input<ReturnType<typeof introspection>>;

const INACTIVE: Introspection = { active: false };

export const INTROSPECTION_PATH = "/oauth/introspect";

export const introspectionRoutes = [
  route({
    method: "POST",
    path: INTROSPECTION_PATH,
    auth: "client",
    summary: "Whether a token is valid now, and what it gives (RFC 7662)",
    form: tokenForm,
    response: () => introspection(),
    async handle(call): Promise<Introspection> {
      const caller = await requireCaller(call);
      if (!caller.isAdmin && !isGranted(caller.permissions, INTROSPECT, call.config.catalogue)) {
        const error = new OAuthError({ error: "insufficient_scope", scope: INTROSPECT }, `This needs ${INTROSPECT}.`);
        throw refusedTo(call, caller, error, INTROSPECT);
      }
      const token = call.form.get("token");
      if (token === undefined) throw new OAuthError("invalid_request", "token is missing.");
      const { config, request, now } = call;
      const claims = await verifyAccessToken(token, tokenSettings(config, request.url), now);
      return typeof claims === "object"
        ? introspectAccess(call, caller, claims)
        : introspectRefresh(call, caller, token);
    },
  }),
];

/**
 * Whether a caller may know about a token of an agent: its client, an administrator, or an audience of it. Whoever may introspect is a
 * resource server of this deployment, and so an audience of tokens for all of it. A token for a service is for the gateway alone.
 */
const mayKnow = ({ agent, isAdmin }: OAuthCaller, agentIds: readonly string[], isForAll: boolean): boolean =>
  isAdmin || agentIds.includes(agent.id) || isForAll;

/** By the database's word only, which is asked each time. */
async function introspectAccess(call: OAuthCall, caller: OAuthCaller, claims: AccessClaims): Promise<Introspection> {
  const { env, config, issuer, now } = call;
  const { sub, clientId, resources, boundTo, iat, exp, jti, authTime, delegation } = claims;
  if (!mayKnow(caller, [clientId, ...claims.links.map(({ agentId }) => agentId)], resources === null)) return INACTIVE;
  const status = await getTokenStatus({ db: env.DB, revocations: env.REVOCATIONS }, { claims, now, maxAge: 0 });
  switch (status.state) {
    case "revoked":
      return INACTIVE;
    case "unknown":
      throw unavailable("standing_unknown", "Whether the token is still valid cannot be found out now.", status.cause);
    case "good": {
      const { permissions, agents, tokenGrants } = toCaller(status.records, claims, config);
      const details = presentDetails(
        tokenGrants,
        agents.map(({ grants }) => grants),
        config.catalogue,
        now,
      );
      return {
        active: true,
        scope: [...permissions].toSorted().join(" "),
        client_id: clientId,
        sub,
        iss: issuer,
        aud: resources ? [...resources] : (config.audience ?? issuer),
        token_type: boundTo === null ? "Bearer" : "DPoP",
        iat,
        exp,
        ...(authTime !== undefined && { auth_time: authTime }),
        jti,
        ...(boundTo !== null && { cnf: { jkt: boundTo } }),
        ...(delegation && { act: { ...toActClaim(delegation.actors) } }),
        ...(details && { authorization_details: details }),
      };
    }
  }
}

/** A refresh token is for this deployment alone, so that only its client and an administrator may know about it. */
async function introspectRefresh(call: OAuthCall, caller: OAuthCaller, text: string): Promise<Introspection> {
  const { env, config, issuer } = call;
  const token = await readRefreshToken(text, config.peppers);
  const session = token && (await sessionOf(env.DB, token));
  if (!session?.isActive || !mayKnow(caller, [session.agentId], false)) return INACTIVE;
  return {
    active: true,
    ...(session.scope && { scope: session.scope.join(" ") }),
    client_id: session.agentId,
    sub: session.agentId,
    iss: issuer,
    iat: Math.floor(session.createdAt / 1000),
    exp: Math.floor(session.expiresAt / 1000),
  };
}
