import * as z from "zod/mini";
import { originOf } from "../access/origin.ts";
import { requireAssertion } from "../access/assertion.ts";
import { route, type Call } from "../access/route.ts";
import { requireBrowser } from "../access/person.ts";
import { STATUSES, TIERS, type Agent, type Status } from "../agents/agent.ts";
import { hasRecentProof, requireProofForKey, requireRecentProof } from "../access/recent-proof.ts";
import { setPermissions, setStatus, setTier, type AgentChange, type AgentChangeResult } from "../agents/change.ts";
import { validatePermissions } from "../agents/grants.ts";
import type { LimitedGrant } from "../grants/grant-row.ts";
import { rotateKey } from "../agents/rotate-key.ts";
import { badRequest, conflict, forbidden, notFound, type ApiError } from "../http/errors.ts";
import { unlimited } from "../permissions/grant.ts";
import { ADMIN } from "../permissions/grammar.ts";
import { belowCeiling } from "./ceiling.ts";
import { cacheAgentRevocation, cacheSessionEnd } from "../tokens/revocation.ts";
import { agentSchema, credentialsSchema, toAgentResponse, toCredentials } from "./agent-schema.ts";
import { toTimestamp } from "./timestamp.ts";
import { once } from "../validation/once.ts";

const permission = once(() => z.string().check(z.maxLength(100)));
const MAX_PERMISSIONS = 50;

/** Permissions that a request asks for. {@link validatePermissions} decides whether they can be granted. */
export const permissionsSchema = once(() => z.array(permission()).check(z.minLength(1), z.maxLength(MAX_PERMISSIONS)));

/** The same, where no permission at all is a meaning too. */
export const permissionListSchema = once(() => z.array(permission()).check(z.maxLength(MAX_PERMISSIONS)));

/** For what needs a recent proof: see `requireRecentProof`. */
export const ownKeySchema = once(() =>
  z.optional(
    z.nullable(
      z
        .string()
        .check(
          z.minLength(1),
          z.maxLength(256),
          z.describe(
            "The caller's own API key, instead of an access token that POST /agents/verify gave in the last 5 minutes.",
          ),
        ),
    ),
  ),
);

/** For a change that is made only if the agent is as the caller has read it. */
export const readAtSchema = once(() =>
  z.optional(
    z.iso
      .datetime()
      .check(
        z.describe(
          "The agent's `updated_at` as you have read it. If it was changed since, nothing is changed: 409 `agent_changed`.",
        ),
      ),
  ),
);

const changedAgent = () => z.object({ success: z.literal(true), message: z.string(), agent: agentSchema() });

const DEFAULT_OVERLAP_SECONDS = 3600;
const MAX_OVERLAP_SECONDS = 30 * 86_400;

