import * as z from "zod/mini";
import { authorityOf, type Caller } from "../access/authenticate.ts";
import { requireBrowser, type PersonCaller } from "../access/person.ts";
import { route } from "../access/route.ts";
import type { Loosening } from "../authority/authority.ts";
import { validatePermissions } from "../agents/grants.ts";
import type { Profile } from "../agents/details.ts";
import { updateAgent } from "../agents/update.ts";
import { requireRecentProof } from "../access/recent-proof.ts";
import { badRequest, forbidden, notFound } from "../http/errors.ts";
import { findPerson } from "../people/people.ts";
import { ADMIN } from "../permissions/grammar.ts";
import { readableText } from "../validation/readable-text.ts";
import {
  changeRefused,
  invalidPermissions,
  ownKeySchema,
  permissionListSchema,
  readAtSchema,
  toAgentChange,
} from "./agent-changes.ts";
import { agentName, allowedIps, metadata, ownerEmail, rateLimit } from "./agent-fields.ts";
import { agentDetailsSchema, agentSchema, toAgentDetails, toAgentResponse } from "./agent-schema.ts";
import { once } from "../validation/once.ts";

const updateAgentBody = once(() =>
  z.object({
    name: z.optional(agentName()),
    description: z.optional(z.nullable(readableText(500))),
    metadata: z.optional(metadata()),
    owner_email: z.optional(ownerEmail().check(z.describe("Administrators only."))),
    rate_limit: z.optional(rateLimit()),
    allowed_ips: z.optional(allowedIps()),
    dpop_bound_access_tokens: z.optional(
      z
        .boolean()
        .check(
          z.describe(
            "Whether a token of the agent is good only if it is bound to a key (DPoP, RFC 9449). Tokens and sessions that are not bound end with it. Switching it off needs a proof by key of the last five minutes.",
          ),
        ),
    ),
    updated_at: readAtSchema(),
    api_key: ownKeySchema(),
    grantable: z.optional(
      permissionListSchema().check(
        z.describe("The permissions that the agent's owner may grant it. Administrators only."),
      ),
    ),
    owner_person_id: z.optional(
      z
        .nullable(z.string().check(z.minLength(1), z.maxLength(64)))
        .check(
          z.describe("The person who owns the agent; null for nobody. Only a person who is an administrator sets it."),
        ),
    ),
  }),
);

/** The fields of a request that only an administrator may send. */
const ADMIN_FIELDS: readonly string[] = [
  "owner_email",
  "rate_limit",
  "allowed_ips",
  "grantable",
  "owner_person_id",
] satisfies (keyof z.output<ReturnType<typeof updateAgentBody>>)[];

/** Changing what is said of an agent, and its own limits. */
export const agentUpdateRoutes = [
  route({
    method: "PATCH",
    path: "/agents/{id}",
    auth: "self",
    summary:
      "Change the given properties of an agent; owner, limits and what its owner may grant by administrators only",
    body: updateAgentBody,
    response: () =>
      z.object({
        success: z.literal(true),
        message: z.string(),
        agent: agentSchema(),
        details: agentDetailsSchema(),
      }),
    async handle(call) {
      const { env, config, caller } = call;
      const { api_key: apiKey, updated_at: readAt, ...body } = call.body;
      const fields = Object.keys(body).filter((name) => body[name as keyof typeof body] !== undefined);
      if (fields.length === 0) throw badRequest("Name what to change, for example name or metadata.");
      const restricted = fields.filter((name) => ADMIN_FIELDS.includes(name));
      if (restricted.length > 0 && !caller.isAdmin) {
        throw forbidden("insufficient_permissions", `Only an administrator may change ${restricted.join(", ")}.`, {
          required: ADMIN,
          granted: [...caller.permissions],
        });
      }
      const decisive = restricted.filter((name) => name !== "rate_limit");
      if (decisive.length > 0 || body.dpop_bound_access_tokens === false) {
        requireBrowser(
          caller,
          `Of an agent, ${[...decisive, "dpop_bound_access_tokens"].join(", ")} say how far it may be used.`,
        );
      }
      const faults = validatePermissions(body.grantable ?? [], config.catalogue);
      if (faults.length > 0) throw invalidPermissions(faults);
      const profile: Profile = {
        name: body.name,
        description: body.description,
        metadata: body.metadata,
        ownerEmail: body.owner_email,
        rateLimit: body.rate_limit,
        allowedIps: body.allowed_ips,
        requiresDpop: body.dpop_bound_access_tokens,
        grantable: body.grantable && [...new Set(body.grantable)],
        ownerPersonId: body.owner_person_id,
      };
      if (body.owner_person_id !== undefined) await checkOwner(call.env.DB, caller, body.owner_person_id);
      const authority =
        restricted.length > 0 && caller.kind === "agent"
          ? { ...authorityOf(caller, [ADMIN]), ...loosening(call.params.id, profile) }
          : call.authority;
      // Whoever has stolen a token must not let it be used from elsewhere, nor without its key.
      const loosens = body.allowed_ips !== undefined || body.dpop_bound_access_tokens === false;
      const by = loosens ? await requireRecentProof({ ...call, authority }, apiKey) : authority;
      const updated = await updateAgent(env.DB, { ...toAgentChange(call, readAt), by }, profile, fields);
      if (
        updated.result === "unknown" ||
        updated.result === "already_revoked" ||
        updated.result === "changed_meanwhile"
      )
        throw changeRefused(updated);
      const what = fields.join(", ");
      return {
        success: true,
        message:
          updated.result === "changed"
            ? `The agent's ${what} ${fields.length > 1 ? "are" : "is"} changed.`
            : "Nothing to change: the agent already has these values.",
        agent: toAgentResponse(updated.agent),
        details: toAgentDetails(updated),
      };
    },
  }),
];

/**
 * An administrator that changes its own limits must still be one when they are written, and it loosens none where people administer
 * the deployment.
 */
function loosening(agentId: string, { allowedIps, grantable }: Profile): { loosens?: Loosening } {
  if (allowedIps === undefined && grantable === undefined) return {};
  return { loosens: { agentId, ...(allowedIps !== undefined && { allowedIps }), ...(grantable && { grantable }) } };
}

/** Who owns an agent decides for it, so that no agent says who does. @throws {ApiError} 403, or 404 for no such person. */
async function checkOwner(db: D1Database, caller: Caller | PersonCaller, personId: string | null): Promise<void> {
  if (caller.kind === "agent") {
    throw forbidden("person_required", "Only a person who is an administrator says whose an agent is.");
  }
  if (personId !== null && !(await findPerson(db, personId))) throw notFound("The person");
}
