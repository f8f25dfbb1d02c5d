import * as z from "zod/mini";
import { requireAssertion } from "../access/assertion.ts";
import { route, type Call } from "../access/route.ts";
import type { Authority } from "../authority/authority.ts";
import type { AgentGrants, Grant } from "../grants/grant.ts";
import { loosensGrants } from "../grants/loosen.ts";
import {
  getGrants,
  makeGrants,
  MAX_GRANTS,
  putGrants,
  type GrantFault,
  type WantedGrant,
} from "../grants/put-grants.ts";
import { badRequest, conflict, notFound, type ApiError } from "../http/errors.ts";
import { ADMIN } from "../permissions/grammar.ts";
import { hasEnded } from "../permissions/grant.ts";
import { belowCeiling } from "./ceiling.ts";
import { changeRefused, toAgentChange } from "./agent-changes.ts";
import { actorSchema } from "./agent-schema.ts";
import { toTimestamp } from "./timestamp.ts";
import { once } from "../validation/once.ts";

const success = once(() => z.literal(true));

const scalar = once(() => z.union([z.string(), z.number(), z.boolean()]));
/** The conditions on one field. */
export const conditions = once(() =>
  z.object({
    eq: z.optional(scalar()),
    in: z.optional(z.array(scalar())),
    not_in: z.optional(z.array(scalar())),
    min: z.optional(z.number()),
    max: z.optional(z.number()),
    glob: z.optional(z.string()),
  }),
);

/** The Grant object of the wire. */
const grantSchema = once(() =>
  z.object({
    id: z
      .string()
      .check(z.describe("Of exactly this permission with these limits: a grant that changes has another id.")),
    permission: z.string(),
    where: z.optional(
      z
        .record(z.string(), conditions())
        .check(z.describe("The limits, by the field of the request; all of them must hold. Absent: none.")),
    ),
    expires_at: z.optional(z.iso.datetime().check(z.describe("When it ends. Absent: it has no end."))),
    created_by: z.nullable(actorSchema()),
    created_at: z.iso.datetime(),
  }),
);

const toGrant = ({
  id,
  permission,
  where,
  expiresAt,
  createdBy,
  createdAt,
}: Grant): z.input<ReturnType<typeof grantSchema>> => ({
  id,
  permission,
  ...(where && { where: where as Record<string, z.input<ReturnType<typeof conditions>>> }),
  ...(expiresAt !== null && { expires_at: toTimestamp(expiresAt) }),
  created_by: createdBy,
  created_at: toTimestamp(createdAt),
});

/** What has ended is no grant any more, although it is kept for a while. */
const toGrants = ({ grants, readAt }: AgentGrants) => grants.filter((one) => !hasEnded(one, readAt)).map(toGrant);

const grantsVersion = once(() =>
  z.int().check(z.minimum(1), z.describe("Changes with the grants. PUT takes it, to change only what was read.")),
);

const READ_ONLY = once(() => z.describe("Ignored: what was read can be written back."));

/** Which operators there are, and for which fields, is checked with the permission, so that an error can say what may be written. */
const wantedConditions = once(() => z.union([scalar(), z.record(z.string(), z.union([scalar(), z.array(scalar())]))]));

/** A grant as it is asked for. */
export const wantedGrant = once(() =>
  z.object({
    permission: z.string().check(z.minLength(1), z.maxLength(100)),
    where: z
      .optional(z.nullable(z.record(z.string(), wantedConditions())))
      .check(
        z.describe(
          "Conditions by the field of the request, as `path.owner`: a value, or an object of `eq`, `in`, `not_in`, `min`, `max`, `glob`.",
        ),
      ),
    expires_at: z.optional(z.nullable(z.iso.datetime({ offset: true }))),
    approval: z
      .optional(z.nullable(z.union([z.string(), z.record(z.string(), scalar())])))
      .check(z.describe("Not offered yet: leave it out.")),
    id: z.optional(z.string()).check(READ_ONLY()),
    created_by: z.optional(z.nullable(actorSchema())).check(READ_ONLY()),
    created_at: z.optional(z.string()).check(READ_ONLY()),
  }),
);

/** What of a grant that is asked for decides about requests. */
export const limitsOf = ({
  permission,
  where,
  expires_at: end,
}: z.infer<ReturnType<typeof wantedGrant>>): WantedGrant => ({
  permission,
  where,
  expiresAt: end == null ? null : Date.parse(end),
});