/** Changing an agent's status, tier, permissions and key. */
export const agentChangeRoutes = [
  route({
    method: "POST",
    path: "/agents/{id}/revoke",
    auth: "self",
    summary:
      "Revoke an agent for good, and with it every token and key it has; proxied reads end within STANDING_TTL_SECONDS. With a proof by key older than 5 minutes it is suspended instead",
    // Before it took a key, this request took no body, for which some clients send null.
    body: () => z.nullish(z.object({ api_key: ownKeySchema() })),
    response: changedAgent,
    async handle(call) {
      // Whoever has stolen a token can stop the agent, which is what its owner would do, but cannot end it for good.
      const apiKey = call.body?.api_key;
      if (!apiKey && call.caller.kind === "agent" && !hasRecentProof(call)) return suspendInstead(call);
      return changeStatus({ ...call, authority: await requireRecentProof(call, apiKey) }, "revoked");
    },
  }),

  route({
    method: "PUT",
    path: "/agents/{id}/status",
    auth: "admin",
    roles: ["admin", "owner"],
    summary:
      "Set an agent's status; revoked is final, and leaving active ends its tokens, for proxied reads within STANDING_TTL_SECONDS",
    body: () => z.object({ status: z.enum(STATUSES), updated_at: readAtSchema(), api_key: ownKeySchema() }),
    response: changedAgent,
    async handle(call) {
      const { status, api_key: apiKey } = call.body;
      if (!call.caller.isAdmin && status !== "suspended") {
        throw forbidden("role_required", "An owner may suspend an agent. Any other status is set by an administrator.");
      }
      if (status === "active" || status === "inactive") {
        requireBrowser(call.caller, "What an agent may do comes into force with its status.");
      }
      // Only `revoked` cannot be undone.
      const authority = status === "revoked" ? await requireRecentProof(call, apiKey) : call.authority;
      return changeStatus({ ...call, authority }, status, call.body.updated_at);
    },
  }),

  route({
    method: "PUT",
    path: "/agents/{id}/tier",
    auth: "admin",
    summary: "Set an agent's tier, and with it its rate limit",
    body: () => z.object({ tier: z.enum(TIERS), updated_at: readAtSchema() }),
    response: changedAgent,
    async handle(call) {
      const { tier, updated_at: readAt } = call.body;
      return toChangeResponse(await setTier(call.env.DB, toAgentChange(call, readAt), tier), `tier is ${tier}`);
    },
  }),

  route({
    method: "PUT",
    path: "/agents/{id}/permissions",
    auth: "admin",
    summary:
      "Set what an agent may do; its tokens are narrowed to it with their next request, proxied reads within STANDING_TTL_SECONDS",
    body: () => z.object({ permissions: permissionListSchema() }),
    response: changedAgent,
    async handle(call) {
      const { env, config, body } = call;
      const faults = validatePermissions(body.permissions, config.catalogue);
      if (faults.length > 0) throw invalidPermissions(faults);
      const isToAdminister = body.permissions.includes(ADMIN);
      const { caller } = call;
      if (isToAdminister && caller.kind === "person") await requireAssertion({ ...call, caller });
      const change = toAgentChange(call);
      const by =
        isToAdminister && change.by.agentId !== undefined
          ? { ...change.by, loosens: { agentId: change.id, permissions: [ADMIN] } }
          : (await belowCeiling(call, change.by, body.permissions.map(unlimited), { keepsLimits: true })).by;
      const changed = await setPermissions(env.DB, { ...change, by }, body.permissions, config.catalogue);
      if (changed.result === "limited_grant") throw limitedGrant(changed.limited);
      return toChangeResponse(changed, `permissions are ${body.permissions.join(" ") || "none"}`);
    },
  }),

  route({
    method: "POST",
    path: "/agents/{id}/rotate-key",
    auth: "self",
    idempotent: { secrets: ["credentials.api_key"] },
    summary:
      "Give an agent a fresh API key; the former ones, or the one that key_id names, stay good for the overlap, and with none their sessions end as well",
    body: () =>
      z._default(
        z.object({
          overlap_seconds: z._default(
            z
              .int()
              .check(
                z.minimum(0),
                z.maximum(MAX_OVERLAP_SECONDS),
                z.describe("How many seconds the previous API key stays valid."),
              ),
            DEFAULT_OVERLAP_SECONDS,
          ),
          key_id: z.optional(
            z
              .nullable(z.string().check(z.minLength(1), z.maxLength(64)))
              .check(z.describe("The key that is replaced. Without one, all of them are.")),
          ),
          api_key: ownKeySchema(),
        }),
        { overlap_seconds: DEFAULT_OVERLAP_SECONDS },
      ),
    response: () =>
      z.object({
        success: z.literal(true),
        message: z.string(),
        credentials: credentialsSchema(),
        previous_key_expires_at: z.iso.datetime(),
      }),
    async handle(call) {
      const { env, config, body } = call;
      const authority = await requireProofForKey(call, body.api_key);
      const change = toAgentChange({ ...call, authority });
      const rotation = { keyId: body.key_id ?? undefined, overlapMs: body.overlap_seconds * 1000 };
      const rotated = await rotateKey(env.DB, change, rotation, config.peppers);
      if (rotated.result === "unknown_key") throw notFound("The key");
      if (rotated.result !== "rotated") throw changeRefused({ result: rotated.result });
      const { agent, apiKey, previousExpiresAt, endedSessions } = rotated;
      const atOnce = body.overlap_seconds === 0;
      if (atOnce && !rotation.keyId) cacheRevocation(call, agent.id, agent.tokenVersion);
      cacheSessionEnds(call, endedSessions);
      return {
        success: true,
        message: atOnce
          ? `The key is replaced, and all tokens ${rotation.keyId ? "that it opened " : ""}have ended. Keep the new one: it is not shown again.`
          : `The key is replaced; the former is good for ${body.overlap_seconds} seconds more. Keep the new one: it is not shown again.`,
        credentials: toCredentials(apiKey),
        previous_key_expires_at: toTimestamp(previousExpiresAt),
      };
    },
  }),
];

/** A call that changes the agent which `{id}` names. */
type ChangeCall = Call<"self", "/agents/{id}">;

