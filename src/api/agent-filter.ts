import * as z from "zod/mini";
import { STATUSES, TIERS } from "../agents/agent.ts";
import type { AgentFilter } from "../agents/page.ts";
import { once } from "../validation/once.ts";

/** RFC 3339 in UTC or with an offset, as text that is checked to be a time. */
const time = once(() => z.iso.datetime({ offset: true }));

/** Which agents a list shows or a bulk change reaches: those for which everything that is given is true. */
export const agentFilter = once(() =>
  z.object({
    status: z.optional(z.enum(STATUSES)),
    tier: z.optional(z.enum(TIERS)),
    owner_email: z.optional(
      z.string().check(z.trim(), z.minLength(1), z.maxLength(255), z.describe("The whole address, in any case.")),
    ),
    owner_person_id: z.optional(
      z.string().check(z.minLength(1), z.maxLength(64), z.describe("The person whose agents they are.")),
    ),
    permission: z.optional(
      z
        .string()
        .check(
          z.minLength(1),
          z.maxLength(100),
          z.describe("A permission that was granted in this form; a wider one that includes it does not count."),
        ),
    ),
    last_verified_before: z.optional(
      time().check(
        z.describe("Agents that have not verified themselves since this time, and were registered before it."),
      ),
    ),
  }),
);

/** The names of the parts of a filter on the wire. */
export const FILTER_NAMES = {
  status: "status",
  tier: "tier",
  ownerEmail: "owner_email",
  ownerPersonId: "owner_person_id",
  permission: "permission",
  lastVerifiedBefore: "last_verified_before",
} as const satisfies Readonly<Record<keyof AgentFilter, keyof z.output<ReturnType<typeof agentFilter>>>>;

export function toFilter(filter: z.output<ReturnType<typeof agentFilter>>): AgentFilter {
  const { status, tier, owner_email: ownerEmail, owner_person_id: ownerPersonId, permission } = filter;
  const { last_verified_before: before } = filter;
  const lastVerifiedBefore = before === undefined ? undefined : Date.parse(before);
  return { status, tier, ownerEmail, ownerPersonId, permission, lastVerifiedBefore };
}