/** What an agent may do, how far, and until when. */
export const grantRoutes = [
  route({
    method: "GET",
    path: "/agents/{id}/grants",
    auth: "admin",
    summary: "The grants of an agent: its permissions, each with how far it reaches and when it ends",
    response: () => z.object({ success: success(), grants: z.array(grantSchema()), grants_version: grantsVersion() }),
    async handle({ env, params }) {
      const found = await getGrants(env.DB, params.id);
      if (!found) throw notFound("The agent");
      return { success: true, grants: toGrants(found), grants_version: found.version };
    },
  }),

  route({
    method: "PUT",
    path: "/agents/{id}/grants",
    auth: "admin",
    summary:
      "Set all grants of an agent, each with or without limits and an end; its tokens are narrowed to them with their next request, proxied reads within STANDING_TTL_SECONDS",
    body: () =>
      z.object({
        grants: z.array(wantedGrant()).check(z.maxLength(MAX_GRANTS)),
        grants_version: z.optional(z.nullable(grantsVersion())),
      }),
    response: () =>
      z.object({
        success: success(),
        message: z.string(),
        grants: z.array(grantSchema()),
        grants_version: grantsVersion(),
      }),
    async handle(call) {
      const { env, config, body, now } = call;
      const unoffered = body.grants.findIndex(({ approval }) => approval != null);
      if (unoffered !== -1) throw approvalNotOffered(unoffered);
      const made = makeGrants(body.grants.map(limitsOf), config, now);
      if ("faults" in made) throw grantsRefused(made.faults);
      const asked = body.grants_version ?? undefined;
      const { by, version } = await grantingAuthority(call, made.grants, asked);
      const written = await putGrants(env.DB, { ...toAgentChange(call), by }, made.grants, version);
      switch (written.result) {
        case "unknown":
        case "already_revoked":
          throw changeRefused({ result: written.result });
        case "outdated":
          throw grantsChanged(written.version);
      }
      const grants = toGrants(written);
      return {
        success: true,
        message:
          written.result === "changed"
            ? "The agent's grants are set."
            : "Nothing to change: the agent already has these grants.",
        grants,
        grants_version: written.version,
      };
    },
  }),
];

/**
 * The authority to set these grants, and the version of the grants that they replace. A person confirms that they grant `*:*:*`. An
 * agent loosens nothing where people administer the deployment: what it is compared with is then what is replaced.
 */
async function grantingAuthority(
  call: Call<"admin", "/agents/{id}">,
  grants: readonly Grant[],
  version: number | undefined,
): Promise<{ by: Authority; version: number | undefined }> {
  const { env, config, params, caller, authority } = call;
  if (caller.kind === "person") {
    if (grants.some(({ permission }) => permission === ADMIN)) await requireAssertion({ ...call, caller });
    const below = await belowCeiling(call, authority, grants, { keepsLimits: false });
    return { by: below.by, version: below.version === undefined ? version : sameVersion(below.version, version) };
  }
  const found = await getGrants(env.DB, params.id);
  if (!found || authority.agentId === undefined) return { by: authority, version };
  if (loosensGrants(found, grants, config.catalogue))
    return { by: { ...authority, loosens: "always" as const }, version };
  return { by: authority, version: sameVersion(found.version, version) };
}

/**
 * The version of the grants that a change was compared with, which is then the one that it replaces: of another one nobody has seen
 * whether the change loosens it.
 *
 * @throws {ApiError} 409 if the request names another one.
 */
function sameVersion(compared: number, asked: number | undefined): number {
  if (asked !== undefined && asked !== compared) throw grantsChanged(compared);
  return compared;
}

const grantsChanged = (version: number): ApiError =>
  conflict(
    "grants_changed",
    `The grants have changed since they were read: their version is ${version}. Read them again with GET /agents/{id}/grants.`,
  );

const approvalNotOffered = (index: number): ApiError =>
  badRequest("Grants that ask for an approval are not offered yet: leave approval out.", [
    { field: `grants.${index}.approval`, message: "is not offered yet" },
  ]);

/** 400 naming everything that is wrong. The code is that of the first fault. */
export function grantsRefused(faults: readonly GrantFault[]): ApiError {
  const [first] = faults as [GrantFault];
  const details = faults.map(({ field, message }) => ({ field, message }));
  return badRequest(`Not every grant can be given. ${first.field}: ${first.message}`, details, first.code);
}