/** @param readAt the agent's `updated_at` that the request names: see {@link readAtSchema}. */
export const toAgentChange = (
  call: Pick<ChangeCall, "authority" | "caller" | "params" | "ipAddress" | "requestId" | "now">,
  readAt?: string,
): AgentChange => ({
  id: call.params.id,
  by: call.authority,
  origin: originOf(call),
  now: call.now,
  readAt: readAt === undefined ? undefined : Date.parse(readAt),
});

/** Tells every location, in the background, that the agent's tokens of older versions have ended. */
export function cacheRevocation(
  { env, config, waitUntil }: Pick<ChangeCall, "env" | "config" | "waitUntil">,
  agentId: string,
  tokenVersion: number,
): void {
  const cache = { revocations: env.REVOCATIONS, accessTokenTtl: config.accessTokenTtl };
  waitUntil(cacheAgentRevocation(cache, agentId, tokenVersion));
}

/** Tells every location, in the background, that sessions have ended. */
export function cacheSessionEnds(
  { env, config, waitUntil }: Pick<ChangeCall, "env" | "config" | "waitUntil">,
  sessionIds: readonly string[],
): void {
  const cache = { revocations: env.REVOCATIONS, accessTokenTtl: config.accessTokenTtl };
  for (const sessionId of sessionIds) waitUntil(cacheSessionEnd(cache, sessionId));
}

/** 400 naming every permission that cannot be granted. */
export function invalidPermissions(faults: ReturnType<typeof validatePermissions>): ApiError {
  const [first] = faults;
  return badRequest(
    `Not every permission can be granted. ${first?.permission}: ${first?.message}`,
    faults,
    "unknown_permission",
  );
}

/** 409 for a list of permissions that would widen, or take away, what a grant limits. */
function limitedGrant({ reason, permission, grantId, granted }: LimitedGrant): ApiError {
  const what = {
    wider: `${permission} reaches what the grant ${grantId} (${granted}) gives with limits only.`,
    dropped: `${permission} is granted with limits (${grantId}), and the list leaves it out.`,
    ended: `${permission} was granted with an end (${grantId}), which has passed; the list would grant it for ever.`,
  }[reason];
  return conflict(
    "limited_grant",
    `${what} Nothing was changed. PUT /agents/{id}/grants sets grants with their limits.`,
  );
}

/** Suspends an agent that was to be revoked, and says so. */
async function suspendInstead(call: ChangeCall) {
  const changed = await applyStatus(call, "suspended");
  // Who repeats a revocation is told that it has happened.
  if (changed.result === "already_revoked") return changeStatus(call, "revoked");
  const response = toChangeResponse(changed, "status is suspended");
  return {
    ...response,
    message:
      "The agent is suspended and its tokens have ended. It is not revoked for good: that takes an access token with all that the agent has, from a proof by API key of the last 5 minutes. An administrator can activate or revoke it.",
  };
}

async function applyStatus(call: ChangeCall, status: Status, readAt?: string): Promise<AgentChangeResult> {
  const changed = await setStatus(call.env.DB, toAgentChange(call, readAt), status);
  if (changed.result === "changed" && status !== "active")
    cacheRevocation(call, changed.agent.id, changed.agent.tokenVersion);
  return changed;
}

const changeStatus = async (call: ChangeCall, status: Status, readAt?: string) =>
  toChangeResponse(await applyStatus(call, status, readAt), `status is ${status}`);

/** @throws {ApiError} 404 or 409 if nothing could be changed. */
function toChangeResponse(changed: AgentChangeResult, what: string): z.input<ReturnType<typeof changedAgent>> {
  if (changed.result === "unknown" || changed.result === "already_revoked" || changed.result === "changed_meanwhile")
    throw changeRefused(changed);
  const { agent } = changed;
  return {
    success: true,
    message:
      changed.result === "changed" ? `The agent's ${what}.` : "Nothing to change: the agent already has this value.",
    agent: toAgentResponse(agent),
  };
}

/** 404 or 409 for an agent that cannot be changed, or not as it is now. */
export function changeRefused(
  refused:
    | { readonly result: "unknown" | "already_revoked" }
    | { readonly result: "changed_meanwhile"; readonly agent: Agent },
): ApiError {
  switch (refused.result) {
    case "unknown":
      return notFound("The agent");
    case "already_revoked":
      return conflict("agent_revoked", "A revoked agent cannot be changed. Register a new one.");
    case "changed_meanwhile":
      return conflict(
        "agent_changed",
        `The agent was changed since you have read it, and is ${refused.agent.status} now. Nothing was changed by this request. Read it again.`,
      );
  }
}
